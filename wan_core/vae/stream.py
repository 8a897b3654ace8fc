"""Decodes a Wan video latent chunk by chunk with the causal cache, in memory that grows by the latent alone.

The decoder modules are the caller's and follow the cache protocol of Wan-Video/Wan2.2, wan/modules/vae2_1.py and 2_2:
``decoder(x, feat_cache=slots, feat_idx=[0])``; every causal convolution leaves its last two input frames in its slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import torch
from einops import rearrange
from torch import Tensor

from .spec import VaeSpec

Cache = list[Any]  # a slot: None, then the last 1..2 frames (b c f h w) or the decoder's mark of a skipped upsampling


class WanVae(Protocol):
    """The two modules of a Wan VAE that decoding needs."""

    conv2: Any  # 1 x 1 x 1 convolution, z -> z
    decoder: Any  # z -> image channels * patch**2


def chunk_schedule(latent_frames: int, chunk_latents: int) -> Iterator[tuple[int, int]]:
    """The latent frames [start, stop) of each decoder call: the first alone, then ``chunk_latents`` a call.

    Only the last chunk may be shorter: a chunk of one frame leaves the Wan2.1 cache one frame short for the next.
    """
    yield 0, 1
    for start in range(1, latent_frames, chunk_latents):
        yield start, min(start + chunk_latents, latent_frames)


def stream_frames(
    vae: WanVae, latent: Tensor, spec: VaeSpec, *, device: torch.device, dtype: torch.dtype
) -> Iterator[Tensor]:
    """Yields the frames (f h w c, black at -1 and white at 1, not clamped) of one latent clip (z t h w) as they finish.

    The latent may lie anywhere and is moved to the device and dtype of the modules. The cache lives in this call alone:
    clips may be streamed side by side, and a stream that is dropped leaves nothing behind.
    """
    # All latent frames at once: their bytes are few, and a kernel that is chosen by size may round a chunk differently.
    x = vae.conv2(latent[None].to(device=device, dtype=dtype))  # 1 z t h w
    cache = _new_cache(spec, latent_frames=x.shape[2])
    for start, stop in chunk_schedule(x.shape[2], spec.chunk_latents):
        for packed in _decode_chunk(vae, x[:, :, start:stop], spec, cache, is_first=start == 0):  # 1 c*patch^2 f h w
            yield rearrange(packed, "1 (c r q) f h w -> f (h q) (w r) c", q=spec.patch, r=spec.patch)


def _new_cache(spec: VaeSpec, latent_frames: int) -> Cache | None:
    """Empty slots; none at all for a single Wan2.1 latent, whose decoder then keeps nothing."""
    if latent_frames == 1 and spec.kind == "Wan2.1":
        return None
    return [None] * spec.cache_slots


def _decode_chunk(vae: WanVae, x: Tensor, spec: VaeSpec, cache: Cache | None, *, is_first: bool) -> Iterable[Tensor]:
    if spec.kind == "Wan2.1":
        return vae.decoder(x, feat_cache=cache, feat_idx=[0])
    return (vae.decoder(x, feat_cache=cache, feat_idx=[0], first_chunk=is_first),)
