"""Decodes a Wan video latent in pieces with the causal cache, in memory that does not grow with the clip.

Two ways to the same frames. The host's schedule calls the host's decoder as it stands, with chunks of its own size, and
gives its frames bit for bit; the cache protocol is that of Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py:
``decoder(x, feat_cache=slots, feat_idx=[0])``. Every other plan walks the decoder's modules one frame at a time, whole
or in tiles, and differs by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .blocks import stages_of, through_middle, through_stages
from .cache import DecoderCache, HostCache
from .plan import Plan
from .spec import VaeSpec
from .tiles import Tile, decode_tile, pictures, tiles_of


class WanVae(Protocol):
    """The two modules of a Wan VAE that decoding needs."""

    conv2: Any  # 1 x 1 x 1 convolution, z -> z
    decoder: Any  # z -> image channels * patch**2


class FrameStream(Iterator[Tensor]):
    """The frames (f h w c, black at -1 and white at 1, not clamped) of one clip, each piece decoded when asked for.

    It owns its caches. They are let go with the last frame, with ``close`` and with any exception, an interruption too.
    """

    def __init__(self, pieces: Iterator[Tensor], caches: Sequence[DecoderCache | HostCache]) -> None:
        self._caches = caches
        self._pieces = _clearing(pieces, caches)

    def __next__(self) -> Tensor:
        return next(self._pieces)

    @property
    def cache_bytes(self) -> int:
        """The bytes of what is kept of the past frames, on the device and in RAM."""
        return sum(cache.nbytes for cache in self._caches)

    def close(self) -> None:
        """Ends the stream early."""
        self._pieces.close()


@dataclass(frozen=True, slots=True)
class _Clip:
    """What is decoded, and where."""

    vae: WanVae
    latent: Tensor  # z t h w
    spec: VaeSpec
    device: torch.device
    dtype: torch.dtype

    def entered(self, start: int, stop: int) -> Tensor:
        """The latent frames [start, stop) after the VAE's latent convolution, on the device (1 z t h w)."""
        return self.vae.conv2(self.latent[None, :, start:stop].to(device=self.device, dtype=self.dtype))


def stream_frames(
    vae: WanVae,
    latent: Tensor,
    spec: VaeSpec,
    plan: Plan,
    *,
    device: torch.device,
    dtype: torch.dtype,
    bounded: bool = False,
) -> FrameStream:
    """Streams a latent clip (z t h w), which may lie anywhere, through modules on ``device`` that compute in ``dtype``.

    The frames are the host's bit for bit when the plan is whole-frame, not ``one_frame`` and keeps its cache on the
    device; any other plan takes one frame at a time. With ``bounded`` the host's schedule takes the latent in pieces
    too: no memory grows with the clip, and the frames may differ from the host's by rounding. Clips may be streamed
    side by side.
    """
    clip = _Clip(vae, latent, spec, device, dtype)
    if plan.rows > 1 or plan.columns > 1:
        tiles = tiles_of(*latent.shape[2:], plan.rows, plan.columns)
        return _tiled_stream(clip, tiles, plan)
    if plan.one_frame or plan.cache_in_ram:
        cache = DecoderCache(device)
        return FrameStream(_single_frames(clip, cache, park=plan.cache_in_ram), [cache])
    slots = HostCache(spec.cache_slots)
    pieces = _entered_in_pieces(clip) if bounded else _entered_at_once(clip)
    return FrameStream(_host_pieces(clip, pieces, slots), [slots])


def _clearing(pieces: Iterator[Tensor], caches: Sequence[DecoderCache | HostCache]) -> Iterator[Tensor]:
    try:
        yield from pieces
    finally:
        for cache in caches:
            cache.clear()


# The host's schedule


def chunk_schedule(latent_frames: int, chunk_latents: int) -> Iterator[tuple[int, int]]:
    """The latent frames [start, stop) of each decoder call: the first alone, then ``chunk_latents`` a call.

    Only the last chunk may be shorter: a chunk of one frame leaves the Wan2.1 cache one frame short for the next.
    """
    yield 0, 1
    for start in range(1, latent_frames, chunk_latents):
        yield start, min(start + chunk_latents, latent_frames)


def _entered_at_once(clip: _Clip) -> Iterator[Tensor]:
    """The chunks (1 z t h w) of the whole latent: a kernel that is chosen by size may round a chunk differently."""
    x = clip.entered(0, clip.latent.shape[1])
    for start, stop in chunk_schedule(x.shape[2], clip.spec.chunk_latents):
        yield x[:, :, start:stop]


def _entered_in_pieces(clip: _Clip) -> Iterator[Tensor]:
    """The same chunks, each when it is needed."""
    for start, stop in chunk_schedule(clip.latent.shape[1], clip.spec.chunk_latents):
        yield clip.entered(start, stop)


def _host_pieces(clip: _Clip, chunks: Iterator[Tensor], cache: HostCache) -> Iterator[Tensor]:
    is_single = clip.spec.kind == "Wan2.1" and clip.latent.shape[1] == 1
    slots = None if is_single else cache.slots  # the host's way with one latent
    for index, x in enumerate(chunks):
        for packed in _decode_chunk(clip, x, slots, is_first=index == 0):  # 1 c*patch^2 f h w
            yield pictures(packed, clip.spec)
            del packed  # before the next is decoded


def _decode_chunk(clip: _Clip, x: Tensor, slots: list[Any] | None, *, is_first: bool) -> Iterable[Tensor]:
    if clip.spec.kind == "Wan2.1":
        return clip.vae.decoder(x, feat_cache=slots, feat_idx=[0])
    return (clip.vae.decoder(x, feat_cache=slots, feat_idx=[0], first_chunk=is_first),)


# One frame at a time


def _single_frames(clip: _Clip, cache: DecoderCache, *, park: bool) -> Iterator[Tensor]:
    decoder = clip.vae.decoder
    stages = stages_of(decoder)
    if park:
        cache.park()
    for index in range(clip.latent.shape[1]):
        held = [through_middle(decoder, clip.entered(index, index + 1), cache)]
        for packed in through_stages(decoder, stages, held, cache):  # 1 c*patch^2 1 h w
            yield pictures(packed, clip.spec)
            del packed  # before the next is decoded


def _tiled_stream(clip: _Clip, tiles: Sequence[Tile], plan: Plan) -> FrameStream:
    """The same in tiles, segment by segment: each tile decodes its part of ``plan.segment_latents`` latent frames."""
    whole, caches = DecoderCache(clip.device), [DecoderCache(clip.device) for _ in tiles]
    return FrameStream(_tiled_frames(clip, list(zip(tiles, caches, strict=True)), whole, plan), [whole, *caches])


def _tiled_frames(
    clip: _Clip, tiled: Sequence[tuple[Tile, DecoderCache]], whole: DecoderCache, plan: Plan
) -> Iterator[Tensor]:
    decoder, latent_frames = clip.vae.decoder, clip.latent.shape[1]
    stages = stages_of(decoder)
    for start in range(0, latent_frames, plan.segment_latents):
        stop = min(start + plan.segment_latents, latent_frames)
        features = [through_middle(decoder, clip.entered(i, i + 1), whole) for i in range(start, stop)]
        segment = _room(clip, features[0], clip.spec.frames(stop) - (clip.spec.frames(start) if start else 0))
        for tile, cache in tiled:
            cache.fetch()
            decode_tile(decoder, stages, features, tile, cache, clip.spec, segment)
            if stop == latent_frames:
                cache.clear()
            elif plan.cache_in_ram:
                cache.park()
        features.clear()
        while segment:
            yield segment.pop(0)


def _room(clip: _Clip, feature: Tensor, frames: int) -> list[Tensor]:
    """Empty frames (1 h w c) beside a feature."""
    *_, height, width, channels = clip.spec.image_shape((1, *clip.latent.shape))
    return [feature.new_empty(1, height, width, channels) for _ in range(frames)]
