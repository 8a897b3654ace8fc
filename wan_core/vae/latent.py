"""What the decoder accepts: a latent brought to five dimensions and checked, and an IMAGE that fits in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..notes import Note
from .params import VaeParams

GIB = 2**30
ENOUGH_VALUES = 4096  # of a channel, to tell how far it spreads
NORMALISED_TOLERANCE = 0.15  # of a standard deviation of 1
NORMALISED = Note(
    "normalised_latent",
    "every channel of the latent spreads by 1, as in a latent that is still normalised; if the video looks "
    "washed out, take the latent from a stock sampler, or denormalise it in the pack that made it",
)


def video_latent(samples: Any, params: VaeParams) -> Tensor:
    """The video latent (b z t h w) of a LATENT's samples; raises InputError for one that this VAE cannot decode.

    An image latent (b z h w) is a video of one latent frame. The first part of the host's nested latent is the video.
    """
    parts = samples.unbind() if samples.is_nested else [samples]
    if not parts:
        fix = "Connect the LATENT of a Wan sampler."
        raise InputError("samples", found="a nested latent without a part", wanted="one of a video", fix=fix)
    latent: Tensor = parts[0]
    if latent.ndim == 4:
        latent = latent.unsqueeze(2)  # b z 1 h w
    _require_shape(latent.shape, params)
    _require_finite(latent)
    return latent


def require_image_fits(image_shape: Sequence[int], *, item_bytes: int, free_bytes: int) -> None:
    """Raises InputError when an IMAGE of this shape takes more than the free memory."""
    needed_bytes = math.prod(image_shape) * item_bytes
    if needed_bytes <= free_bytes:
        return
    frames, height, width, _ = image_shape
    raise InputError(
        "samples",
        found=f"{frames} frames of {width} x {height} pixels, an IMAGE of {needed_bytes / GIB:.1f} GiB",
        wanted=f"at most the {free_bytes / GIB:.1f} GiB of memory that are free",
        fix="Use WanCast Decode To Video, which writes a file instead, or decode fewer frames.",
    )


def notes_on(latent: Tensor) -> list[Note]:
    """What is odd about a latent (b z t h w) that can be decoded."""
    spread = latent.float().std(dim=(0, 2, 3, 4))  # z
    is_normalised = (spread - 1.0).abs().max() <= NORMALISED_TOLERANCE
    return [NORMALISED] if latent[:, 0].numel() >= ENOUGH_VALUES and is_normalised else []


def _require_shape(shape: Sequence[int], params: VaeParams) -> None:
    if len(shape) != 5:
        raise InputError(
            "samples",
            found=f"a latent of shape {list(shape)}",
            wanted="[batch, channels, frames, height, width] (video) or [batch, channels, height, width] (image)",
            fix="Connect the LATENT of a Wan sampler.",
        )
    if shape[1] != params.latent_channels:
        raise InputError(
            "samples",
            found=f"a latent with {shape[1]} channels",
            wanted=f"{params.latent_channels} channels, because the VAE is a {params.kind} VAE",
            fix="Use the Wan2.1 VAE (16 channels) with the 14B models, the Wan2.2 VAE (48 channels) with the 5B model.",
        )
    if 0 in shape:
        raise InputError(
            "samples",
            found=f"an empty latent of shape {list(shape)}",
            wanted="at least one clip, one latent frame and one latent pixel each way",
            fix="Raise the length, width or height of the latent.",
        )


def _require_finite(latent: Tensor) -> None:
    for clip_index, clip in enumerate(latent):  # z t h w
        for frame_index, frame in enumerate(clip.unbind(1)):  # z h w
            if not torch.isfinite(frame).all():
                raise InputError(
                    "samples",
                    found=f"NaN or Inf in latent frame {frame_index} of clip {clip_index} (both counted from 0)",
                    wanted="finite numbers only",
                    fix="Sample again with a lower cfg, or with the model and its LoRAs in bf16 or fp32.",
                )
