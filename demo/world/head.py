"""Where the parts of a head are, however it is turned: what is painted, and what is known about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .canvas import Place, Point, ellipse, over
from .motion import Pose
from .person import Person

MOUTH_HEIGHT, MOUTH_FORWARD, NOSE_FORWARD, EAR_HEIGHT = 0.6, 0.08, 0.25, 0.1
DEPTH = 0.85  # of the head's curve; what lies deeper moves less when the head turns


@dataclass(frozen=True)
class Head:
    """One actor's head in all frames; lengths are half heights of the head."""

    person: Person
    pose: Pose
    place: Place

    def at(self, u: float, v: float, forward: float = 0.0) -> tuple[Tensor, Tensor]:
        """Where a point of the resting face is when the head is turned and nods, f 1 1 each."""
        width = self.person.face_width
        depth = math.sqrt(max(0.0, 1 - 0.8 * (u / width) ** 2 - 0.8 * v * v)) * DEPTH + forward
        yaw, pitch = over(self.pose.yaw), over(self.pose.pitch)
        return u * yaw.cos() + depth * width * yaw.sin(), v * pitch.cos() + 0.8 * depth * pitch.sin()

    def narrowed(self, u: float) -> Tensor:
        """How much narrower a feature at ``u`` looks when the head is turned, f 1 1."""
        around = 0.7 * math.asin(max(-1, min(1, u / self.person.face_width)))
        return (over(self.pose.yaw) + around).cos().clamp(min=0.35)

    def eye(self, side: int, forward: float = 0.0) -> tuple[Tensor, Tensor]:
        """The middle of the eye at the left (-1) or right (1) of the picture."""
        return self.at(side * self.person.eye_gap, self.person.eye_height, forward)

    @cached_property
    def nose(self) -> tuple[Tensor, Tensor]:
        """The tip of the nose."""
        return self.at(0, self.person.nose_length, NOSE_FORWARD)

    @cached_property
    def mouth(self) -> tuple[Tensor, Tensor]:
        """The middle of the mouth."""
        return self.at(0, MOUTH_HEIGHT, MOUTH_FORWARD)

    @cached_property
    def mouth_half_width(self) -> Tensor:
        """From the middle of the mouth to a corner, f 1 1: a smile is wide, an open mouth narrow."""
        change = 1 + 0.22 * self.pose.smile.clamp(min=0) - 0.2 * self.pose.mouth
        return over(self.person.mouth_width * change) * self.narrowed(0)

    def ear(self, side: int) -> Point:
        """The middle of an ear."""
        u = side * self.person.face_width * 0.98 - 0.25 * over(self.pose.yaw.sin())
        return u, EAR_HEIGHT - 0.4 * over(self.pose.pitch.sin())

    # Outlines

    def skull(self, u: Tensor, v: Tensor) -> Tensor:
        """How far outside of the face."""
        half = self.person.face_width * (1 - self.person.jaw * v.clamp(0, 1) ** 1.5)
        return (torch.hypot(u / half, v) - 1) * half * 0.9

    def outer_hair(self, u: Tensor, v: Tensor) -> Tensor:
        """How far outside of the skull with its hair."""
        person = self.person
        waves = person.curl * (9 * torch.atan2(u, -v - 0.2) + 5 * person.parting).sin()
        radii = (person.face_width + person.hair_volume + 0.04, 0.96 + person.hair_volume)
        return ellipse(u, v, (0.0, -0.1), radii) - waves

    # What is known

    def points(self) -> Tensor:
        """Eyes, nose tip and corners of the mouth in pixels, f 5 2, the left of the picture first."""
        (u, v), half = self.mouth, self.mouth_half_width
        lifted = v - over(0.05 * self.pose.smile)
        places = [self.eye(-1), self.eye(1), self.nose, (u - half, lifted), (u + half, lifted)]
        return torch.stack([self.place.picture(u.flatten(), v.flatten()) for u, v in places], dim=1)

    def box(self) -> Tensor:
        """The face from the hairline to the chin in pixels, f 4: left, top, right, bottom."""
        width = self.person.face_width
        corners = torch.tensor([[-width, width, -width, width]]), torch.tensor([[-0.9, -0.9, 1.0, 1.0]])
        in_picture = self.place.picture(*corners)  # f 4 2
        return torch.cat((in_picture.amin(dim=1), in_picture.amax(dim=1)), dim=1)
