"""Decoded frames as pixels: checked, and rounded to eight bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..errors import InputError

BAND_ROWS = 64  # of a frame that are held in floating point a second time


class NotFiniteError(InputError):
    """Frames that hold NaN or an infinity, as where numbers grew too large for fp16."""

    def __init__(self, frame: int) -> None:
        super().__init__(
            "vae",
            found=f"NaN or infinite pixels in frame {frame} (counted from 0)",
            wanted="finite pixels",
            fix="Start ComfyUI with --fp32-vae or --bf16-vae, or load the VAE file again.",
        )
        self.frame = frame


def require_finite(frames: Tensor, first: int) -> None:
    """Raises NotFiniteError for the first bad one of some frames (f h w c); ``first`` is the number of the first."""
    if frames.amin().isfinite() & frames.amax().isfinite():  # each is NaN where any value is; aminmax would copy
        return
    raise NotFiniteError(first + next(i for i, frame in enumerate(frames) if not frame.isfinite().all()))


def to_uint8(frame: Tensor) -> Tensor:
    """A frame (h w c) from black -1 and white 1 to 0 and 255, rounded to the nearest and clamped."""
    levels = torch.empty(frame.shape, dtype=torch.uint8, device=frame.device)
    for target, rows in zip(levels.split(BAND_ROWS), frame.split(BAND_ROWS), strict=True):
        target.copy_(rows.float().add(1.0).mul_(127.5).add_(0.5).clamp_(0.0, 255.0))
    return levels


def uint8_frames(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Frame by frame in eight bits (h w c each) what a decode gives in pieces (f h w c)."""
    for piece in pieces:
        yield from map(to_uint8, piece)
        del piece  # before the next is decoded
