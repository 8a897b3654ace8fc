"""Adapter files: each checked for the input that it was selected in, and all of them as one adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..errors import InputError, quoted
from ..weights import Operations, StateDict, largest_size, level_in_name, shown, type_name
from .adapter import Adapter, AdapterNetwork, AdapterParams
from .file_keys import (
    BY_SLOT,
    IP,
    REF,
    RESAMPLER,
    STAND_IN,
    FileContent,
    contents_of,
    foreign_kind,
    without_prefix,
)
from .lynx import LynxIpParams, LynxRefParams
from .part_params import PartParams, part_of
from .report import label_of
from .resampler import ResamplerParams
from .stand_in import StandInParams

SPACE_KEY = "wancast_space_sha256"  # in a file's metadata: hash of the recogniser that it was trained with
EXPERT_KEY = "wancast_expert"  # in a Stand-In file's metadata: "high" or "low"
VERSION_KEY, VERSION = "format_version", "1"  # in the metadata of our own files, which may hold both parts of Lynx
LARGEST_FP16 = torch.finfo(torch.float16).max
WIDER_THAN_FP16 = {torch.float64, torch.float32, torch.bfloat16}


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """A weight file as it was read."""

    name: str  # as the user selected it
    state_dict: StateDict
    metadata: Mapping[str, str]


def load_adapter(
    files: Mapping[str, AdapterFile],
    *,
    content_sha256: str,
    operations: Operations,
    make_patcher: Callable[[nn.Module], Any],
) -> Adapter:
    """Builds an adapter from its files by the inputs that they were selected in: ip_layers, resampler, ref_layers,
    stand_in.

    ``make_patcher`` gives the host's way to load the network. Raises InputError naming what does not fit.
    """
    parts = _parts(files)
    params = _params_of_all(part for part, _ in parts.values())
    width_d = _require_fit(params)
    network = AdapterNetwork(params, operations=operations, device="meta")
    weights = {f"{name}.{key}": tensor for name, (_, own) in parts.items() for key, tensor in own.items()}
    network.load_state_dict(weights, assign=True)
    network.eval().requires_grad_(False)
    stand_in = files.get(STAND_IN.slot)
    expert = level_in_name(stand_in.metadata.get(EXPERT_KEY, stand_in.name)) if stand_in else None
    acting = [part for part in (params.ip, params.ref, params.stand_in) if part]
    return Adapter(
        network=network,
        patcher=make_patcher(network),
        width_d=width_d,
        blocks=tuple(sorted({block for part in acting for block in part.blocks})),
        names=tuple(file.name for file in files.values()),
        content_sha256=content_sha256,
        space_sha256=_space(files),
        stand_in_expert=expert,
        label=label_of(params, expert),
    )


# Parts


def _parts(files: Mapping[str, AdapterFile]) -> dict[str, tuple[PartParams, StateDict]]:
    """Sizes and weights of the parts of all files, by their names in the network."""
    parts: dict[str, tuple[PartParams, StateDict]] = {}
    for slot, file in files.items():
        for content in _contents(slot, file):
            if content.kind.part in parts:
                raise InputError(
                    slot,
                    found="a resampler beside the one that the file in ip_layers holds",
                    wanted="one resampler",
                    fix="Set resampler to none.",
                )
            parts[content.kind.part] = part_of(content)
    return parts


def _params_of_all(parts: Iterable[PartParams]) -> AdapterParams:
    found = AdapterParams()
    for part in parts:
        match part:
            case LynxIpParams():
                found = replace(found, ip=part)
            case ResamplerParams():
                found = replace(found, resampler=part)
            case LynxRefParams():
                found = replace(found, ref=part)
            case StandInParams():
                found = replace(found, stand_in=part)
    return found


def _contents(slot: str, file: AdapterFile) -> list[FileContent]:
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
            slot,
            found=f"a file of {VERSION_KEY} {quoted(version)}",
            wanted=repr(VERSION),
            fix="Update WanCast to read it.",
        )


def _require_floats(slot: str, state_dict: StateDict) -> None:
    """Every weight is of a floating-point type, and of a size that a model in fp16 can hold."""
    strange = sorted(key for key, tensor in state_dict.items() if not tensor.is_floating_point())
    if strange:
        kinds = sorted({type_name(state_dict[key]) for key in strange})
        raise InputError(
            slot,
            found=f"weights of type {', '.join(kinds)}: {shown(strange)}",
            wanted="floating-point weights (fp32, fp16, bf16 or fp8)",
            fix="Use a file that is not quantised to integers.",
        )
    wide = {key: tensor for key, tensor in state_dict.items() if tensor.dtype in WIDER_THAN_FP16}
    too_large = sorted(key for key, tensor in wide.items() if largest_size(tensor) > LARGEST_FP16)
    if too_large:
        raise InputError(
            slot,
            found=f"weights beyond {LARGEST_FP16:g}: {shown(too_large)}",
            wanted="weights that fp16 can hold",
            fix="Copy or download the file again.",
        )


# Fit


def _require_fit(params: AdapterParams) -> int:
    """The width of the Wan model that all parts fit; raises InputError when they do not fit each other."""
    _require_resampler(params)
    parts = ((IP.slot, params.ip), (REF.slot, params.ref), (STAND_IN.slot, params.stand_in))
    widths = [(slot, part.width_d) for slot, part in parts if part]
    if not widths:
        slots = ", ".join(slot for slot, _ in parts)
        raise InputError(
            IP.slot, found="no file in any input", wanted=f"a file in one of {slots}", fix="Pick at least one file."
        )
    (first, width_d), *others = widths
    for slot, other_d in others:
        if other_d != width_d:
            raise InputError(
                slot,
                found=f"weights for a model of width {other_d}",
                wanted=f"width {width_d}, as the file in {first} has it",
                fix="Use files that were made for the same Wan model.",
            )
    return width_d


def _require_resampler(params: AdapterParams) -> None:
    """IP layers have a resampler, a resampler has IP layers, and its tokens are what they take."""
    ip, resampler = params.ip, params.resampler
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
    if ip and resampler and resampler.token_d != ip.token_d:
        raise InputError(
            RESAMPLER.slot,
            found=f"tokens of {resampler.token_d} numbers",
            wanted=f"{ip.token_d}, as the IP layers take them",
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
            found=f"a file for the recogniser with SHA-256 {quoted(other[:12])}",
            wanted=f"{quoted(first[:12])}, as the file in {next(iter(named))} has it",
            fix="Use files that were trained together.",
        )
    return next(iter(named.values()), None)
