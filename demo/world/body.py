"""Below the head: neck, garment, arms and legs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import Box, Canvas, Distance, Place, capsule, ellipse, over, rounded_box
from .head import INK, WHITE, Head, Shading
from .motion import Pose
from .person import Colour, Person, mixed

CLOTH: dict[str, Colour] = {
    "red": (0.82, 0.14, 0.16),
    "blue": (0.15, 0.32, 0.78),
    "green": (0.12, 0.55, 0.27),
    "yellow": (0.95, 0.80, 0.20),
    "white": (0.93, 0.93, 0.92),
    "black": (0.12, 0.12, 0.14),
    "purple": (0.50, 0.22, 0.65),
    "orange": (0.95, 0.50, 0.13),
}
TROUSERS: Colour = (0.20, 0.22, 0.30)
SHOULDER_V, HIP_V, FOOT_V = 1.62, 4.3, 7.2  # half heights of the head below its middle
SHOULDER_HALF = 1.45
TRUNK: Box = (-1.6, 1.4, 1.6, 5.0)
FRONT: Box = (-1.1, 0.5, 1.1, 5.0)  # where the neck and what fastens a garment are


@dataclass(frozen=True, slots=True)
class Body:
    """One actor below the chin in all frames; lengths are half heights of the head."""

    person: Person
    pose: Pose
    place: Place
    garment: str
    colour: Colour
    side: float  # of the lifted hand
    light: tuple[float, float]

    def paint(self, canvas: Canvas) -> None:
        """Legs, trunk with its garment, neck, arms."""
        self._paint_legs(canvas)
        self._paint_arm(canvas, -self.side, lifted=False)
        if self.garment == "hoodie":
            self._fill(canvas, lambda u, v: ellipse(u, v, (0.0, 1.25), (1.0, 0.55)), mixed(self.colour, INK, 0.25))
        self._fill(canvas, self._trunk, self.colour, TRUNK)
        skin = mixed(self.person.skin, INK, 0.12)
        self._fill(canvas, lambda u, v: rounded_box(u, v, (0.0, 1.15), (0.36, 0.55), 0.2), skin)
        getattr(self, f"_paint_{self.garment}")(canvas)
        self._paint_arm(canvas, self.side, lifted=True)

    def _fill(self, canvas: Canvas, distance: Distance, colour: Colour, box: Box = FRONT) -> None:
        canvas.paint(self.place, box, distance, Shading(colour, (self.light[0] * 0.7, 0.0), 0.2))

    def _trunk(self, u: Tensor, v: Tensor) -> Tensor:
        shoulders = rounded_box(u, v, (0.0, SHOULDER_V + 1.5), (SHOULDER_HALF, 1.75), 0.62)
        return shoulders + 0.1 * (v - SHOULDER_V).clamp(min=0)

    def _paint_legs(self, canvas: Canvas) -> None:
        for side in (-1, 1):
            foot = (
                side * 0.5 + side * 0.6 * over(self.pose.stride),
                FOOT_V - 0.15 * over((side * self.pose.stride).clamp(min=0)),
            )
            self._fill(
                canvas,
                lambda u, v, f=foot, s=side: capsule(u, v, (s * 0.45, HIP_V), f, 0.42),
                TROUSERS,
                (-1.6, HIP_V - 0.5, 1.6, FOOT_V + 0.6),
            )

    def _paint_arm(self, canvas: Canvas, side: float, *, lifted: bool) -> None:
        pose = self.pose
        up = over(pose.lifted) if lifted else torch.zeros_like(over(pose.lifted))
        swing = side * over(pose.sway)
        shoulder = (side * (SHOULDER_HALF - 0.25), SHOULDER_V + 0.25)
        elbow = (side * (1.75 + 0.15 * up) + 0.2 * swing, 3.0 - 0.75 * up)
        wave = over(pose.wave) if lifted else 0 * up
        hand = (
            (side * 1.7 + 0.55 * swing) * (1 - up) + side * (1.45 + wave) * up,
            (4.1 - 0.2 * swing.abs()) * (1 - up) + 0.55 * up,
        )
        sleeve = mixed(self.colour, INK, 0.1)
        box_colour = Shading(sleeve, (self.light[0] * 0.7, 0.0), 0.2)
        box: Box = (0.6, -0.2, 2.9, 5.0) if side > 0 else (-2.9, -0.2, -0.6, 5.0)
        wrist = (elbow[0] + 0.8 * (hand[0] - elbow[0]), elbow[1] + 0.8 * (hand[1] - elbow[1]))
        canvas.paint(self.place, box, lambda u, v: ellipse(u, v, hand, (0.3, 0.34)), self.person.skin)
        canvas.paint(self.place, box, lambda u, v: capsule(u, v, elbow, wrist, 0.3), box_colour)
        canvas.paint(self.place, box, lambda u, v: capsule(u, v, shoulder, elbow, 0.38), box_colour)

    # Garments

    def _neckline(self, canvas: Canvas, depth: float, half: float) -> None:
        """Skin in a pointed opening below the neck."""
        self._fill(
            canvas,
            lambda u, v: torch.maximum(u.abs() - half * (1 - (v - 1.5) / depth), 1.3 - v) * 0.8,
            mixed(self.person.skin, INK, 0.06),
        )

    def _line(
        self, canvas: Canvas, start: tuple[float, float], end: tuple[float, float], radius: float, colour: Colour
    ) -> None:
        self._fill(canvas, lambda u, v: capsule(u, v, start, end, radius), colour)

    def _paint_coat(self, canvas: Canvas) -> None:
        dark = mixed(self.colour, INK, 0.35)
        self._neckline(canvas, 0.7, 0.42)
        for side in (-1, 1):
            self._line(canvas, (side * 0.5, 1.4), (side * 0.12, 2.7), 0.2, dark)
            for v in (3.1, 3.7):
                self._fill(
                    canvas,
                    lambda u, y, s=side, v=v: ellipse(u, y, (s * 0.35, v), (0.09, 0.09)),
                    mixed(self.colour, WHITE, 0.55),
                )
        self._line(canvas, (0.0, 2.7), (0.0, 4.8), 0.03, dark)

    def _paint_shirt(self, canvas: Canvas) -> None:
        for side in (-1, 1):
            self._line(canvas, (side * 0.42, 1.42), (side * 0.16, 1.85), 0.15, mixed(self.colour, WHITE, 0.45))
        self._line(canvas, (0.0, 1.9), (0.0, 4.6), 0.02, mixed(self.colour, INK, 0.35))
        for v in (2.1, 2.7, 3.3, 3.9):
            self._fill(canvas, lambda u, y, v=v: ellipse(u, y, (0.0, v), (0.07, 0.07)), mixed(self.colour, INK, 0.5))

    def _paint_sweater(self, canvas: Canvas) -> None:
        pale = mixed(self.colour, WHITE if sum(self.colour) < 2 else INK, 0.45)
        self._fill(
            canvas,
            lambda u, v: (ellipse(u, v, (0.0, 1.45), (0.55, 0.3)).abs() - 0.1).maximum(1.35 - v),
            mixed(self.colour, INK, 0.25),
        )
        for middle in (2.3, 2.8):
            self._fill(
                canvas, lambda u, v, m=middle: torch.maximum((v - m).abs() - 0.1, self._trunk(u, v)), pale, TRUNK
            )

    def _paint_hoodie(self, canvas: Canvas) -> None:
        self._fill(
            canvas,
            lambda u, v: (ellipse(u, v, (0.0, 1.4), (0.75, 0.42)).abs() - 0.16).maximum(1.3 - v),
            mixed(self.colour, INK, 0.25),
        )
        for side in (-1, 1):
            self._line(canvas, (side * 0.3, 1.8), (side * 0.33, 2.6), 0.05, WHITE)

    def _paint_suit(self, canvas: Canvas) -> None:
        self._fill(canvas, lambda u, v: torch.maximum(u.abs() - 0.5 * (1 - (v - 1.4) / 1.5), 1.3 - v) * 0.8, WHITE)
        self._line(canvas, (0.0, 1.62), (0.0, 2.5), 0.11, mixed(CLOTH["red"], INK, 0.25))
        for side in (-1, 1):
            self._line(canvas, (side * 0.58, 1.4), (side * 0.06, 2.9), 0.14, mixed(self.colour, INK, 0.35))


def bodies(head: Head, garment: str, colour: str, side: float) -> Body:
    """The body that belongs to a head: it does not turn with it."""
    place = Place(head.place.x, head.place.y, head.place.scale, 0.3 * head.place.roll)
    return Body(head.person, head.pose, place, garment, CLOTH[colour], side, head.light)
