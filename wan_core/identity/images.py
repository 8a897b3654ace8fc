"""What a reference picture may be: shape, range, number; and the crop that a user has aligned already."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .record import CROP_PX

SMALLEST_FACE_PX = 24  # below this a recogniser sees noise
RANGE_TOLERANCE = 0.05  # overshoot that resampling filters leave
MOST_PICTURES = 16  # of a longer batch, a video, so many are looked at


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The reference pictures that are looked at."""

    rgb: Tensor  # b h w 3, fp32 in [0, 1]
    opacity: Tensor | None  # b h w in [0, 1], 0 where a picture or its foreground mask is transparent
    numbers: tuple[int, ...]  # of each picture in the batch, counted from 1
    total: int  # pictures in the batch

    def on_white(self, index: int) -> Tensor:
        """One picture over white where it is transparent: h w 3."""
        picture = self.rgb[index]
        if self.opacity is None:
            return picture
        opacity = self.opacity[index, ..., None]  # h w 1
        return picture * opacity + (1 - opacity)


def read_pictures(images: object, foreground: object = None, device: torch.device | None = None) -> Pictures:
    """Checks an IMAGE and the MASK of its foreground, and samples a long batch onto a device, by default its own.

    Raises InputError for other input.
    """
    batch = _require_images(images)
    total = len(batch)
    indices = sample_evenly(total, MOST_PICTURES)
    sampled = batch[list(indices)].to(device=device)
    opacity = _foreground(foreground, sampled, indices, total)
    if batch.shape[-1] == 4:
        alpha = sampled[..., 3].float().clamp(0, 1)
        opacity = alpha if opacity is None else opacity * alpha
    return Pictures(_as_rgb(sampled), opacity, tuple(index + 1 for index in indices), total)


def sample_evenly(total: int, most: int) -> tuple[int, ...]:
    """Indices of at most ``most`` of ``total`` items, evenly from the first to the last."""
    if total <= most:
        return tuple(range(total))
    return tuple((2 * step * (total - 1) + most - 1) // (2 * (most - 1)) for step in range(most))


def _require_images(images: object) -> Tensor:
    if not isinstance(images, Tensor):
        raise _unusable(type(images).__name__, "an IMAGE")
    if images.ndim != 4:
        raise _unusable(f"a tensor of shape {tuple(images.shape)}", "images as batch, height, width, channels")
    count, height_px, width_px, channels = images.shape
    if min(count, height_px, width_px) == 0:
        raise _unusable(f"an empty batch of shape {tuple(images.shape)}", "at least one image")
    if channels not in (1, 3, 4):
        raise _unusable(f"{channels} channels", "1 (grey), 3 (RGB) or 4 (RGBA) channels")
    return images


def _as_rgb(images: Tensor) -> Tensor:
    """Pictures b h w c as fp32 RGB in [0, 1]: alpha dropped, grey repeated."""
    if not torch.isfinite(images).all():
        raise _unusable("NaN or infinite pixels", "finite pixels")
    rgb = (images.expand(-1, -1, -1, 3) if images.shape[-1] == 1 else images[..., :3]).float()  # b h w 3
    low, high = rgb.min().item(), rgb.max().item()
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise _unusable(f"pixels from {low:.3g} to {high:.3g}", "pixels from 0 to 1")
    return rgb.clamp(0, 1)


def _foreground(mask: object, images: Tensor, indices: tuple[int, ...], total: int) -> Tensor | None:
    """The mask of each sampled picture, b h w in [0, 1]; one mask serves all pictures."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise _unusable_mask(type(mask).__name__, "a MASK")
    masks = mask[None] if mask.ndim == 2 else mask
    height_px, width_px = images.shape[1:3]
    if masks.ndim != 3 or tuple(masks.shape[1:]) != (height_px, width_px) or len(masks) not in (1, total):
        count = "1" if total == 1 else f"1 or {total}"
        raise _unusable_mask(
            f"a mask of shape {tuple(mask.shape)}", f"{count} of {width_px} x {height_px} px, as the images"
        )
    sampled = masks.expand(len(indices), -1, -1) if len(masks) == 1 else masks[list(indices)]
    if not torch.isfinite(sampled).all():
        raise _unusable_mask("NaN or infinite values", "values from 0 to 1")
    return sampled.to(images.device, torch.float32).clamp(0, 1)


# Crops that are aligned already


def square_crops(images: Tensor) -> Tensor:
    """Resizes crops that are aligned already, b h w 3, to b 112 112 3 with antialiasing; 112 px stay as they are."""
    _, height_px, width_px, _ = images.shape
    if height_px != width_px:
        raise InputError(
            "images",
            found=f"{width_px} x {height_px} px",
            wanted="a square crop that is aligned to the ArcFace template",
            fix="Crop the image, or choose another way to find the face.",
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


def _unusable_mask(found: str, wanted: str) -> InputError:
    return InputError(
        "foreground", found=found, wanted=wanted, fix="Connect a MASK of the person made from the same images."
    )
