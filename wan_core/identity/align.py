"""Five-point face alignment to the ArcFace template (112 x 112), as insightface's norm_crop does it.

The similarity is the closed form of Umeyama, "Least-squares estimation of transformation parameters between two point
patterns" (1991). In two dimensions, with points as complex numbers, it is a single quotient: to = slope * from + shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .images import require_face_size
from .record import CROP_PX, REFERENCE_CROP_PX

# Left eye, right eye, nose, left and right mouth corner as seen in the image, in pixels of the crop.
TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
SMALLEST_EYE_DISTANCE_PX = 8.0

Points = tuple[complex, ...]  # x + y * i, in pixels

TEMPLATE: Points = tuple(complex(x, y) for x, y in TEMPLATE_PX)

# Where Lynx puts the five points in its 256 px crop (bytedance/lynx, modules/common/face_utils.py): 10 px lower, drawn
# together to 0.8 about the middle of 112 px; then, as 256 is a multiple of 128, moved right and scaled by 256 / 128.
LYNX_DOWN_PX, LYNX_RATIO, LYNX_RIGHT_PX = 10.0, 0.8, 8.0
LYNX_SCALE = REFERENCE_CROP_PX / 128
MIDDLE = complex(CROP_PX, CROP_PX) / 2
LYNX_TEMPLATE: Points = tuple(
    ((point + LYNX_DOWN_PX * 1j - MIDDLE) * LYNX_RATIO + MIDDLE + LYNX_RIGHT_PX) * LYNX_SCALE for point in TEMPLATE
)


# Kernels


@dataclass(frozen=True, slots=True)
class Similarity:
    """The map ``slope * p + shift`` of pixel positions p as complex numbers: rotation, scale and shift."""

    slope: complex
    shift: complex

    def __call__(self, point: complex) -> complex:
        return self.slope * point + self.shift

    def inverse(self) -> Similarity:
        """The map back."""
        return Similarity(1 / self.slope, -self.shift / self.slope)


def fit_similarity(points: Points, target: Points) -> Similarity:
    """The least-squares similarity that takes ``points`` to ``target``."""
    centre, target_centre = sum(points) / len(points), sum(target) / len(target)
    products = (
        (point - centre).conjugate() * (wanted - target_centre) for point, wanted in zip(points, target, strict=True)
    )
    slope = sum(products) / sum(abs(point - centre) ** 2 for point in points)
    return Similarity(slope, target_centre - slope * centre)


def is_mirrored(points: Points, target: Points) -> bool:
    """Whether the best fit would need a reflection: a negative determinant of the cross-covariance."""
    centre, target_centre = sum(points) / len(points), sum(target) / len(target)
    pairs = [(point - centre, wanted - target_centre) for point, wanted in zip(points, target, strict=True)]
    xx, xy = sum(p.real * t.real for p, t in pairs), sum(p.real * t.imag for p, t in pairs)
    yx, yy = sum(p.imag * t.real for p, t in pairs), sum(p.imag * t.imag for p, t in pairs)
    return xx * yy - xy * yx <= 0


def warp(image: Tensor, to_image: Similarity, size_px: int) -> Tensor:
    """Samples ``image`` (h w c) bilinearly at ``to_image`` of each pixel of a square of size_px; the border is zero."""
    height_px, width_px, _ = image.shape
    axis = torch.arange(size_px, device=image.device, dtype=torch.float32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")  # h w
    slope, shift = to_image.slope, to_image.shift
    image_x = slope.real * x - slope.imag * y + shift.real
    image_y = slope.imag * x + slope.real * y + shift.imag
    grid = torch.stack(((2 * image_x + 1) / width_px - 1, (2 * image_y + 1) / height_px - 1), dim=-1)  # h w 2
    sampled = functional.grid_sample(
        image.movedim(-1, 0)[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )  # 1 c h w
    return sampled[0].movedim(0, -1).contiguous()


# Crops


@dataclass(frozen=True, slots=True)
class AlignedFace:
    """A face in the ArcFace template, and how large it was."""

    crop: Tensor  # 112 112 3, in [0, 1]
    face_px: float  # side of the square of the image that became the crop


def align_face(image: Tensor, points: Points) -> AlignedFace:
    """Warps one image (h w 3) so that its five landmarks meet the template; raises InputError for too small a face."""
    to_crop = fit_similarity(points, TEMPLATE)
    face_px = CROP_PX / abs(to_crop.slope)
    require_face_size("landmarks", face_px)
    return AlignedFace(crop=warp(image, to_crop.inverse(), CROP_PX), face_px=face_px)


def cut_reference(image: Tensor, points: Points) -> Tensor:
    """Lynx's wider crop of one image (h w 3) around five landmarks: 256 256 3."""
    return warp(image, fit_similarity(points, LYNX_TEMPLATE).inverse(), REFERENCE_CROP_PX)
