"""What comes through the inputs of a node, checked by the node's own schema: an any-type link brings anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any

from comfy_api.latest import io

from ..wan_core.checks import checked_count, checked_number, kind_of, require_choice, require_text
from ..wan_core.errors import InputError, quoted
from .sockets import SOCKETS

DYNAMIC = (io.DynamicCombo.Input, io.Autogrow.Input)  # they hold inputs


def given_inputs(schema: io.Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs without the optional ones that a link gives nothing, which have their defaults."""
    optional = {slot.id for slot in schema.inputs if slot.optional}
    return {
        name: value
        for name, value in values.items()
        if name not in optional or {type(one) for one in _values(value, as_list=schema.is_input_list)} != {NoneType}
    }


def require_inputs(schema: io.Schema, values: Mapping[str, Any]) -> None:
    """Raises InputError unless every input has what its schema says; an optional one may have nothing.

    A DynamicCombo that is unset or set to an unknown choice, an empty list, and a file that is not there are for the
    node to refuse.
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
    if isinstance(slot, DYNAMIC):
        for inner in _inputs_within(slot, {} if value is None else value, name, as_list=as_list):
            _require(inner, value[inner.id], f"{name}.{inner.id}", as_list=as_list)
        return
    for single in _values(value, as_list=as_list):
        if single is not None or not slot.optional:
            WIDGETS.get(type(slot), _require_socket)(slot, single, name)


def _inputs_within(slot: io.Input, value: Any, name: str, *, as_list: bool) -> list[io.Input]:
    """The inputs of a DynamicCombo or an Autogrow that must have a value, and the others that have one."""
    if isinstance(slot, io.DynamicCombo.Input):
        return _inputs_of_choice(slot, value, name, as_list=as_list)
    return [
        inner
        for number, inner in enumerate(slot.template.get_all())
        if inner.id in value and (number < slot.template.min or value[inner.id] is not None)
    ]


def _inputs_of_choice(slot: io.DynamicCombo.Input, value: Any, name: str, *, as_list: bool) -> list[io.Input]:
    """The inputs that belong to the choice and have a value; raises InputError for what came through a link."""
    if not isinstance(value, Mapping):
        single = next(iter(_values(value, as_list=as_list)), None)
        choices = ", ".join(option.key for option in slot.options)
        raise InputError(
            name, found=kind_of(single), wanted=f"one of {choices}", fix="Pick one in the node; it takes no link."
        )
    chosen = _values(value.get(slot.id), as_list=as_list)
    return [beside for option in slot.options if option.key in chosen for beside in option.inputs if beside.id in value]


def _values(value: Any, *, as_list: bool) -> list[Any]:
    """The values of an input: of a node that takes lists, those in the list."""
    return value if as_list and isinstance(value, list) else [value]


def _require_socket(slot: io.Input, value: Any, name: str) -> None:
    types = [SOCKETS[kind] for kind in slot.get_io_type().split(",")]
    if not any(socket_type.accepts(value) for socket_type in types):
        raise InputError(
            name,
            found=kind_of(value),
            wanted=" or ".join(socket_type.words for socket_type in types),
            fix=f"Connect another output. {slot.tooltip}",
        )


# Widgets


class FileInput(io.Combo.Input):
    """A choice of files as they were when the schema was made: others may have come, and what opens them says so."""


def _require_file_name(slot: FileInput, value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise InputError(name, found=quoted(value), wanted="the name of a file", fix="Pick one in the node.")
    if not value.isprintable():
        raise InputError(name, found=quoted(value), wanted="a name that can be printed", fix="Rename the file.")


WIDGETS: Mapping[type[io.Input], Callable[[Any, Any, str], object]] = {
    io.Combo.Input: lambda slot, value, name: require_choice(value, slot.options, name=name),
    FileInput: _require_file_name,
    io.Int.Input: lambda slot, value, name: checked_count(value, slot.max, name=name, least=slot.min),
    io.Float.Input: lambda slot, value, name: checked_number(value, slot.min, slot.max, name=name),
    io.String.Input: lambda slot, value, name: require_text(value, name=name),
}
