"""Decoded frames as pixels: checked, and rounded to eight bits."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

BAND_ROWS = 64  # of a frame that are held in floating point a second time


def require_finite(frames: Tensor, first: int) -> None:
    """Raises InputError when a frame (f h w c) holds NaN or an infinity; ``first`` is the number of the first one."""
    if frames.amin().isfinite() & frames.amax().isfinite():  # each is NaN where any value is; aminmax would copy
        return
    bad = next(i for i, frame in enumerate(frames) if not frame.isfinite().all())
    raise InputError(
        "vae",
        found=f"NaN or infinite pixels in frame {first + bad} (counted from 0)",
        wanted="finite pixels",
        fix="Start ComfyUI with --fp32-vae or --bf16-vae, or load the VAE file again.",
    )


def to_uint8(frame: Tensor) -> Tensor:
    """A frame (h w c) from black -1 and white 1 to 0 and 255, rounded to the nearest and clamped."""
    levels = torch.empty(frame.shape, dtype=torch.uint8, device=frame.device)
    for target, rows in zip(levels.split(BAND_ROWS), frame.split(BAND_ROWS), strict=True):
        target.copy_(rows.float().add(1.0).mul_(127.5).add_(0.5).clamp_(0.0, 255.0))
    return levels
