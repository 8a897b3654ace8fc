"""What comes through the inputs of a node, checked by the node's own schema: an any-type link brings anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import Input, io
from torch import Tensor

from ..wan_core.adapters import Adapter
from ..wan_core.checks import checked_count, checked_number, kind_of, require_choice, require_text
from ..wan_core.errors import InputError, quoted
from ..wan_core.identity.record import Identity

Test = Callable[[Any], bool]


def of(*classes: type) -> Test:
    return lambda value: isinstance(value, classes)


def having(*attributes: str) -> Test:
    """For what the host's classes make, which other packs make too."""
    return lambda value: all(hasattr(value, attribute) for attribute in attributes)


def is_audio(value: object) -> bool:
    return isinstance(value, Mapping) and {"waveform", "sample_rate"} <= value.keys()


def is_latent(value: object) -> bool:
    """Whether it is a LATENT; its samples may be a nested tensor of the host's, which is no Tensor."""
    return isinstance(value, Mapping) and hasattr(value.get("samples"), "is_nested")


SOCKETS: Mapping[str, tuple[str, Test]] = {  # the host's name of a type: words for it, and what is one
    "AUDIO": ("AUDIO with 'waveform' and 'sample_rate'", is_audio),
    "AUDIO_ENCODER": ("an audio encoder", having("encode_audio")),
    "BOOLEAN": ("true or false", of(bool)),
    "CONDITIONING": ("CONDITIONING", of(list)),
    "GUIDER": ("a GUIDER", having("sample", "model_patcher")),
    "IMAGE": ("an IMAGE", of(Tensor)),
    "LATENT": ("a LATENT", is_latent),
    "MASK": ("a MASK", of(Tensor)),
    "MODEL": ("a MODEL", having("get_model_object", "model_options")),
    "SIGMAS": ("SIGMAS", of(Tensor)),
    "VAE": ("a VAE", having("first_stage_model")),
    "VIDEO": ("a VIDEO", of(Input.Video)),
    "WAN_IDENTITY": ("the identity that IdentityEncode makes", of(Identity)),
    "WAN_ID_ADAPTER": ("the adapter that WanCastAdapterLoader makes", of(Adapter)),
}


def _require_socket(slot: io.Input, value: Any, name: str) -> None:
    sockets = [SOCKETS[kind] for kind in slot.get_io_type().split(",")]
    if not any(is_one(value) for _, is_one in sockets):
        raise InputError(
            name,
            found=kind_of(value),
            wanted=" or ".join(words for words, _ in sockets),
            fix=f"Connect another output. {slot.tooltip}",
        )


WIDGETS: Mapping[type[io.Input], Callable[[Any, Any, str], object]] = {
    io.Combo.Input: lambda slot, value, name: require_choice(value, slot.options, name=name),
    io.Int.Input: lambda slot, value, name: checked_count(value, slot.max, name=name, least=slot.min),
    io.Float.Input: lambda slot, value, name: checked_number(value, slot.min, slot.max, name=name),
    io.String.Input: lambda slot, value, name: require_text(value, name=name),
}


def require_inputs(schema: io.Schema, values: Mapping[str, Any]) -> None:
    """Raises InputError unless every input has what its schema says; an optional one may have nothing.

    A DynamicCombo that is unset or set to an unknown choice, and an empty list, are for the node to refuse.
    """
    for name in sorted(values.keys() - {slot.id for slot in schema.inputs}):  # whose DynamicCombo has no such choice
        raise InputError(
            name.partition(".")[0],
            found=f"no choice that has {quoted(name)}",
            wanted="one of its choices",
            fix="Pick one and set what belongs to it.",
        )
    for slot in schema.inputs:
        _require(slot, values.get(slot.id), slot.id, as_list=schema.is_input_list)


def _require(slot: io.Input, value: Any, name: str, *, as_list: bool) -> None:
    if isinstance(slot, io.DynamicCombo.Input):
        for beside in _beside(slot, {} if value is None else value, name, as_list=as_list):
            _require(beside, value[beside.id], f"{name}.{beside.id}", as_list=as_list)
        return
    for single in _each(value, as_list=as_list):
        if single is not None or not slot.optional:
            WIDGETS.get(type(slot), _require_socket)(slot, single, name)


def _each(value: Any, *, as_list: bool) -> list[Any]:
    """The values of an input: of a node that takes lists, those in the list."""
    return value if as_list and isinstance(value, list) else [value]


def _beside(slot: io.DynamicCombo.Input, value: Any, name: str, *, as_list: bool) -> list[io.Input]:
    """The inputs that belong to the choice and have a value; raises InputError for what came through a link."""
    if not isinstance(value, Mapping):
        single = next(iter(_each(value, as_list=as_list)), None)
        choices = ", ".join(option.key for option in slot.options)
        raise InputError(
            name, found=kind_of(single), wanted=f"one of {choices}", fix="Pick one in the node; it takes no link."
        )
    chosen = _each(value.get(slot.id), as_list=as_list)
    return [beside for option in slot.options if option.key in chosen for beside in option.inputs if beside.id in value]
