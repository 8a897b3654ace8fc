"""Decoded frames as pixels: checked, and rounded to eight bits."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError


def require_finite(frames: Tensor, first: int) -> None:
    """Raises InputError when a frame (f h w c) holds NaN or an infinity; ``first`` is the number of the first one."""
    if frames.amin().isfinite() & frames.amax().isfinite():  # both are NaN where any value is; aminmax would copy
        return
    bad = next(i for i, frame in enumerate(frames) if not frame.isfinite().all())
    raise InputError(
        "vae",
        found=f"NaN or infinite pixels in frame {first + bad} (counted from 0)",
        wanted="finite pixels",
        fix="Start ComfyUI with --fp32-vae or --bf16-vae, or load the VAE file again.",
    )


def to_uint8(frames: Tensor) -> Tensor:
    """Frames (f h w c) from black -1 and white 1 to 0 and 255, rounded to the nearest and clamped."""
    pixels = torch.empty(frames.shape, dtype=torch.uint8, device=frames.device)
    for pixel, frame in zip(pixels, frames, strict=True):  # one by one, to hold one of them in floating point
        for rows, source in zip(pixel.split(64), frame.split(64)):
            rows.copy_(source.float().add(1.0).mul_(127.5).add_(0.5).clamp_(0.0, 255.0))
    return pixels
