"""Decodes a Wan video latent in pieces with the causal cache, in memory that does not grow with the clip.

Two ways to the same frames. The host's schedule calls the host's decoder as it stands, with chunks of its own size, and
gives its frames bit for bit; the cache protocol is that of Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py:
``decoder(x, feat_cache=slots, feat_idx=[0])``. Every other method walks the decoder's modules one frame at a time,
whole or in tiles, and differs by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .blocks import FrameBox, run_middle, run_stages, stages_of
from .cache import DecoderCache
from .methods import DecodeMethod
from .params import VaeParams, WanVae
from .tiles import decode_tile, pictures, tiles_of


@dataclass(frozen=True, slots=True)
class _Clip:
    """What is decoded, and where."""

    vae: WanVae
    latent: Tensor  # z t h w
    params: VaeParams
    device: torch.device
    dtype: torch.dtype

    @property
    def latent_frames(self) -> int:
        return self.latent.shape[1]

    def entered(self, start: int, stop: int) -> Tensor:
        """The latent frames [start, stop) after the VAE's latent convolution, on the device (1 z t h w)."""
        return self.vae.conv2(self.latent[None, :, start:stop].to(device=self.device, dtype=self.dtype))


def stream_frames(
    vae: WanVae,
    latent: Tensor,
    params: VaeParams,
    method: DecodeMethod,
    *,
    device: torch.device,
    dtype: torch.dtype,
    bounded: bool = False,
) -> Iterator[Tensor]:
    """The frames (f h w c, black at -1 and white at 1, not clamped) of one clip, each piece decoded when asked for.

    The latent (z t h w) may lie anywhere; the modules are on ``device`` and compute in ``dtype``. The frames are the
    host's bit for bit with the host's schedule; any other method takes one frame at a time. With ``bounded`` the host's
    schedule takes the latent in pieces too: no memory grows with the clip, and the frames may differ from the host's by
    rounding. Clips may be streamed side by side. The caches are released with the last frame, when the stream is
    closed, and with any exception, an interruption too.
    """
    clip = _Clip(vae, latent, params, device, dtype)
    if method.is_tiled:
        return _tiled_frames(clip, method)
    if method.one_frame or method.cache_in_ram:
        return _single_frames(clip, parked=method.cache_in_ram)
    return _host_frames(clip, bounded=bounded)


# The host's schedule


def chunk_schedule(latent_frames: int, chunk_latents: int) -> Iterator[tuple[int, int]]:
    """The latent frames [start, stop) of each decoder call: the first alone, then ``chunk_latents`` a call.

    Only the last chunk may be shorter: a chunk of one frame leaves the Wan2.1 cache one frame short for the next.
    """
    yield 0, 1
    for start in range(1, latent_frames, chunk_latents):
        yield start, min(start + chunk_latents, latent_frames)


def _host_frames(clip: _Clip, *, bounded: bool) -> Iterator[Tensor]:
    slots: list[Any] = [None] * clip.params.cache_slots  # the decoder fills them: frames, or a mark of its own
    try:
        # the whole latent at once: a kernel that is chosen by size may round a chunk differently
        x = None if bounded else clip.entered(0, clip.latent_frames)  # 1 z t h w
        for start, stop in chunk_schedule(clip.latent_frames, clip.params.chunk_latents):
            chunk = clip.entered(start, stop) if x is None else x[:, :, start:stop]
            for packed in _decode_chunk(clip, chunk, slots, is_first=start == 0):  # 1 c*patch^2 f h w
                yield pictures(packed, clip.params)
                del packed  # before the next is decoded
    finally:
        slots.clear()


def _decode_chunk(clip: _Clip, chunk: Tensor, slots: list[Any], *, is_first: bool) -> Iterable[Tensor]:
    """A call of the host's decoder, which gives the frames of a Wan2.1 VAE one by one."""
    if clip.params.kind == "Wan2.2":
        return (clip.vae.decoder(chunk, feat_cache=slots, feat_idx=[0], first_chunk=is_first),)
    is_single = clip.latent_frames == 1  # the host then goes without a cache
    return clip.vae.decoder(chunk, feat_cache=None if is_single else slots, feat_idx=[0])


# One frame at a time


def _single_frames(clip: _Clip, *, parked: bool) -> Iterator[Tensor]:
    decoder, cache = clip.vae.decoder, DecoderCache(clip.device)
    stages = stages_of(decoder)
    try:
        cache.move(parked=parked)
        for index in range(clip.latent_frames):
            box = FrameBox(run_middle(decoder, clip.entered(index, index + 1), cache))
            for packed in run_stages(decoder, stages, box, cache):  # 1 c*patch^2 1 h w
                yield pictures(packed, clip.params)
                del packed  # before the next is decoded
    finally:
        cache.release()


def _tiled_frames(clip: _Clip, method: DecodeMethod) -> Iterator[Tensor]:
    """The same in tiles, segment by segment: each tile decodes its part of ``segment_latents`` latent frames."""
    decoder, params = clip.vae.decoder, clip.params
    _, height, width, channels = params.image_shape((1, *clip.latent.shape))
    tiles = tiles_of(clip.latent.shape[2], clip.latent.shape[3], method.rows, method.columns)
    stages = stages_of(decoder)
    whole, caches = DecoderCache(clip.device), [DecoderCache(clip.device) for _ in tiles]
    try:
        for start in range(0, clip.latent_frames, method.segment_latents):
            stop = min(start + method.segment_latents, clip.latent_frames)
            features = [run_middle(decoder, clip.entered(i, i + 1), whole) for i in range(start, stop)]
            count = params.frames(stop) - (params.frames(start) if start else 0)
            segment = [features[0].new_empty(1, height, width, channels) for _ in range(count)]  # 1 h w c each
            for tile, cache in zip(tiles, caches, strict=True):
                cache.move(parked=False)
                decode_tile(decoder, stages, features, tile, cache, params, segment)
                if stop == clip.latent_frames:
                    cache.release()
                else:
                    cache.move(parked=method.cache_in_ram)
            features.clear()
            while segment:
                yield segment.pop(0)
    finally:
        for cache in (whole, *caches):
            cache.release()
