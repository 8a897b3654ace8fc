"""Every size of an adapter's parts from the shapes in its files, and what is missing or does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from ..errors import InputError
from ..weights import shown
from .layouts import IP, REF, RESAMPLER, STAND_IN, Content
from .lynx import LynxIp, LynxIpShape, LynxRef, LynxRefShape
from .resampler import HEAD_D, Resampler, ResamplerShape
from .stand_in import StandIn, StandInShape

LITE_BLOCK_STEP = 2  # Lynx-lite's n-th layer is for block 2n
FACE_D = 512  # numbers in a face embedding

PartShape = LynxIpShape | LynxRefShape | StandInShape | ResamplerShape


def part_of(content: Content) -> tuple[PartShape, dict[str, Tensor]]:
    """The sizes of one part and its weights by the network's keys; raises InputError unless the file is complete."""
    derive, build = PARTS[content.kind]
    shape = derive(content)
    wanted = build(shape, operations=nn, device="meta").state_dict()
    keys = {_place(content, key): key for key in wanted}
    _require_complete(content, {place: wanted[key] for place, key in keys.items()})
    return shape, {keys[place]: tensor for place, tensor in content.weights.items()}


def _place(content: Content, network_key: str) -> tuple[int, str]:
    """Number and leaf in the file of a key of the part's network: layers.<block>.<leaf>, or the leaf alone."""
    if content.kind is RESAMPLER:
        return 0, network_key
    _, block, leaf = network_key.split(".", 2)
    return int(block) // _block_step(content), leaf


def _require_complete(content: Content, wanted: dict[tuple[int, str], Tensor]) -> None:
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


def _ip_shape(content: Content) -> LynxIpShape:
    width_d, token_d = _first(content, "to_k_ip.weight", 2).shape
    return LynxIpShape(
        width_d=width_d,
        token_d=token_d,
        blocks=_blocks(content),
        registers=_first(content, "registers", 3).shape[1] if _is_full(content) else 0,
    )


def _ref_shape(content: Content) -> LynxRefShape:
    return LynxRefShape(width_d=_first(content, "to_k_ref.weight", 2).shape[0], blocks=_blocks(content))


def _stand_in_shape(content: Content) -> StandInShape:
    rank_d, width_d = _first(content, "q_loras.down.weight", 2).shape
    return StandInShape(width_d=width_d, rank_d=rank_d, blocks=_blocks(content))


def _resampler_shape(content: Content) -> ResamplerShape:
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
    depths = (re.match(r"layers\.(\d+)\.", leaf) for _, leaf in content.weights)
    return ResamplerShape(
        width_d=width_d,
        depth=1 + max(int(match[1]) for match in depths if match),
        inner_d=inner_d,
        feed_forward_d=_first(content, "layers.0.1.1.weight", 2).shape[0],
        tokens=tokens,
        embedding_d=embedding_d,
        token_d=_first(content, "proj_out.weight", 2).shape[0],
    )


PARTS: dict[object, tuple[Callable[[Content], PartShape], Callable[..., nn.Module]]] = {
    IP: (_ip_shape, LynxIp),
    RESAMPLER: (_resampler_shape, Resampler),
    REF: (_ref_shape, LynxRef),
    STAND_IN: (_stand_in_shape, StandIn),
}


# Parts of sizes


def _first(content: Content, leaf: str, axes: int) -> Tensor:
    """The first weight of a name that can have sizes read from it."""
    for number in content.numbers:
        tensor = content.weights.get((number, leaf))
        if tensor is not None and tensor.ndim == axes and tensor.numel():
            return tensor
    lacking = content.key(content.numbers[0], leaf)
    raise _unusable(content, f"a file without a usable {lacking}", "a complete file", "Copy or download it again.")


def _is_full(content: Content) -> bool:
    """Whether it is of Lynx full: any bias or register says so."""
    return any(leaf == "registers" or leaf.endswith("bias") for _, leaf in content.weights)


def _block_step(content: Content) -> int:
    """By how many blocks two numbers in the file's keys are apart."""
    counts_layers = content.kind is IP and not content.is_by_block and not _is_full(content)
    return LITE_BLOCK_STEP if counts_layers else 1


def _blocks(content: Content) -> tuple[int, ...]:
    """The blocks that a complete file has; only Lynx-lite in the layout by block may skip some."""
    numbers = content.numbers
    may_skip = content.kind is IP and content.is_by_block and not _is_full(content)
    step = _block_step(content)
    return tuple(number * step for number in (numbers if may_skip else range(max(numbers) + 1)))


# Messages


def shown_blocks(blocks: tuple[int, ...]) -> str:
    """Blocks in words, shorter where they are evenly spaced: "0-39", "0, 2, ..., 38"."""
    steps = {later - earlier for earlier, later in zip(blocks, blocks[1:], strict=False)}
    if len(blocks) < 4 or len(steps) > 1:
        return ", ".join(map(str, blocks))
    return f"{blocks[0]}-{blocks[-1]}" if steps == {1} else f"{blocks[0]}, {blocks[1]}, ..., {blocks[-1]}"


def _shape_words(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a single number"


def _unusable(content: Content, found: str, wanted: str, fix: str) -> InputError:
    return InputError(content.kind.slot, found=found, wanted=wanted, fix=fix)
