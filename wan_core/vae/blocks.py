"""One frame at a time through the modules of a Wan decoder, with the cache outside of them.

The modules are the host's own and are called, never looked into for weights: those may be offloaded, cast or patched.
What is written here is only the order of the calls, and the parts without weights: which frames a convolution sees, and
how a frame becomes two. It follows Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py.

A step takes its frame out of a list and puts the result there: what nobody needs any more is free at once, also where
the caller still waits for the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import SiLU
from torch.nn.functional import silu

from .cache import DecoderCache

Held = list[Tensor]  # exactly one frame, b c 1 h w


@dataclass(frozen=True, slots=True)
class StageModules:
    """The residual blocks of one resolution, and the way up to the next."""

    blocks: tuple[Any, ...]  # residual blocks
    rise: Any | None  # what doubles the picture's sides, and with a time_conv the frames too; None in the last stage
    shortcut: Any | None  # Wan2.2: what copies the stage's input around all of that


def stages_of(decoder: Any) -> tuple[StageModules, ...]:
    """The stages after the middle block: in Wan2.2 a module each, in Wan2.1 cut from a list where the sides double."""
    stages, blocks = [], []
    for module in decoder.upsamples:
        if hasattr(module, "avg_shortcut"):
            *inner, last = module.upsamples
            rise = last if hasattr(last, "resample") else None
            stages.append(StageModules(tuple(inner if rise else module.upsamples), rise, module.avg_shortcut))
        elif hasattr(module, "resample"):
            stages.append(StageModules(tuple(blocks), module, None))
            blocks = []
        else:
            blocks.append(module)
    return (*stages, StageModules(tuple(blocks), None, None)) if blocks else tuple(stages)


# The two halves of a decoder


def through_middle(decoder: Any, x: Tensor, cache: DecoderCache) -> Tensor:
    """One latent frame (b z 1 h w) after the entry convolution and the middle block (b c 1 h w)."""
    held = [x]
    del x
    _convolve(decoder.conv1, held, cache)
    for block in decoder.middle:
        _through(block, held, cache)
    return held.pop()


def through_stages(decoder: Any, stages: tuple[StageModules, ...], held: Held, cache: DecoderCache) -> Iterator[Tensor]:
    """The frames (b c*patch^2 1 h w) that one frame after the middle block becomes: 1 at first, later 4.

    Each goes all the way before the next is begun. Takes its frame out of ``held``.
    """
    if not stages:
        _through_layers(decoder.head, held, cache)
        yield held.pop()
        return
    stage, *later = stages
    source = held[0] if stage.shortcut is not None else None
    for block in stage.blocks:
        _through(block, held, cache)
    twins = _twins(stage, held, cache)
    while twins:
        grown = [_grown(stage, *twins.pop(0), source)]
        if not twins:
            source = None
        yield from through_stages(decoder, tuple(later), grown, cache)


# Steps


def _through(block: Any, held: Held, cache: DecoderCache) -> None:
    if not hasattr(block, "residual"):  # attention: every frame on its own
        held.append(block(held.pop()))
        return
    kept = block.shortcut(held[0])  # the frame itself where the number of channels stays
    _through_layers(block.residual, held, cache)
    held[0].add_(kept)


def _through_layers(layers: Iterable[Any], held: Held, cache: DecoderCache) -> None:
    for layer in layers:
        if hasattr(layer, "kernel_size"):
            _convolve(layer, held, cache)
        elif isinstance(layer, SiLU):  # in place: it follows a norm, whose output is nobody else's
            silu(held[0], inplace=True)
        else:
            held.append(layer(held.pop()))


def _convolve(conv: Any, held: Held, cache: DecoderCache) -> None:
    """A causal convolution; the module gets all its frames as past and none as present, so that it copies nothing."""
    window = cache.window(conv, held[0])  # b c 3 h w
    if window is None:
        held.append(conv(held.pop()))
        return
    held.clear()
    held.append(conv(window[:, :, :0], cache_x=window))


def _twins(stage: StageModules, held: Held, cache: DecoderCache) -> list[tuple[int, Tensor]]:
    """The frames (b c 1 h w) that leave a stage's blocks: a pair numbered 0 and 1, or one.

    A clip's first frame has no twin and counts as the second of a pair: of the shortcut's copies the first is dropped.
    """
    if not hasattr(stage.rise, "time_conv"):
        return [(0, held.pop())]
    if cache.begins(stage.rise):
        return [(1, held.pop())]
    _convolve(stage.rise.time_conv, held, cache)  # b 2c 1 h w
    first, second = held.pop().chunk(2, dim=1)
    return [(0, first), (1, second.clone())]  # a copy, so that the pair is free with the first


def _grown(stage: StageModules, twin: int, x: Tensor, source: Tensor | None) -> Tensor:
    """A frame (b c 1 h w) as it enters the next stage (b c 1 2h 2w), the stage's shortcut added."""
    if stage.rise is None:
        return x
    grown = stage.rise.resample(x[:, :, 0])  # b c h w
    if source is not None:
        add_copies_(grown, source[:, :, 0], stage.shortcut, twin)
    return grown[:, :, None]


def add_copies_(grown: Tensor, source: Tensor, shortcut: Any, twin: int) -> None:
    """Adds one twin of ``shortcut(source)`` to a frame (b c h w) in place, without building both twins at full size.

    The shortcut deals every input channel ``repeats`` times, in order, to (channel, twin, row, column) of its output.
    """
    side, step = shortcut.factor_s, shortcut.factor // shortcut.repeats
    for down in range(side):
        for right in range(side):
            channel = ((twin * side + down) * side + right) // shortcut.repeats
            grown[:, :, down::side, right::side] += source[:, channel::step]
