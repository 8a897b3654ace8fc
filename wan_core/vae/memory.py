"""What a decode needs on the device and in RAM, in integers: one model for each kind of VAE.

Sizes inside are counted in channel-frames: one channel of one frame at the resolution of the latent. A stage at scale s
takes s x s of them for each of its own channels. Not counted are the weights, and the gaps of the allocator, for which
a plan's reserve is there. The attention is taken to be fused. What kernels take beside the tensors that live is
measured in tests/bench/RESULTS.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import ClassVar

from .methods import DecodeMethod
from .params import Stage, VaeParams
from .tiles import spans

PAST = 2  # frames that a causal convolution of three taps remembers
WINDOW = PAST + 1  # frames that it sees
DOUBLED_SIDES = 4  # pixels that become of one when the sides double
TWINS = 2  # frames that become of one when time doubles
ATTENTION_COPIES = 10  # input, normed, q k v, each of those in order, result, result in the picture's order


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """What a decode may take beside the weights, in bytes; None: as many as it wants."""

    device_bytes: int | None = None
    ram_bytes: int | None = None  # for caches that wait in RAM
    device_is_ram: bool = False  # the device is a CPU, and what waits in RAM takes the device's bytes


@dataclass(frozen=True, slots=True)
class MemoryModel(ABC):
    """What one clip takes, by the way it is decoded; each kind of VAE says what its host's loop and shortcuts hold."""

    HOST_WORKSPACE_PERCENT: ClassVar[int]  # of the peak, in the host's own schedule
    WORKSPACE_PERCENT: ClassVar[int] = 17  # of the peak, one frame at a time; in tiles it was 11 to 15

    params: VaeParams
    latent_frames: int
    height: int  # of the latent
    width: int
    item_bytes: int  # of what the modules compute in

    def peak_bytes(self, method: DecodeMethod) -> int:
        """The most that lives on the device at a time beside the weights."""
        if method.is_tiled:
            return self._tiled_peak(method) * self.item_bytes
        cache = 0 if method.cache_in_ram else PAST * sum((*self._entry_inputs(), *self._stage_inputs()))
        z = self.params.latent_channels
        if method.one_frame:
            peak = cache + 2 * z + self._frame_working() + self._finished(1)  # z: before and after conv2
        else:
            latents = z * self.latent_frames  # all of them go through conv2 at once
            finished = self._finished(self.params.temporal_scale * self.params.chunk_latents)
            peak = max(2 * latents, latents + cache + self._host_working() + finished)
        return peak * self.height * self.width * self.item_bytes

    def workspace_bytes(self, method: DecodeMethod) -> int:
        """What kernels take on the device beside the peak."""
        percent = self.WORKSPACE_PERCENT if method.one_frame else self.HOST_WORKSPACE_PERCENT
        return self.peak_bytes(method) * percent // 100

    def parked_bytes(self, method: DecodeMethod, *, pinned: bool) -> int:
        """The most that waits in RAM; of pinned RAM each frame of the caches takes the next power of two."""
        if not method.cache_in_ram:
            return 0
        inputs = [*self._stage_inputs(), *(() if method.is_tiled else self._entry_inputs())]
        frames = (prod(sizes) * self.item_bytes for sizes in product(inputs, *self._tile_sides(method)))
        return PAST * sum(1 << (size - 1).bit_length() if pinned else size for size in frames)

    def decoded_share(self, method: DecodeMethod) -> float:
        """How many times the picture the tiles decode together, because they overlap."""
        heights, widths = self._tile_sides(method)
        return sum(heights) * sum(widths) / (self.height * self.width)

    def _tile_sides(self, method: DecodeMethod) -> tuple[list[int], list[int]]:
        """The heights and the widths that the tiles decode, in latent pixels."""
        rows, columns = spans(self.height, method.rows), spans(self.width, method.columns)
        return [span.high - span.low for span in rows], [span.high - span.low for span in columns]

    def _tiled_peak(self, method: DecodeMethod) -> int:
        """Before the stages the whole frame, in them the largest tile."""
        frame, features = self.height * self.width, self._features()
        heights, widths = self._tile_sides(method)
        pictures = self.params.temporal_scale * method.segment_latents + 1  # and the one that the caller took last
        always = PAST * sum(self._entry_inputs()) + 2 * self.params.latent_channels
        waiting = features * method.segment_latents + self._picture() * pictures
        tile = PAST * sum(self._stage_inputs()) + self._frame_working() + self._finished(1)
        in_stages = (always + waiting) * frame + tile * max(heights) * max(widths)
        return max(in_stages, (always + waiting + ATTENTION_COPIES * features) * frame)

    # Sizes that the kinds share

    def _picture(self) -> int:
        return self.params.image_channels * self.params.spatial_scale**2

    def _finished(self, frames: int) -> int:
        """Pictures as they leave the decoder: a patch is unpacked into a second one."""
        return frames * self._picture() * (2 if self.params.patch > 1 else 1)

    def _features(self) -> int:
        """One latent frame after the middle block."""
        return self.params.middle.blocks[-1][1]

    def _entry_inputs(self) -> Iterator[int]:
        """One frame of the input of every causal convolution that works on latent pixels, before the stages."""
        yield self.params.latent_channels
        yield from chain(*self.params.middle.blocks)

    def _stage_inputs(self) -> Iterator[int]:
        """The same of the stages and the head."""
        for stage in self.params.stages:
            yield from (stage.area * channels for channels in chain(*stage.blocks))
            if stage.doubles_time:
                yield stage.area * stage.width
        last = self.params.stages[-1]
        yield last.area * last.width

    # One frame at a time

    def _frame_working(self) -> int:
        """The most that one frame needs beside the caches, from the middle block to the head."""
        most, waiting = ATTENTION_COPIES * self._features(), 0
        for stage in self.params.stages:
            source = self._shortcut_source(stage)
            blocks = max(_block_working(c_in=c_in, c_out=c_out) for c_in, c_out in stage.blocks)
            most = max(most, waiting + stage.area * (source + max(blocks, _upsampling_working(stage))))
            if stage.doubles_time:  # the second twin waits while the first goes all the way
                waiting += stage.area * (source + stage.width)
        return most

    @abstractmethod
    def _shortcut_source(self, stage: Stage) -> int:
        """Channels of a stage's input that wait for the shortcut around it."""

    # The host's schedule

    @abstractmethod
    def _host_working(self) -> int:
        """The most that the host's own loop holds at a time beside the caches and the finished frames."""


class Wan21Memory(MemoryModel):
    """The Wan2.1 VAE: stages take two frames at a time, and a convolution's own input is what stays in the cache."""

    __slots__ = ()
    HOST_WORKSPACE_PERCENT = 17

    def _shortcut_source(self, stage: Stage) -> int:
        return 0

    def _host_working(self) -> int:
        frames = self.params.chunk_latents
        most, waiting = 0, frames * self._features()
        for stage in self.params.stages:
            blocks = max(self._host_block(frames, c_in=c_in, c_out=c_out) for c_in, c_out in stage.blocks)
            most = max(most, waiting + stage.area * max(blocks, _host_upsampling(stage, frames)))
            if stage.doubles_time:  # what is doubled waits
                waiting += stage.area * DOUBLED_SIDES * TWINS * frames * stage.upsampled
        return most

    @staticmethod
    def _host_block(frames: int, *, c_in: int, c_out: int) -> int:
        """What goes around a residual block, and of one convolution its input, that after its past, and the result."""
        around = frames * c_in
        first = (frames + PAST) * c_in + frames * max(c_in, c_out)
        second = (2 * frames + PAST) * c_out
        return around + max(first, second)


class Wan22Memory(MemoryModel):
    """The Wan2.2 VAE: a latent frame's frames go together, stages have shortcuts around them, caches are copies."""

    __slots__ = ()
    HOST_WORKSPACE_PERCENT = 27

    def _shortcut_source(self, stage: Stage) -> int:
        return stage.blocks[0][0] if stage.upsampled else 0

    def _host_working(self) -> int:
        most = 0
        for stage in self.params.stages:
            frames = stage.frames
            shortcut_result = DOUBLED_SIDES * stage.upsampled * frames * (TWINS if stage.doubles_time else 1)
            blocks = max(self._host_block(frames, c_in=c_in, c_out=c_out) for c_in, c_out in stage.blocks)
            upsampling = max(_host_upsampling(stage, frames), 3 * shortcut_result)  # beside it the main result, the sum
            most = max(most, stage.area * (frames * self._shortcut_source(stage) + max(blocks, upsampling)))
        return most

    @staticmethod
    def _host_block(frames: int, *, c_in: int, c_out: int) -> int:
        """The same, but a convolution keeps a copy of its input, or the result comes."""
        around = frames * c_in
        first = (2 * frames + PAST) * c_in + max(PAST * c_in, frames * c_out)
        second = (2 * frames + PAST) * c_out + max(PAST, frames) * c_out
        return around + max(first, second)


def memory_model(params: VaeParams, latent_shape: Sequence[int], item_bytes: int) -> MemoryModel:
    """The model of a clip of shape (... t h w)."""
    kind = {"Wan2.1": Wan21Memory, "Wan2.2": Wan22Memory}[params.kind]
    latent_frames, height, width = latent_shape[-3:]
    return kind(params, latent_frames, height, width, item_bytes)


# Working memory of single steps


def _block_working(*, c_in: int, c_out: int) -> int:
    """Of one frame: what goes around a residual block, and of one convolution its input, its window, and the result."""
    around = c_in if c_in == c_out else c_out
    return around + max(c_in + WINDOW * c_in, WINDOW * c_in + c_out, WINDOW * c_out + c_out)


def _upsampling_working(stage: Stage) -> int:
    """Of one frame: what is upsampled, and both sides of the spatial convolution."""
    if not stage.upsampled:
        return 0
    frames = TWINS + 1 if stage.doubles_time else 1  # both as they are made, and a copy of the second
    return (frames + DOUBLED_SIDES) * stage.width + DOUBLED_SIDES * stage.upsampled


def _host_upsampling(stage: Stage, frames: int) -> int:
    """Of some frames in the host's loop: input, that with time doubled, and both sides of the spatial convolution."""
    if not stage.upsampled:
        return 0
    doubled = TWINS * frames if stage.doubles_time else 0
    pictures = doubled or frames
    inputs = (frames + doubled + DOUBLED_SIDES * pictures) * stage.width
    return inputs + DOUBLED_SIDES * pictures * stage.upsampled
