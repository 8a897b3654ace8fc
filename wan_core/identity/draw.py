"""Boxes and points drawn on the reference pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .faces import Face, is_finite

SELECTED, OTHER = (0.1, 0.85, 0.3), (1.0, 0.6, 0.1)  # RGB of the selected face, and of the others
THICKNESS = 1 / 200  # of the longer side of the picture


def draw_faces(picture: Tensor, faces: Sequence[Face], selected: int | None) -> Tensor:
    """A copy of a picture (h w 3) with the box and the five points of each face; the selected one in another colour."""
    drawn = picture.clone()
    line_px = max(round(max(picture.shape[:2]) * THICKNESS), 1)
    order = sorted(range(len(faces)), key=lambda index: index == selected)  # the selected one on top
    for index in filter(lambda index: is_finite(faces[index]), order):
        colour = drawn.new_tensor(SELECTED if index == selected else OTHER)
        _draw_frame(drawn, faces[index], colour, line_px)
        for point in faces[index].points:
            _draw_dot(drawn, point, colour, 1.5 * line_px)
    return drawn


def _draw_frame(drawn: Tensor, face: Face, colour: Tensor, line_px: int) -> None:
    height_px, width_px, _ = drawn.shape
    left, right = (min(max(round(x), 0), width_px) for x in face.box[::2])
    top, bottom = (min(max(round(y), 0), height_px) for y in face.box[1::2])
    area = drawn[top:bottom, left:right]
    for line in (area[:line_px], area[-line_px:], area[:, :line_px], area[:, -line_px:]):
        line[:] = colour


def _draw_dot(drawn: Tensor, point: complex, colour: Tensor, radius_px: float) -> None:
    height_px, width_px, _ = drawn.shape
    y = torch.arange(height_px, device=drawn.device)[:, None] - point.imag
    x = torch.arange(width_px, device=drawn.device)[None] - point.real
    drawn[x * x + y * y <= radius_px * radius_px] = colour
