"""One frame at a time through the modules of a Wan decoder, with the cache outside of them.

The modules are the host's own and are called, never looked into for weights: those may be offloaded, cast or patched.
What is written here is only the order of the calls, and the parts without weights: which frames a convolution sees, and
how a frame becomes two. It follows Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py.

A step takes its frame out of a box and puts the result there: what nobody needs any more is free at once, also where
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


class FrameBox:
    """Room for one frame (b c 1 h w), which is empty while somebody works on the frame."""

    def __init__(self, frame: Tensor) -> None:
        self._frames = [frame]

    def look(self) -> Tensor:
        return self._frames[0]

    def take(self) -> Tensor:
        """The frame, which the box then holds no longer."""
        return self._frames.pop()

    def put(self, frame: Tensor) -> None:
        self._frames[:] = [frame]


@dataclass(frozen=True, slots=True)
class StageModules:
    """The residual blocks of one resolution, and the way up to the next."""

    blocks: tuple[Any, ...]  # residual blocks
    upsample: Any | None  # doubles the picture's sides, and with a time_conv the frames too; None in the last stage
    shortcut: Any | None  # Wan2.2: what copies the stage's input around all of that


def stages_of(decoder: Any) -> tuple[StageModules, ...]:
    """The stages after the middle block: in Wan2.2 a module each, in Wan2.1 cut from a list where the sides double."""
    stages: list[StageModules] = []
    blocks: list[Any] = []
    for module in decoder.upsamples:
        if hasattr(module, "avg_shortcut"):
            *inner, last = module.upsamples
            upsample = last if hasattr(last, "resample") else None
            stages.append(StageModules(tuple(inner if upsample else module.upsamples), upsample, module.avg_shortcut))
        elif hasattr(module, "resample"):
            stages.append(StageModules(tuple(blocks), module, None))
            blocks = []
        else:
            blocks.append(module)
    return (*stages, StageModules(tuple(blocks), None, None)) if blocks else tuple(stages)


# The two halves of a decoder


def run_middle(decoder: Any, x: Tensor, cache: DecoderCache) -> Tensor:
    """One latent frame (b z 1 h w) after the entry convolution and the middle block (b c 1 h w)."""
    box = FrameBox(x)
    del x
    _convolve(decoder.conv1, box, cache)
    for block in decoder.middle:
        _run_block(block, box, cache)
    return box.take()


def run_stages(decoder: Any, stages: tuple[StageModules, ...], box: FrameBox, cache: DecoderCache) -> Iterator[Tensor]:
    """The frames (b c*patch^2 1 h w) that one frame after the middle block becomes: 1 at first, later 4.

    Each goes all the way before the next is begun. Takes the frame out of its box.
    """
    if not stages:
        _run_layers(decoder.head, box, cache)
        yield box.take()
        return
    stage, *later = stages
    source = box.look() if stage.shortcut is not None else None
    for block in stage.blocks:
        _run_block(block, box, cache)
    twins = _double_time(stage, box, cache)
    while twins:
        doubled = FrameBox(_double_space(stage, *twins.pop(0), source))
        if not twins:
            source = None
        yield from run_stages(decoder, tuple(later), doubled, cache)


# Steps


def _run_block(block: Any, box: FrameBox, cache: DecoderCache) -> None:
    if not hasattr(block, "residual"):  # attention: every frame on its own
        box.put(block(box.take()))
        return
    kept = block.shortcut(box.look())  # the frame itself where the number of channels stays
    _run_layers(block.residual, box, cache)
    box.look().add_(kept)


def _run_layers(layers: Iterable[Any], box: FrameBox, cache: DecoderCache) -> None:
    for layer in layers:
        if hasattr(layer, "kernel_size"):
            _convolve(layer, box, cache)
        elif isinstance(layer, SiLU):  # in place: it follows a norm, whose output is nobody else's
            silu(box.look(), inplace=True)
        else:
            box.put(layer(box.take()))


def _convolve(conv: Any, box: FrameBox, cache: DecoderCache) -> None:
    """A causal convolution; the module gets all its frames as past and none as present, so that it copies nothing."""
    window = cache.window(conv, box.look())  # b c 3 h w
    if window is None:
        box.put(conv(box.take()))
        return
    box.take()
    box.put(conv(window[:, :, :0], cache_x=window))


def _double_time(stage: StageModules, box: FrameBox, cache: DecoderCache) -> list[tuple[int, Tensor]]:
    """The frames (b c 1 h w) that leave a stage's blocks: a pair numbered 0 and 1, or one.

    A clip's first frame has no twin and counts as the second of a pair: of the shortcut's copies the first is dropped.
    """
    time_conv = getattr(stage.upsample, "time_conv", None)
    if time_conv is None:
        return [(0, box.take())]
    if time_conv not in cache.begun:
        cache.begun.add(time_conv)
        return [(1, box.take())]
    _convolve(time_conv, box, cache)  # b 2c 1 h w
    first, second = box.take().chunk(2, dim=1)
    return [(0, first), (1, second.clone())]  # a copy, so that the pair is free with the first


def _double_space(stage: StageModules, twin: int, x: Tensor, source: Tensor | None) -> Tensor:
    """A frame (b c 1 h w) as it enters the next stage (b c 1 2h 2w), the stage's shortcut added."""
    if stage.upsample is None:
        return x
    doubled: Tensor = stage.upsample.resample(x[:, :, 0])  # b c h w
    if source is not None:
        add_copies_(doubled, source[:, :, 0], stage.shortcut, twin)
    return doubled[:, :, None]


def add_copies_(doubled: Tensor, source: Tensor, shortcut: Any, twin: int) -> None:
    """Adds one twin of ``shortcut(source)`` to a frame (b c h w) in place, without building both twins at full size.

    The shortcut deals every input channel ``repeats`` times, in order, to (channel, twin, row, column) of its output.
    """
    side, step = shortcut.factor_s, shortcut.factor // shortcut.repeats
    for down in range(side):
        for right in range(side):
            channel = ((twin * side + down) * side + right) // shortcut.repeats
            doubled[:, :, down::side, right::side] += source[:, channel::step]
