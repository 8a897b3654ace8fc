"""The picture that Stand-In reads, cut as its own preprocessor does it (preprocessor/image_input_preprocessor.py).

A square of 1.5 times the longer side of the face's box, clipped to the picture, padded with white to a square, resized
by area to 512 px. A face that fills the picture, and a picture without a face, is taken whole.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .images import shrink_to
from .record import PORTRAIT_PX

FACE_CROP_SCALE = 1.5
LARGEST_SQUARE_PX = 8192  # a larger picture is shrunk before it is padded to a square
BORDER_PX = 10  # a box this near to all four borders fills the picture

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


# Kernels


def area_weights(size_from: int, size_to: int) -> Tensor:
    """Weights, size_to size_from, of OpenCV's INTER_AREA: exact areas when shrinking, its narrow blend when growing."""
    scale = size_from / size_to
    start = torch.arange(size_to, dtype=torch.float64)[:, None]  # to 1
    pixel = torch.arange(size_from, dtype=torch.float64)[None]  # 1 from
    if scale >= 1:
        left, right = torch.maximum(start * scale, pixel), torch.minimum((start + 1) * scale, pixel + 1)
        return ((right - left).clamp(min=0) / scale).float()
    first = torch.floor(start * scale)
    share = (start + 1) - (first + 1) / scale
    share = torch.where(share <= 0, 0.0, share - torch.floor(share))
    weights = torch.where(pixel == first, 1 - share, 0.0)
    return (weights + torch.where(pixel == (first + 1).clamp(max=size_from - 1), share, 0.0)).float()


def area_resize(picture: Tensor, side_px: int) -> Tensor:
    """A square picture, h h 3, at another size as OpenCV's INTER_AREA makes it."""
    weights = area_weights(len(picture), side_px).to(picture.device)
    rows = torch.tensordot(weights, picture, dims=1)  # y w c
    return torch.einsum("xw,ywc->yxc", weights, rows)


def pad_to_square(picture: Tensor) -> Tensor:
    """A picture, h w 3, in the middle of a white square; an odd pixel goes to the right or below."""
    height_px, width_px, _ = picture.shape
    spare_x, spare_y = max(height_px - width_px, 0), max(width_px - height_px, 0)
    left, top = spare_x // 2, spare_y // 2
    return functional.pad(picture, (0, 0, left, spare_x - left, top, spare_y - top), value=1.0)


# The portrait


def portrait_window(box: Box, width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is cut out around a face, in whole pixels inside the picture."""
    left, top, right, bottom = (int(side) for side in box)
    if left <= BORDER_PX and top <= BORDER_PX and right >= width_px - BORDER_PX and bottom >= height_px - BORDER_PX:
        return 0, 0, width_px, height_px
    x, y = (left + right) // 2, (top + bottom) // 2
    half = int(max(right - left, bottom - top) * FACE_CROP_SCALE) // 2
    window = max(x - half, 0), max(y - half, 0), min(x + half, width_px), min(y + half, height_px)
    is_empty = window[0] >= window[2] or window[1] >= window[3]  # a box that lies beside the picture
    return (0, 0, width_px, height_px) if is_empty else window


def cut_portrait(picture: Tensor, box: Box | None) -> Tensor:
    """Stand-In's picture of a face in a picture (h w 3, over white already), 512 512 3; None: without a face."""
    height_px, width_px, _ = picture.shape
    whole = (0.0, 0.0, float(width_px), float(height_px))
    left, top, right, bottom = portrait_window(box or whole, width_px, height_px)
    window = shrink_to(picture[top:bottom, left:right], LARGEST_SQUARE_PX)
    return area_resize(pad_to_square(window), PORTRAIT_PX).clamp(0, 1)
