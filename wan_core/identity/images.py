"""What a reference image may be, and the crop that a user has aligned already."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .record import CROP_PX

SMALLEST_FACE_PX = 24  # below this a recogniser sees noise
RANGE_TOLERANCE = 0.05  # overshoot that resampling filters leave


def as_rgb(images: object) -> Tensor:
    """Reference images as b h w 3, fp32 in [0, 1]: alpha dropped, grey repeated; raises InputError for other input."""
    if not isinstance(images, Tensor):
        raise _unusable(type(images).__name__, "an IMAGE")
    if images.ndim != 4:
        raise _unusable(f"a tensor of shape {tuple(images.shape)}", "images as batch, height, width, channels")
    count, height_px, width_px, channels = images.shape
    if min(count, height_px, width_px) == 0:
        raise _unusable(f"an empty batch of shape {tuple(images.shape)}", "at least one image")
    if channels not in (1, 3, 4):
        raise _unusable(f"{channels} channels", "1 (grey), 3 (RGB) or 4 (RGBA) channels")
    rgb = (images.expand(-1, -1, -1, 3) if channels == 1 else images[..., :3]).float()  # b h w 3
    if not torch.isfinite(rgb).all():
        raise _unusable("NaN or infinite pixels", "finite pixels")
    low, high = rgb.min().item(), rgb.max().item()
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise _unusable(f"pixels from {low:.3g} to {high:.3g}", "pixels from 0 to 1")
    return rgb.clamp(0, 1)


def square_crops(images: Tensor) -> Tensor:
    """Resizes crops that are aligned already, b h w 3, to b 112 112 3 with antialiasing; 112 px stay as they are."""
    _, height_px, width_px, _ = images.shape
    if height_px != width_px:
        raise InputError(
            "images",
            found=f"{width_px} x {height_px} px",
            wanted="a square crop that is aligned to the ArcFace template",
            fix='Crop the image, or choose "landmarks" and give the five points.',
        )
    require_face_size("images", width_px)
    if width_px == CROP_PX:
        return images
    resized = functional.interpolate(
        images.movedim(-1, 1), size=(CROP_PX, CROP_PX), mode="bilinear", antialias=True, align_corners=False
    )  # b 3 112 112
    return resized.movedim(1, -1).clamp(0, 1).contiguous()


def require_face_size(name: str, face_px: float) -> None:
    """Raises InputError for a face that is too small to be recognised."""
    if face_px < SMALLEST_FACE_PX:
        raise InputError(
            name,
            found=f"a face of {face_px:.0f} px",
            wanted=f"{SMALLEST_FACE_PX} px or more, better {CROP_PX}",
            fix="Use a picture with a larger face.",
        )


def _unusable(found: str, wanted: str) -> InputError:
    return InputError("images", found=found, wanted=wanted, fix="Connect an IMAGE, for example from Load Image.")
