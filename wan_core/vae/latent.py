"""What the decoder accepts: a latent brought to five dimensions and checked, and an IMAGE that fits in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import InputError
from .spec import VaeSpec

GIB = 2**30
ENOUGH_VALUES = 4096  # of a channel, to tell how far it spreads
NORMALISED_TOLERANCE = 0.15  # of a standard deviation of 1


def samples_of(latent: object) -> Tensor:
    """The samples of the host's LATENT, a tensor or a nested one; raises InputError for anything else."""
    if not isinstance(latent, Mapping) or not hasattr(latent.get("samples"), "is_nested"):
        raise InputError(
            "samples", found=type(latent).__name__, wanted="a LATENT", fix="Connect the LATENT of a Wan sampler."
        )
    return latent["samples"]


def video_latent(samples: Tensor, spec: VaeSpec) -> Tensor:
    """The video latent (b z t h w) of a LATENT's samples; raises InputError for one that this VAE cannot decode.

    An image latent (b z h w) is a video of one latent frame. The first part of a nested latent is the video.
    """
    latent = samples.unbind()[0] if samples.is_nested else samples
    if latent.ndim == 4:
        latent = latent.unsqueeze(2)  # b z 1 h w
    _check_shape(latent.shape, spec)
    _check_finite(latent)
    return latent


def check_image_fits(image_shape: Sequence[int], *, item_bytes: int, free_bytes: int) -> int:
    """The bytes of an IMAGE of this shape; raises InputError when they are more than the free memory."""
    needed_bytes = math.prod(image_shape) * item_bytes
    if needed_bytes <= free_bytes:
        return needed_bytes
    frames, height, width, _ = image_shape
    raise InputError(
        "samples",
        found=f"{frames} frames of {width} x {height} pixels, an IMAGE of {needed_bytes / GIB:.1f} GiB",
        wanted=f"at most the {free_bytes / GIB:.1f} GiB of memory that are free",
        fix="Use WanCast Decode To Video, which writes a file instead, or decode fewer frames.",
    )


def notes_on(latent: Tensor) -> list[str]:
    """What is odd about a latent (b z t h w) that can be decoded: here, that it seems to be normalised still."""
    spread = latent.float().std(dim=(0, 2, 3, 4))  # z
    if latent[:, 0].numel() < ENOUGH_VALUES or (spread - 1.0).abs().max() > NORMALISED_TOLERANCE:
        return []
    return [
        "note: every channel of the latent spreads by 1, as in a latent that is still normalised; if the video looks "
        "washed out, take the latent from a stock sampler, or denormalise it in the pack that made it"
    ]


def _check_shape(shape: Sequence[int], spec: VaeSpec) -> None:
    if len(shape) != 5:
        raise InputError(
            "samples",
            found=f"a latent of shape {list(shape)}",
            wanted="[batch, channels, frames, height, width] (video) or [batch, channels, height, width] (image)",
            fix="Connect the LATENT of a Wan sampler.",
        )
    if shape[1] != spec.latent_channels:
        raise InputError(
            "samples",
            found=f"a latent with {shape[1]} channels",
            wanted=f"{spec.latent_channels} channels, because the VAE is a {spec.kind} VAE",
            fix="Use the Wan2.1 VAE (16 channels) with the 14B models, the Wan2.2 VAE (48 channels) with the 5B model.",
        )
    if 0 in shape:
        raise InputError(
            "samples",
            found=f"an empty latent of shape {list(shape)}",
            wanted="at least one clip, one latent frame and one latent pixel each way",
            fix="Raise the length, width or height of the latent.",
        )


def _check_finite(latent: Tensor) -> None:
    for clip_index, clip in enumerate(latent):  # z t h w
        for frame_index, frame in enumerate(clip.unbind(1)):  # z h w
            if not torch.isfinite(frame).all():
                raise InputError(
                    "samples",
                    found=f"NaN or Inf in latent frame {frame_index} of clip {clip_index} (both counted from 0)",
                    wanted="finite numbers only",
                    fix="Sample again with a lower cfg, or with the model and its LoRAs in bf16 or fp32.",
                )
