"""Where a shot plays: ten places in layers, which a panning camera moves past by their distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .canvas import Box, Canvas, Distance, Paint, Place, around, capsule, ellipse, over, rounded_box
from .motion import Pose
from .person import Colour, mixed

FAR, MIDDLE, NEAR = 0.15, 0.5, 1.0  # share of the camera's pan that a layer moves by
EVERYWHERE: Box = (-0.6, -0.2, 1.6, 1.2)
SNOW_A_S, SNOW_SWING = 0.28, 0.02  # shares of the picture


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A canvas with the camera's way past it; lengths are shares of the picture, from its upper left corner."""

    canvas: Canvas
    pose: Pose
    random: np.random.Generator
    time_s: Tensor  # f

    def fill(self, depth: float, distance: Distance, paint: Paint, alpha: float = 1.0, box: Box = EVERYWHERE) -> None:
        """Paints a shape at a depth."""
        size_px, pose = self.canvas.size_px, self.pose
        zoom = 1 + (pose.zoom - 1) * (0.3 + 0.5 * depth)
        place = Place(
            x=size_px * (0.5 - 0.5 * zoom - depth * pose.pan),
            y=size_px * (0.5 - 0.5 * zoom),
            scale=size_px * zoom,
            roll=torch.zeros_like(zoom),
        )
        self.canvas.paint(place, box, distance, paint, alpha)

    def sky(self, top: Colour, bottom: Colour, end: float = 1.0) -> None:
        """A gradient down to ``end``."""
        self.fill(0.0, lambda u, v: v - end, fade(top, bottom, 0.0, end))

    def ground(self, depth: float, start: float, near: Colour, far: Colour) -> None:
        """A gradient from ``start`` down."""
        self.fill(depth, lambda u, v: start - v, fade(far, near, start, 1.0))

    def hills(self, depth: float, height: float, colour: Colour, waves: float = 5.0, size: float = 0.06) -> None:
        """A wavy range below a height."""
        phase = self.between(0, 6)
        self.fill(
            depth,
            lambda u, v: height + size * ((waves * u + phase).sin() + 0.5 * (2.3 * waves * u + 2 * phase).sin()) - v,
            colour,
        )

    def disc(
        self, depth: float, u: float | Tensor, v: float | Tensor, radius: float, colour: Colour, alpha: float = 1.0
    ) -> None:
        """A round thing."""
        box = around((u, v), 1.2 * radius)
        self.fill(depth, lambda x, y: ellipse(x, y, (u, v), (radius, radius)), colour, alpha, box)

    def bar(self, depth: float, box: Box, colour: Colour, radius: float = 0.004) -> None:
        """An upright box."""
        left, top, right, bottom = box
        centre, half = ((left + right) / 2, (top + bottom) / 2), ((right - left) / 2, (bottom - top) / 2)
        wider = (left - 0.02, top - 0.02, right + 0.02, bottom + 0.02)
        self.fill(depth, lambda u, v: rounded_box(u, v, centre, half, radius), colour, 1.0, wider)

    def between(self, low: float, high: float) -> float:
        """A random number that belongs to the take."""
        return float(self.random.uniform(low, high))

    def varied(self, colour: Colour, spread: float = 0.06) -> Colour:
        """The colour, a little lighter or darker."""
        change = self.between(-spread, spread)
        return mixed(colour, (1.0, 1.0, 1.0) if change > 0 else (0.0, 0.0, 0.0), abs(change))


def fade(start: Colour, end: Colour, low: float, high: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A paint that goes from one colour at ``low`` to another at ``high``, downwards."""
    first, last = (torch.tensor(colour).reshape(1, 3, 1, 1) for colour in (start, end))
    return lambda u, v: first + (last - first) * ((v[:, None] - low) / (high - low)).clamp(0, 1)


# Places


def beach(stage: Stage) -> None:
    horizon = stage.between(0.42, 0.5)
    stage.sky(stage.varied((0.42, 0.70, 0.93)), (0.86, 0.93, 0.97), horizon)
    stage.disc(FAR, stage.between(0.1, 0.9), stage.between(0.1, 0.25), 0.07, (1.0, 0.95, 0.7))
    stage.fill(
        FAR,
        lambda u, v: torch.maximum(horizon - v, v - 0.72),
        fade((0.10, 0.45, 0.70), (0.25, 0.68, 0.78), horizon, 0.72),
    )
    shore = stage.between(0.66, 0.72)
    stage.hills(NEAR, shore, (0.97, 0.97, 0.95), 7.0, 0.012)
    stage.hills(NEAR, shore + 0.03, stage.varied((0.93, 0.82, 0.58)), 6.0, 0.015)


def forest(stage: Stage) -> None:
    stage.sky((0.62, 0.82, 0.60), (0.30, 0.55, 0.34))
    stage.ground(NEAR, 0.78, (0.20, 0.33, 0.14), (0.28, 0.45, 0.20))
    for depth, count, width, bark in ((FAR, 6, 0.025, (0.28, 0.36, 0.28)), (MIDDLE, 5, 0.045, (0.30, 0.22, 0.15))):
        for place in range(count):
            u = -0.3 + 1.7 * (place + stage.between(0.1, 0.9)) / count
            stage.bar(depth, (u - width, -0.1, u + width, 0.85), stage.varied(bark))
            for _ in range(2):
                stage.disc(
                    depth,
                    u + stage.between(-0.1, 0.1),
                    stage.between(-0.02, 0.28),
                    stage.between(0.09, 0.16),
                    stage.varied((0.16, 0.42, 0.18), 0.15),
                )


def street(stage: Stage) -> None:
    stage.sky((0.62, 0.72, 0.82), (0.85, 0.86, 0.86))
    stage.ground(NEAR, 0.8, (0.36, 0.36, 0.38), (0.50, 0.50, 0.52))
    u = -0.45
    while u < 1.45:
        width, top = stage.between(0.2, 0.32), stage.between(0.02, 0.3)
        wall = stage.varied(
            ((0.70, 0.42, 0.33), (0.62, 0.58, 0.50), (0.46, 0.50, 0.56))[int(stage.between(0, 3))], 0.15
        )
        stage.bar(MIDDLE, (u, top, u + width - 0.01, 0.81), wall)
        for row in range(4):
            for column in range(2):
                left, upper = u + 0.04 + column * width * 0.45, top + 0.05 + row * 0.15
                if upper < 0.68:
                    stage.bar(
                        MIDDLE,
                        (left, upper, left + 0.06, upper + 0.08),
                        (0.98, 0.88, 0.55) if stage.between(0, 1) < 0.4 else (0.25, 0.33, 0.42),
                    )
        u += width


def snow(stage: Stage) -> None:
    stage.sky((0.66, 0.75, 0.86), (0.90, 0.93, 0.97))
    stage.hills(FAR, stage.between(0.42, 0.52), (0.76, 0.83, 0.91), 5.0, 0.08)
    stage.hills(MIDDLE, 0.66, (0.88, 0.92, 0.97), 4.0, 0.05)
    for _ in range(4):
        u, v, size = stage.between(-0.1, 1.1), stage.between(0.5, 0.62), stage.between(0.06, 0.1)
        _fir(stage, u, v, size)
    stage.ground(NEAR, 0.8, (0.96, 0.97, 1.0), (0.92, 0.95, 0.99))
    time_s = over(stage.time_s)
    for _ in range(22):
        u, v, pace = stage.between(0, 1), stage.between(0, 1), stage.between(0.8, 1.3)
        fall = (v + SNOW_A_S * pace * time_s).remainder(1.1) - 0.05
        drift = u + SNOW_SWING * (3 * time_s + 9 * v).sin()
        stage.disc(0.0, drift, fall, 0.011, (1.0, 1.0, 1.0), 0.9)


def _fir(stage: Stage, u: float, v: float, size: float) -> None:
    stage.fill(
        MIDDLE, lambda x, y: torch.maximum((x - u).abs() - 0.4 * (y - v + size), y - v - size), (0.18, 0.36, 0.34)
    )


def desert(stage: Stage) -> None:
    stage.sky((0.45, 0.68, 0.90), (0.98, 0.88, 0.68), 0.7)
    stage.disc(FAR, stage.between(0.1, 0.9), stage.between(0.12, 0.3), 0.06, (1.0, 0.97, 0.85))
    stage.hills(FAR, stage.between(0.48, 0.56), (0.90, 0.66, 0.40), 4.0, 0.06)
    stage.hills(MIDDLE, 0.66, (0.87, 0.58, 0.30), 3.0, 0.06)
    stage.hills(NEAR, 0.82, (0.80, 0.50, 0.24), 4.0, 0.03)
    for _ in range(2):
        u, foot = stage.between(0, 1), stage.between(0.66, 0.76)
        _cactus(stage, u, foot)


def _cactus(stage: Stage, u: float, foot: float) -> None:
    def distance(x: Tensor, y: Tensor) -> Tensor:
        trunk = capsule(x, y, (u, foot), (u, foot - 0.2), 0.018)
        branch = capsule(x, y, (u, foot - 0.1), (u + 0.06, foot - 0.1), 0.018)
        return trunk.minimum(branch).minimum(capsule(x, y, (u + 0.06, foot - 0.1), (u + 0.06, foot - 0.17), 0.018))

    stage.fill(MIDDLE, distance, (0.20, 0.48, 0.26))


def library(stage: Stage) -> None:
    stage.sky((0.33, 0.21, 0.13), (0.26, 0.16, 0.10))
    for shelf in range(5):
        bottom = 0.2 * (shelf + 1) - 0.02
        stage.bar(MIDDLE, (-0.5, bottom, 1.5, bottom + 0.03), (0.52, 0.34, 0.20))
        u = -0.4
        while u < 1.4:
            width = stage.between(0.035, 0.075)
            height = stage.between(0.1, 0.15)
            colour = (
                (0.62, 0.20, 0.18),
                (0.20, 0.36, 0.52),
                (0.75, 0.62, 0.34),
                (0.24, 0.44, 0.30),
                (0.48, 0.30, 0.46),
            )[int(stage.between(0, 5))]
            stage.bar(MIDDLE, (u, bottom - height, u + width - 0.006, bottom), stage.varied(colour, 0.15))
            u += width


def room(stage: Stage) -> None:
    wall = ((0.86, 0.78, 0.68), (0.70, 0.80, 0.82), (0.84, 0.72, 0.72))[int(stage.between(0, 3))]
    stage.sky(stage.varied(wall), mixed(wall, (0.0, 0.0, 0.0), 0.12))
    stage.ground(NEAR, 0.82, (0.50, 0.34, 0.22), (0.60, 0.42, 0.28))
    left = stage.between(0.02, 0.2) if stage.between(0, 1) < 0.5 else stage.between(0.58, 0.72)
    stage.bar(MIDDLE, (left - 0.02, 0.08, left + 0.28, 0.52), (0.97, 0.96, 0.93))
    stage.bar(MIDDLE, (left, 0.10, left + 0.26, 0.50), (0.62, 0.82, 0.94))
    stage.bar(MIDDLE, (left + 0.12, 0.09, left + 0.14, 0.51), (0.97, 0.96, 0.93))
    lamp = left + (0.55 if left < 0.4 else -0.35)
    stage.bar(MIDDLE, (lamp - 0.008, 0.35, lamp + 0.008, 0.84), (0.30, 0.24, 0.20))
    stage.disc(MIDDLE, lamp, 0.3, 0.16, (1.0, 0.93, 0.70), 0.25)
    stage.fill(
        MIDDLE,
        lambda u, v: torch.maximum((u - lamp).abs() - 0.05 - 0.35 * (v - 0.25), (v - 0.3).abs() - 0.07),
        (0.97, 0.84, 0.52),
    )


def theatre(stage: Stage) -> None:
    stage.sky((0.14, 0.05, 0.09), (0.22, 0.08, 0.12))
    folds = stage.between(34, 44)
    red = torch.tensor((0.62, 0.09, 0.13)).reshape(1, 3, 1, 1)
    stage.fill(MIDDLE, lambda u, v: v - 0.86, lambda u, v: red * (0.75 + 0.25 * (folds * u).sin()[:, None]))
    stage.ground(NEAR, 0.84, (0.55, 0.36, 0.20), (0.36, 0.22, 0.13))
    lamp = stage.between(0.25, 0.75)
    stage.fill(0.0, lambda u, v: (u - 0.5 - (lamp - 0.5) * (1 - v)).abs() - 0.06 - 0.3 * v, (1.0, 0.95, 0.78), 0.25)


def garden(stage: Stage) -> None:
    stage.sky((0.55, 0.80, 0.95), (0.85, 0.94, 0.92), 0.5)
    stage.hills(MIDDLE, 0.4, stage.varied((0.20, 0.50, 0.22)), 9.0, 0.03)
    stage.ground(NEAR, 0.62, (0.34, 0.62, 0.24), (0.45, 0.72, 0.32))
    for place in range(16):
        u, v = -0.3 + 0.1 * place + stage.between(-0.04, 0.04), stage.between(0.48, 0.9)
        petals = ((0.93, 0.30, 0.42), (0.98, 0.85, 0.30), (0.95, 0.95, 0.97), (0.70, 0.42, 0.85))[
            int(stage.between(0, 4))
        ]
        stage.bar(NEAR, (u - 0.005, v, u + 0.005, v + 0.09), (0.16, 0.42, 0.16))
        stage.disc(NEAR, u, v, 0.036, petals)
        stage.disc(NEAR, u, v, 0.014, (0.98, 0.75, 0.2))


def stars(stage: Stage) -> None:
    stage.sky((0.04, 0.05, 0.16), (0.16, 0.12, 0.34))
    for _ in range(26):
        stage.disc(FAR, stage.between(-0.2, 1.2), stage.between(0, 0.8), stage.between(0.005, 0.012), (1.0, 0.98, 0.88))
    u, v, radius = stage.between(0.1, 0.9), stage.between(0.12, 0.3), stage.between(0.08, 0.14)
    planet = ((0.85, 0.55, 0.35), (0.45, 0.65, 0.85), (0.80, 0.75, 0.55))[int(stage.between(0, 3))]
    stage.disc(FAR, u, v, radius, planet)
    stage.disc(FAR, u - 0.25 * radius, v - 0.25 * radius, 0.55 * radius, mixed(planet, (1.0, 1.0, 1.0), 0.3), 0.7)
    stage.hills(NEAR, 0.84, (0.20, 0.17, 0.30), 6.0, 0.02)


PLACES: Mapping[str, Callable[[Stage], None]] = {
    "beach": beach,
    "forest": forest,
    "street": street,
    "snow": snow,
    "desert": desert,
    "library": library,
    "room": room,
    "stage": theatre,
    "garden": garden,
    "stars": stars,
}
MOVING_SCENES = ("snow",)  # though the camera stands still
