"""Below the head: legs, trunk, neck and arms, under a garment of ``garments``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import Box, Canvas, Distance, Place, Point, over, rounded_box
from .features import INK, Shading
from .head import Head
from .motion import Pose
from .person import Colour, Person, mixed

TROUSERS: Colour = (0.20, 0.22, 0.30)
SHOULDER_V, HIP_V, FOOT_V = 1.62, 4.3, 7.2  # half heights of the head below its middle
SHOULDER_HALF = 1.45
TRUNK: Box = (-1.6, 1.4, 1.6, 5.0)
FRONT: Box = (-1.1, 0.5, 1.1, 5.0)  # where the neck and what fastens a garment are


@dataclass(frozen=True, slots=True)
class Body:
    """One actor below the chin in all frames; lengths are half heights of the head."""

    canvas: Canvas
    person: Person
    pose: Pose
    place: Place
    cloth: Colour
    light: tuple[float, float]

    def shaded(self, colour: Colour) -> Shading:
        """A colour as on a column: lighter towards the light."""
        return Shading(colour, (self.light[0] * 0.7, 0.0), 0.2)

    def fill(self, distance: Distance, colour: Colour, box: Box = FRONT) -> None:
        """Paints a shape on the front of the body."""
        self.canvas.paint(self.place, box, distance, self.shaded(colour))

    def line(self, start: Point, end: Point, radius: float, colour: Colour) -> None:
        """Paints a thick line on the body."""
        self.canvas.stroke(self.place, start, end, radius, self.shaded(colour))

    def button(self, centre: Point, radius: float, colour: Colour) -> None:
        """Paints a round thing on the body."""
        self.canvas.oval(self.place, centre, (radius, radius), self.shaded(colour))

    def trunk(self, u: Tensor, v: Tensor) -> Tensor:
        """How far outside of the trunk."""
        shoulders = rounded_box(u, v, (0.0, SHOULDER_V + 1.5), (SHOULDER_HALF, 1.75), 0.62)
        return shoulders + 0.1 * (v - SHOULDER_V).clamp(min=0)

    def paint_legs(self) -> None:
        """Two legs in the stride of the pose."""
        for side in (-1, 1):
            forward = side * self.pose.stride
            foot = (side * 0.5 + 0.6 * over(forward), FOOT_V - 0.15 * over(forward.clamp(min=0)))
            self.line((side * 0.45, HIP_V), foot, 0.42, TROUSERS)

    def paint_neck(self) -> None:
        """The neck, in the shadow of the chin."""
        neck = mixed(self.person.skin, INK, 0.12)
        self.fill(lambda u, v: rounded_box(u, v, (0.0, 1.15), (0.36, 0.55), 0.2), neck)

    def paint_arm(self, side: float, *, is_lifted: bool) -> None:
        """A hand and its sleeve, hanging or lifted as the pose says."""
        pose = self.pose
        up = over(pose.lifted) if is_lifted else torch.zeros_like(over(pose.lifted))
        swing = side * over(pose.sway)
        shoulder = (side * (SHOULDER_HALF - 0.25), SHOULDER_V + 0.25)
        elbow = (side * (1.75 + 0.15 * up) + 0.2 * swing, 3.0 - 0.75 * up)
        hanging = (side * 1.7 + 0.55 * swing, 4.1 - 0.2 * swing.abs())
        lifted = (side * (1.45 + over(pose.wave)), 0.55)
        hand = (hanging[0] * (1 - up) + lifted[0] * up, hanging[1] * (1 - up) + lifted[1] * up)
        wrist = (elbow[0] + 0.8 * (hand[0] - elbow[0]), elbow[1] + 0.8 * (hand[1] - elbow[1]))
        sleeve = mixed(self.cloth, INK, 0.1)
        self.canvas.oval(self.place, hand, (0.3, 0.34), self.person.skin)
        self.line(elbow, wrist, 0.3, sleeve)
        self.line(shoulder, elbow, 0.38, sleeve)


def body_below(head: Head, canvas: Canvas, cloth: Colour, light: tuple[float, float]) -> Body:
    """The body that belongs to a head; it does not turn with it."""
    place = Place(head.place.x, head.place.y, head.place.scale, 0.3 * head.place.roll)
    return Body(canvas, head.person, head.pose, place, cloth, light)
