"""Every size of an adapter's parts, derived from the shapes in its files, and what is missing or does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from ..errors import InputError
from ..weights import StateDict, shown
from .file_keys import IP, REF, RESAMPLER, STAND_IN, FileContent, FileKind
from .lynx import LynxIp, LynxIpParams, LynxRef, LynxRefParams
from .resampler import HEAD_D, Resampler, ResamplerParams
from .stand_in import StandIn, StandInParams

LITE_BLOCK_STEP = 2  # Lynx-lite's n-th layer is for block 2n
FACE_D = 512  # numbers in a face embedding

PartParams = LynxIpParams | LynxRefParams | StandInParams | ResamplerParams
NETWORKS: dict[FileKind, Callable[..., nn.Module]] = {IP: LynxIp, RESAMPLER: Resampler, REF: LynxRef, STAND_IN: StandIn}


def part_of(content: FileContent) -> tuple[PartParams, StateDict]:
    """The sizes of one part and its weights by the network's keys; raises InputError unless the file is complete."""
    params = _params_of(content)
    wanted = NETWORKS[content.kind](params, operations=nn, device="meta").state_dict()
    keys = {_place(content, key): key for key in wanted}
    _require_complete(content, {place: wanted[key] for place, key in keys.items()})
    return params, {keys[place]: tensor for place, tensor in content.weights.items()}


def _place(content: FileContent, network_key: str) -> tuple[int, str]:
    """Number and leaf in the file of a key of the part's network: layers.<block>.<leaf>, or the leaf alone."""
    if content.kind is RESAMPLER:
        return 0, network_key
    _, block, leaf = network_key.split(".", 2)
    return int(block) // _block_step(content), leaf


def _require_complete(content: FileContent, wanted: dict[tuple[int, str], Tensor]) -> None:
    """The file has the wanted weights, all of them and no others, each in its shape."""
    found = content.weights
    problems = {
        "without": [content.key(*place) for place in wanted if place not in found],
        "with the unknown": [content.key(*place) for place in found if place not in wanted],
    }
    if any(problems.values()):
        listed = " and ".join(f"{problem} {shown(keys)}" for problem, keys in problems.items() if keys)
        raise _unusable(content, f"a file {listed}", "a complete file", "Copy or download it again.")
    for place, tensor in wanted.items():
        if found[place].shape != tensor.shape:
            raise _unusable(
                content,
                f"{content.key(*place)} of shape {_shape_words(found[place])}",
                f"{_shape_words(tensor)}, as the rest of the file has it",
                "Copy or download it again.",
            )


# Sizes


def _params_of(content: FileContent) -> PartParams:
    if content.kind is IP:
        width_d, token_d = _first(content, "to_k_ip.weight", 2).shape
        registers = _first(content, "registers", 3).shape[1] if _is_full(content) else 0
        return LynxIpParams(width_d, token_d, _blocks(content), registers)
    if content.kind is REF:
        return LynxRefParams(_first(content, "to_k_ref.weight", 2).shape[0], _blocks(content))
    if content.kind is STAND_IN:
        rank_d, width_d = _first(content, "q_loras.down.weight", 2).shape
        return StandInParams(width_d, rank_d, _blocks(content))
    return _resampler_params(content)


def _resampler_params(content: FileContent) -> ResamplerParams:
    inner_d = _first(content, "layers.0.0.to_q.weight", 2).shape[0]
    if inner_d % HEAD_D:
        raise _unusable(
            content, f"attention of width {inner_d}", f"a multiple of {HEAD_D}", "Pick the resampler of a Lynx adapter."
        )
    _, tokens, width_d = _first(content, "latents", 3).shape
    embedding_d = _first(content, "proj_in.weight", 2).shape[1]
    if embedding_d != FACE_D:
        raise _unusable(
            content,
            f"a resampler for embeddings of {embedding_d} numbers",
            f"one for face embeddings of {FACE_D}",
            "Pick the resampler of a Lynx adapter.",
        )
    depths = (re.match(r"layers\.([0-9]+)\.", leaf) for _, leaf in content.weights)
    return ResamplerParams(
        width_d=width_d,
        depth=1 + max(int(match[1]) for match in depths if match),
        inner_d=inner_d,
        feed_forward_d=_first(content, "layers.0.1.1.weight", 2).shape[0],
        tokens=tokens,
        embedding_d=embedding_d,
        token_d=_first(content, "proj_out.weight", 2).shape[0],
    )


# Parts of sizes


def _first(content: FileContent, leaf: str, axes: int) -> Tensor:
    """The first weight of a name that can have sizes read from it."""
    for number in content.numbers:
        tensor = content.weights.get((number, leaf))
        if tensor is not None and tensor.ndim == axes and tensor.numel():
            return tensor
    lacking = content.key(content.numbers[0], leaf)
    raise _unusable(content, f"a file without a usable {lacking}", "a complete file", "Copy or download it again.")


def _is_full(content: FileContent) -> bool:
    """Whether it is of Lynx full: any bias or register says so."""
    return any(leaf == "registers" or leaf.endswith("bias") for _, leaf in content.weights)


def _block_step(content: FileContent) -> int:
    """By how many blocks two numbers in the file's keys are apart."""
    counts_layers = content.kind is IP and not content.is_by_block and not _is_full(content)
    return LITE_BLOCK_STEP if counts_layers else 1


def _blocks(content: FileContent) -> tuple[int, ...]:
    """The blocks that a complete file has; only Lynx-lite in the layout by block may skip some."""
    numbers = content.numbers
    may_skip = content.kind is IP and content.is_by_block and not _is_full(content)
    step = _block_step(content)
    for wanted, number in enumerate([] if may_skip else numbers):
        if number != wanted:
            found = f"a file with {content.key(number, '*')} and without {content.key(wanted, '*')}"
            raise _unusable(content, found, "a complete file", "Copy or download it again.")
    return tuple(number * step for number in numbers)


# Messages


def _shape_words(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _unusable(content: FileContent, found: str, wanted: str, fix: str) -> InputError:
    return InputError(content.kind.slot, found=found, wanted=wanted, fix=fix)
