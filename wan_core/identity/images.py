"""What a reference picture may be: shape, range, number; and the crop that a user has aligned already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .record import CROP_PX

SMALLEST_FACE_PX = 24  # below this a recogniser sees noise
RANGE_TOLERANCE = 0.05  # overshoot that resampling filters leave
MOST_SIDES = 8  # times that a picture may be as long as it is wide: squares are made of it
MOST_CANVAS_PX = 1 << 25  # of pictures that are laid on one canvas, together, or twice their own
EMPTY_MASK_PX = 64  # the side of the uniform MASK that the host's Load Image gives of a picture without alpha
MOST_PICTURES = 16  # of a longer batch, a video, so many are looked at


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The reference pictures that are looked at, each of its own size."""

    rgb: tuple[Tensor, ...]  # of each: h w 3, fp32 in [0, 1]
    opacity: tuple[Tensor | None, ...]  # of each: h w in [0, 1], 0 where it or its mask is transparent; None: nowhere
    numbers: tuple[int, ...]  # of each among all that were given, counted from 1
    total: int  # pictures that were given

    def on_white(self, index: int) -> Tensor:
        """One picture over white where it is transparent: h w 3."""
        picture, opacity = self.rgb[index], self.opacity[index]
        if opacity is None:
            return picture
        return picture * opacity[..., None] + (1 - opacity[..., None])


def read_pictures(images: object, foreground: object = None, device: torch.device | None = None) -> Pictures:
    """Checks an IMAGE and the MASK of its foreground, and samples many pictures onto a device, by default their own.

    Either may be a list of batches of different sizes, which count as one batch. Raises InputError for other input.
    """
    batches = images if isinstance(images, (list, tuple)) else [images]
    given = [picture for batch in batches for picture in _checked_batch(batch)]  # of each: h w c
    if not given:
        raise _unusable("an empty list", "at least one image")
    indices = sample_evenly(len(given), MOST_PICTURES)
    sampled = [given[index].to(device=device) for index in indices]
    masks = _foreground(foreground, given)
    opacity = [_opacity(picture, masks[index]) for picture, index in zip(sampled, indices, strict=True)]
    rgb = tuple(_as_rgb(picture) for picture in sampled)
    return Pictures(rgb, tuple(opacity), tuple(index + 1 for index in indices), len(given))


def as_bytes(picture: Tensor) -> Tensor:
    """A picture, h w 3 in [0, 1], as bytes on the CPU."""
    return (picture * 255).round().to("cpu", torch.uint8)


def on_one_canvas(pictures: Sequence[Tensor]) -> Tensor:
    """Pictures of any sizes (h w 3) as one batch b h w 3: each in the upper left corner of the largest, over black.

    All are shrunk alike where the canvas would be far larger than they are.
    """
    most_px = max(MOST_CANVAS_PX, 2 * sum(picture.shape[0] * picture.shape[1] for picture in pictures))
    canvas_px = len(pictures) * math.prod(max(picture.shape[side] for picture in pictures) for side in (0, 1))
    scale = math.sqrt(most_px / canvas_px)
    shrunk = [shrink(picture, scale) for picture in pictures] if scale < 1 else pictures
    height_px, width_px = (max(picture.shape[side] for picture in shrunk) for side in (0, 1))
    return torch.stack([functional.pad(p, (0, 0, 0, width_px - p.shape[1], 0, height_px - p.shape[0])) for p in shrunk])


def shrink(picture: Tensor, scale: float) -> Tensor:
    """A picture, h w 3 in [0, 1], at a scale below 1, with antialiasing."""
    return resize(picture, [max(int(side * scale), 1) for side in picture.shape[:2]])


def shrink_to(picture: Tensor, longest_px: int) -> Tensor:
    """A picture, h w 3 in [0, 1], whose longer side is this long at most."""
    scale = longest_px / max(picture.shape[:2])
    return shrink(picture, scale) if scale < 1 else picture


def resize(picture: Tensor, size: list[int]) -> Tensor:
    """A picture, h w 3 in [0, 1], of another height and width, with antialiasing."""
    resized = functional.interpolate(
        picture.movedim(-1, 0)[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )  # 1 3 h w
    return resized[0].movedim(0, -1).clamp(0, 1).contiguous()


def sample_evenly(total: int, most: int) -> tuple[int, ...]:
    """Indices of at most ``most`` of ``total`` items, evenly from the first to the last."""
    if total <= most:
        return tuple(range(total))
    return tuple((2 * step * (total - 1) + most - 1) // (2 * (most - 1)) for step in range(most))


def _checked_batch(images: object) -> Tensor:
    if not isinstance(images, Tensor):
        raise _unusable(type(images).__name__, "an IMAGE")
    if images.ndim != 4:
        raise _unusable(f"a tensor of shape {tuple(images.shape)}", "images as batch, height, width, channels")
    count, height_px, width_px, channels = images.shape
    if min(count, height_px, width_px) == 0:
        raise _unusable(f"an empty batch of shape {tuple(images.shape)}", "at least one image")
    if max(height_px, width_px) > MOST_SIDES * min(height_px, width_px):
        raise InputError(
            "images",
            found=f"{width_px} x {height_px} px",
            wanted=f"one side at most {MOST_SIDES} times the other",
            fix="Crop the picture around the person.",
        )
    if channels not in (1, 3, 4):
        raise _unusable(f"{channels} channels", "1 (grey), 3 (RGB) or 4 (RGBA) channels")
    return images


def _as_rgb(picture: Tensor) -> Tensor:
    """A picture h w c as fp32 RGB in [0, 1]: alpha dropped, grey repeated."""
    if not torch.isfinite(picture).all():
        raise _unusable("NaN or infinite pixels", "finite pixels")
    rgb = (picture.expand(-1, -1, 3) if picture.shape[-1] == 1 else picture[..., :3]).float()  # h w 3
    low, high = rgb.min().item(), rgb.max().item()
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise _unusable(f"pixels from {low:.3g} to {high:.3g}", "pixels from 0 to 1")
    return rgb.clamp(0, 1)


def _foreground(foreground: object, pictures: Sequence[Tensor]) -> list[Tensor | None]:
    """The mask of each picture (h w c), h w in [0, 1]; one mask serves all pictures. None where it says nothing."""
    if foreground is None:
        return [None] * len(pictures)
    batches = foreground if isinstance(foreground, (list, tuple)) else [foreground]
    masks = [mask for batch in batches for mask in _checked_masks(batch)]
    if len(masks) not in (1, len(pictures)):
        count = "one mask" if len(pictures) == 1 else f"one mask, or {len(pictures)}"
        raise _unusable_mask(f"{len(masks)} masks for {len(pictures)} images", f"{count}, as the images")
    masks = masks * len(pictures) if len(masks) == 1 else masks
    said = [None if _says_nothing(mask, picture) else mask for mask, picture in zip(masks, pictures, strict=True)]
    for number, (mask, picture) in enumerate(zip(said, pictures, strict=True), start=1):
        height_px, width_px, _ = picture.shape
        if mask is not None and mask.shape != (height_px, width_px):
            found = f"a mask of {mask.shape[1]} x {mask.shape[0]} px for image {number}"
            raise _unusable_mask(found, f"{width_px} x {height_px} px, as that image")
    return said


def _says_nothing(mask: Tensor, picture: Tensor) -> bool:
    """Whether a mask h w is what the host makes up for a picture h w c without alpha."""
    is_of_picture = mask.shape == picture.shape[:2]
    return not is_of_picture and mask.shape == (EMPTY_MASK_PX, EMPTY_MASK_PX) and bool((mask == mask[0, 0]).all())


def _checked_masks(masks: object) -> Tensor:
    """The masks b h w of a MASK."""
    if not isinstance(masks, Tensor):
        raise _unusable_mask(type(masks).__name__, "a MASK")
    batch = masks[None] if masks.ndim == 2 else masks
    if batch.ndim != 3:
        raise _unusable_mask(f"a mask of shape {tuple(masks.shape)}", "masks as batch, height, width")
    if not torch.isfinite(batch).all():
        raise _unusable_mask("NaN or infinite values", "values from 0 to 1")
    return batch


def _opacity(picture: Tensor, mask: Tensor | None) -> Tensor | None:
    """Alpha times mask of a picture h w c: h w in [0, 1]; None where it has neither."""
    opacity = None if mask is None else mask.to(picture.device, torch.float32).clamp(0, 1)
    if picture.shape[-1] != 4:
        return opacity
    alpha = picture[..., 3].float().clamp(0, 1)
    return alpha if opacity is None else opacity * alpha


# Crops that are aligned already


def square_crop(picture: Tensor) -> Tensor:
    """Resizes a crop that is aligned already, h w 3, to 112 112 3 with antialiasing; one of 112 px stays as it is."""
    require_aligned_crop(picture)
    if len(picture) == CROP_PX:
        return picture
    return resize(picture, [CROP_PX, CROP_PX])


def require_aligned_crop(picture: Tensor) -> None:
    """Raises InputError unless a picture, h w 3, can be an aligned crop."""
    height_px, width_px, _ = picture.shape
    if height_px != width_px:
        raise InputError(
            "images",
            found=f"{width_px} x {height_px} px",
            wanted="a square crop that is aligned to the ArcFace template",
            fix="Choose auto in face, which finds the face in the picture, or crop it so.",
        )
    require_face_size("images", width_px)


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
