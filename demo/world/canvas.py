"""Painting with soft edges: shapes are signed distances, and a pixel is covered as far as its middle is inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .person import Colour

EDGE_PX = 0.45  # the scale of the logistic edge
Point = tuple[float | Tensor, float | Tensor]  # u, v; tensors are f 1 1
Box = tuple[float, float, float, float]  # left, top, right, bottom in the coordinates of a place
Distance = Callable[[Tensor, Tensor], Tensor]  # u, v -> how far outside, in units of the place, f h w
Paint = Colour | Callable[[Tensor, Tensor], Tensor]  # or u, v -> f 3 h w


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where something stands in each frame: its own coordinates are scaled, turned and moved into pixels."""

    x: Tensor  # of its origin, px, f
    y: Tensor  # px, f
    scale: Tensor  # px a unit, f
    roll: Tensor  # radians, clockwise, f

    def local(self, x_px: Tensor, y_px: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels h w in its own coordinates, f h w each."""
        dx, dy = x_px - over(self.x), y_px - over(self.y)
        cos, sin = over(self.roll.cos() / self.scale), over(self.roll.sin() / self.scale)
        return dx * cos + dy * sin, dy * cos - dx * sin

    def picture(self, u: Tensor, v: Tensor) -> Tensor:
        """Points of its own coordinates, f or f k each, in pixels: the same with x and y as a last axis of 2."""
        u, v = torch.broadcast_tensors(torch.as_tensor(u), torch.as_tensor(v))
        grown = (self.x.shape[0], *[1] * max(0, u.ndim - 1))
        x, y, scale, roll = (value.reshape(grown) for value in (self.x, self.y, self.scale, self.roll))
        return torch.stack(
            (x + scale * (u * roll.cos() - v * roll.sin()), y + scale * (u * roll.sin() + v * roll.cos())), dim=-1
        )


class Canvas:
    """The pictures of a clip under way."""

    def __init__(self, frames: int, size_px: int) -> None:
        self.size_px = size_px
        self.pixels = torch.zeros(frames, 3, size_px, size_px)  # f 3 h w, 0..1
        middles = torch.arange(size_px) + 0.5
        self.y_px, self.x_px = torch.meshgrid(middles, middles, indexing="ij")  # h w

    def paint(self, place: Place, box: Box, distance: Distance, paint: Paint, alpha: float | Tensor = 1.0) -> None:
        """Covers the inside of a shape that lies within ``box``; ``alpha`` is its opacity, one number or f."""
        rows, columns = self._window(place, box)
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return
        u, v = place.local(self.x_px[rows, columns], self.y_px[rows, columns])  # f h w
        cover = torch.sigmoid(distance(u, v) * over(place.scale) / -EDGE_PX)  # f h w
        cover = (cover * (over(alpha) if isinstance(alpha, Tensor) else alpha))[:, None]  # f 1 h w
        colour = paint(u, v) if callable(paint) else plain(paint)
        below = self.pixels[:, :, rows, columns]
        self.pixels[:, :, rows, columns] = below + (colour - below) * cover

    def oval(
        self,
        place: Place,
        centre: Point,
        radii: Point,
        paint: Paint,
        alpha: float | Tensor = 1.0,
        *,
        angle: float = 0.0,
        inside: Distance | None = None,
    ) -> None:
        """An ellipse, turned counter-clockwise by ``angle`` radians; ``inside``: only what lies in that shape."""

        def distance(u: Tensor, v: Tensor) -> Tensor:
            outside = ellipse(*turned(u, v, centre, angle), (0.0, 0.0), radii)
            return outside if inside is None else torch.maximum(outside, inside(u, v))

        reach = max(float(torch.as_tensor(radius).max()) for radius in radii)
        self.paint(place, around(centre, reach), distance, paint, alpha)

    def stroke(
        self, place: Place, start: Point, end: Point, radius: float, paint: Paint, alpha: float | Tensor = 1.0
    ) -> None:
        """A thick line with round ends."""
        one, other = around(start, radius), around(end, radius)
        box = (min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))
        self.paint(place, box, lambda u, v: capsule(u, v, start, end, radius), paint, alpha)

    def _window(self, place: Place, box: Box) -> tuple[slice, slice]:
        left, top, right, bottom = box
        corners = place.picture(torch.tensor([[left, right, left, right]]), torch.tensor([[top, top, bottom, bottom]]))
        low = (corners.amin(dim=(0, 1)) - 2).clamp(min=0).int().tolist()  # 2: the soft edge
        high = (corners.amax(dim=(0, 1)) + 3).clamp(max=self.size_px).int().tolist()
        return slice(low[1], high[1]), slice(low[0], high[0])


def over(values: Tensor) -> Tensor:
    """Numbers of each frame, ready to meet f h w."""
    return values.reshape(-1, 1, 1)


def plain(colour: Colour) -> Tensor:
    """A colour, ready to meet f 3 h w."""
    return torch.tensor(colour).reshape(1, 3, 1, 1)


def around(point: Point, reach: float) -> Box:
    """The box within which a point moves, and as much on all sides."""
    u, v = (torch.as_tensor(value) for value in point)
    return float(u.min()) - reach, float(v.min()) - reach, float(u.max()) + reach, float(v.max()) + reach


# Distances


def ellipse(u: Tensor, v: Tensor, centre: Point, radii: Point) -> Tensor:
    """How far outside of an ellipse, to first order."""
    across, down = (u - centre[0]) / radii[0], (v - centre[1]) / radii[1]
    size = torch.hypot(across, down)
    slope = torch.hypot(across / radii[0], down / radii[1])  # of size, times size
    return size * (size - 1) / slope.clamp(min=1e-6)


def capsule(u: Tensor, v: Tensor, start: Point, end: Point, radius: float) -> Tensor:
    """How far outside of a thick line with round ends."""
    du, dv = end[0] - start[0], end[1] - start[1]
    share = ((u - start[0]) * du + (v - start[1]) * dv) / (du * du + dv * dv + 1e-6)
    share = share.clamp(0, 1)
    return torch.hypot(u - start[0] - share * du, v - start[1] - share * dv) - radius


def rounded_box(u: Tensor, v: Tensor, centre: Point, half: Point, radius: float) -> Tensor:
    """How far outside of a box with round corners."""
    du = (u - centre[0]).abs() - half[0] + radius
    dv = (v - centre[1]).abs() - half[1] + radius
    return torch.hypot(du.clamp(min=0), dv.clamp(min=0)) + torch.maximum(du, dv).clamp(max=0) - radius


def turned(u: Tensor, v: Tensor, centre: Point, angle: float | Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates about a centre that is turned counter-clockwise by ``angle`` radians."""
    cos, sin = torch.as_tensor(angle).cos(), torch.as_tensor(angle).sin()
    du, dv = u - centre[0], v - centre[1]
    return du * cos - dv * sin, du * sin + dv * cos
