"""Adapter files: each checked for the input that it was picked in, and all of them as one adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..weights import Operations, StateDict, level_in_name, shown
from .adapter import Adapter, AdapterNetwork, AdapterShape
from .layouts import BY_SLOT, IP, KINDS, RESAMPLER, STAND_IN, Content, contents_of, foreign_kind, without_prefix
from .report import label_of
from .shapes import PartShape, part_of

SPACE_KEY = "wancast_space_sha256"  # in a file's metadata: hash of the recogniser that it was trained with
EXPERT_KEY = "wancast_expert"  # in a Stand-In file's metadata: "high" or "low"
VERSION_KEY, VERSION = "format_version", "1"  # in the metadata of our own files, which may hold both parts of Lynx


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """A weight file as it was read."""

    name: str  # as the user picked it
    state_dict: StateDict
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of an adapter as a file holds it."""

    slot: str  # the input that the file was picked in
    shape: PartShape
    weights: dict[str, Tensor]  # by the keys of the part's network


def load_adapter(
    files: Mapping[str, AdapterFile],
    *,
    content_sha256: str,
    operations: Operations,
    make_patcher: Callable[[nn.Module], Any],
) -> Adapter:
    """Builds an adapter from its files by the inputs that they were picked in: ip_layers, resampler, ref_layers,
    stand_in.

    ``make_patcher`` gives the host's way to load the network. Raises InputError naming what does not fit.
    """
    parts = _parts(files)
    width_d = _require_fit(parts)
    shape = AdapterShape(**{name: part.shape for name, part in parts.items()})
    network = AdapterNetwork(shape, operations=operations, device="meta")
    weights = {f"{name}.{key}": tensor for name, part in parts.items() for key, tensor in part.weights.items()}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)
    expert = _expert(files[STAND_IN.slot]) if STAND_IN.slot in files else None
    return Adapter(
        network=network,
        patcher=make_patcher(network),
        width_d=width_d,
        blocks=tuple(sorted({block for part in parts.values() for block in getattr(part.shape, "blocks", ())})),
        names=tuple(file.name for file in files.values()),
        content_sha256=content_sha256,
        space_sha256=_space(files),
        stand_in_expert=expert,
        label=label_of(shape, expert),
    )


# Parts


def _parts(files: Mapping[str, AdapterFile]) -> dict[str, Part]:
    """The parts of all files, by their names in the network."""
    parts: dict[str, Part] = {}
    for slot, file in files.items():
        for content in _contents(slot, file):
            if content.kind.part in parts:
                raise InputError(
                    slot,
                    found="a resampler beside the one that the file in ip_layers holds",
                    wanted="one resampler",
                    fix="Set resampler to none.",
                )
            parts[content.kind.part] = Part(slot, *part_of(content))
    return parts


def _contents(slot: str, file: AdapterFile) -> list[Content]:
    """What a file holds, if it belongs into this input."""
    _require_version(slot, file)
    _require_floats(slot, file.state_dict)
    state_dict = without_prefix(file.state_dict)
    contents, unknown = contents_of(state_dict)
    wanted = BY_SLOT[slot]
    if foreign := foreign_kind(state_dict):
        raise InputError(slot, found=foreign[0], wanted=wanted.noun, fix=foreign[1])
    if unknown or not contents:
        examples = " or ".join(template.format(number="<n>", leaf="*") for template in wanted.templates)
        raise InputError(
            slot,
            found=f"unknown keys: {shown(unknown)}" if unknown else "an empty file",
            wanted=f"only keys of {wanted.noun}" + (f" ({examples})" if wanted is not RESAMPLER else ""),
            fix=f"Pick {wanted.noun}.",
        )
    kinds = [content.kind for content in contents]
    may_hold = [wanted, RESAMPLER] if slot == IP.slot and VERSION_KEY in file.metadata else [wanted]
    if wanted in kinds and set(kinds) <= set(may_hold):
        return contents
    if len(kinds) > 1:
        raise InputError(
            slot,
            found=" and ".join(kind.noun for kind in kinds) + " in one file",
            wanted=f"{wanted.noun} alone",
            fix="Use the separate files as they were published.",
        )
    raise InputError(slot, found=kinds[0].noun, wanted=wanted.noun, fix=f"Pick this file in {kinds[0].slot}.")


def _require_version(slot: str, file: AdapterFile) -> None:
    if (version := file.metadata.get(VERSION_KEY, VERSION)) != VERSION:
        raise InputError(
            slot, found=f"a file of {VERSION_KEY} {version!r}", wanted=repr(VERSION), fix="Update WanCast to read it."
        )


def _require_floats(slot: str, state_dict: StateDict) -> None:
    strange = sorted(key for key, tensor in state_dict.items() if not tensor.is_floating_point())
    if strange:
        kinds = sorted({str(state_dict[key].dtype).removeprefix("torch.") for key in strange})
        raise InputError(
            slot,
            found=f"weights of type {', '.join(kinds)}: {shown(strange)}",
            wanted="floating-point weights (fp32, fp16, bf16 or fp8)",
            fix="Use a file that is not quantised to integers.",
        )


# Fit


def _require_fit(parts: Mapping[str, Part]) -> int:
    """The width of the Wan model that all parts fit; raises InputError when they do not fit each other."""
    if not parts:
        slots = ", ".join(kind.slot for kind in KINDS if kind is not RESAMPLER)
        raise InputError(
            IP.slot, found="no file in any input", wanted=f"a file in one of {slots}", fix="Pick at least one file."
        )
    _require_resampler(parts)
    (first, width_d), *others = [
        (part.slot, part.shape.width_d) for name, part in parts.items() if name != RESAMPLER.part
    ]
    for slot, other_d in others:
        if other_d != width_d:
            raise InputError(
                slot,
                found=f"weights for a model of width {other_d}",
                wanted=f"width {width_d}, as the file in {first} has it",
                fix="Use files that were made for the same Wan model.",
            )
    return width_d


def _require_resampler(parts: Mapping[str, Part]) -> None:
    """IP layers have a resampler, a resampler has IP layers, and its tokens are what they take."""
    ip, resampler = parts.get(IP.part), parts.get(RESAMPLER.part)
    if ip and not resampler:
        raise InputError(
            RESAMPLER.slot,
            found="none",
            wanted="the resampler that belongs to the file in ip_layers",
            fix="Pick it here: it makes the tokens that the IP layers take.",
        )
    if resampler and not ip:
        raise InputError(
            IP.slot,
            found="none beside a resampler",
            wanted="the IP layers that the resampler belongs to",
            fix="Pick them, or set resampler to none: only IP layers need one.",
        )
    if ip and resampler and resampler.shape.token_d != ip.shape.token_d:
        raise InputError(
            RESAMPLER.slot,
            found=f"tokens of {resampler.shape.token_d} numbers",
            wanted=f"{ip.shape.token_d}, as the IP layers take them",
            fix="Pick the resampler that belongs to the IP layers; Lynx lite takes 2048, Lynx full 5120.",
        )


# Metadata


def _space(files: Mapping[str, AdapterFile]) -> str | None:
    """The recogniser that the files name; raises InputError when they name two."""
    named = {slot: file.metadata[SPACE_KEY] for slot, file in files.items() if SPACE_KEY in file.metadata}
    if len(set(named.values())) > 1:
        (_, first), (slot, other) = list(named.items())[:2]
        raise InputError(
            slot,
            found=f"a file for the recogniser with SHA-256 {other[:12]}",
            wanted=f"{first[:12]}, as the file in {next(iter(named))} has it",
            fix="Use files that were trained together.",
        )
    return next(iter(named.values()), None)


def _expert(file: AdapterFile) -> str | None:
    """The expert that a Stand-In file is for: by its metadata, else by its name; None if neither or both are named."""
    return level_in_name(file.metadata.get(EXPERT_KEY, file.name))
