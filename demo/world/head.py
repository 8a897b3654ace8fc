"""The head: from the hair behind it to the glasses in front of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .canvas import Box, Canvas, Place, capsule, ellipse, over, rounded_box, turned
from .motion import Pose
from .person import Colour, Person, mixed

MOUTH_HEIGHT, BROW_LENGTH, EAR_HEIGHT = 0.6, 0.21, 0.1
WHITE, INK, TONGUE, THROAT = (0.97, 0.97, 0.95), (0.06, 0.05, 0.06), (0.78, 0.33, 0.35), (0.25, 0.06, 0.08)
DEPTH = 0.85  # of the head's curve; what lies deeper moves less when the head turns
SHADOW = 0.22  # how much darker the side away from the light is


@dataclass(frozen=True)
class Head:
    """One actor's head in all frames; lengths are half heights of the head."""

    person: Person
    pose: Pose
    place: Place
    light: tuple[float, float]  # where light comes from, to the right and down, -1..1

    # Where things are

    def at(self, u: float, v: float, forward: float = 0.0) -> tuple[Tensor, Tensor]:
        """Where a point of the resting face is when the head is turned and nods, f 1 1 each."""
        width = self.person.face_width
        depth = math.sqrt(max(0.0, 1 - 0.8 * (u / width) ** 2 - 0.8 * v * v)) * DEPTH + forward
        yaw, pitch = over(self.pose.yaw), over(self.pose.pitch)
        return u * yaw.cos() + depth * width * yaw.sin(), v * pitch.cos() + 0.8 * depth * pitch.sin()

    @staticmethod
    def around(u: Tensor, v: Tensor, half_width: float, half_height: float) -> Box:
        """The box of a feature wherever it moves."""
        return (
            float(u.min()) - half_width,
            float(v.min()) - half_height,
            float(u.max()) + half_width,
            float(v.max()) + half_height,
        )

    def narrowed(self, u: float) -> Tensor:
        """How much narrower a feature at ``u`` looks when the head is turned, f 1 1."""
        return (
            (over(self.pose.yaw) + 0.7 * math.asin(max(-1, min(1, u / self.person.face_width)))).cos().clamp(min=0.35)
        )

    def points(self) -> Tensor:
        """Eyes, nose tip and corners of the mouth in pixels, f 5 2, the left of the picture first."""
        person, mouth = self.person, self.mouth_half_width
        places = [
            self.at(-person.eye_gap, person.eye_height),
            self.at(person.eye_gap, person.eye_height),
            self.at(0, person.nose_length, 0.25),
        ]
        u, v = self.at(0, MOUTH_HEIGHT, 0.08)
        lifted = v - over(0.05 * self.pose.smile)
        corners = [(u - mouth, lifted), (u + mouth, lifted)]
        return torch.stack([self.place.picture(u.flatten(), v.flatten()) for u, v in places + corners], dim=1)

    def box(self) -> Tensor:
        """The face from hairline to chin in pixels, f 4: left, top, right, bottom."""
        width = self.person.face_width
        corners = self.place.picture(
            torch.tensor([[-width, width, -width, width]]), torch.tensor([[-0.9, -0.9, 1.0, 1.0]])
        )
        return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)

    @cached_property
    def mouth_half_width(self) -> Tensor:
        pose = self.pose
        return over(self.person.mouth_width * (1 + 0.22 * pose.smile.clamp(min=0) - 0.2 * pose.mouth)) * self.narrowed(
            0
        )

    # Outlines

    def skull(self, u: Tensor, v: Tensor) -> Tensor:
        """How far outside of the face."""
        narrower = 1 - self.person.jaw * v.clamp(0, 1) ** 1.5
        half = self.person.face_width * narrower
        return (torch.hypot(u / half, v) - 1) * half * 0.9

    def outer_hair(self, u: Tensor, v: Tensor) -> Tensor:
        """How far outside of the skull with its hair."""
        person = self.person
        waves = person.curl * (9 * torch.atan2(u, -v - 0.2) + 5 * person.parting).sin()
        return (
            ellipse(u, v, (0.0, -0.1), (person.face_width + person.hair_volume + 0.04, 0.96 + person.hair_volume))
            - waves
        )

    # Parts, from back to front

    def paint_back(self, canvas: Canvas) -> None:
        """The hair behind head and shoulders."""
        person = self.person
        end = person.hair_length
        half_width = person.face_width + person.hair_volume

        def distance(u: Tensor, v: Tensor) -> Tensor:
            waves = person.curl * (7 * v + 4 * person.parting).sin()
            lock = rounded_box(
                u, v, (0.0, end / 2 - 0.2), (half_width + waves if end > 0 else half_width, end / 2 + 0.2), 0.25
            )
            return torch.minimum(lock, self.outer_hair(u, v)) if end > 0 else self.outer_hair(u, v)

        canvas.paint(self.place, (-1.5, -1.6, 1.5, 2.6), distance, self.shaded(mixed(person.hair, INK, 0.3)))

    def paint(self, canvas: Canvas) -> None:
        """Ears, face and all in it, then hair and glasses."""
        self._paint_ears(canvas)
        canvas.paint(self.place, (-1, -1.1, 1, 1.1), self.skull, self.shaded(self.person.skin))
        self._paint_skin(canvas)
        if self.person.beard:
            self._paint_beard(canvas)
        for side in (-1, 1):
            self._paint_eye(canvas, side)
        self._paint_mouth(canvas)
        self._paint_nose(canvas)
        self._paint_hair(canvas)
        for side in (-1, 1):
            self._paint_brow(canvas, side)
        if self.person.glasses:
            self._paint_glasses(canvas)

    def shaded(self, colour: Colour, strength: float = SHADOW) -> Shading:
        """A colour that is lighter towards the light, as on a ball."""
        return Shading(colour, self.light, strength)

    def _paint_ears(self, canvas: Canvas) -> None:
        size = self.person.ear_size
        for side in (-1, 1):
            u = side * self.person.face_width * 0.98 - 0.25 * over(self.pose.yaw.sin())
            v = EAR_HEIGHT - 0.4 * over(self.pose.pitch.sin())
            for scale, colour in ((1.0, self.person.skin), (0.55, mixed(self.person.skin, THROAT, 0.3))):
                canvas.paint(
                    self.place,
                    self.around(u, v, 0.25, 0.3),
                    lambda x, y, u=u, v=v, scale=scale: ellipse(x, y, (u, v), (0.62 * size * scale, size * scale)),
                    self.shaded(colour),
                )

    def _paint_skin(self, canvas: Canvas) -> None:
        """Cheeks, freckles and the mole."""
        person = self.person
        blush = mixed(person.skin, (0.88, 0.3, 0.28), 0.5)
        for side in (-1, 1):
            u, v = self.at(side * 0.45, 0.32)
            canvas.paint(
                self.place,
                self.around(u, v, 0.5, 0.5),
                lambda x, y, u=u, v=v: ellipse(x, y, (u, v), (0.2, 0.15)) * 0.35,
                blush,
                0.55,
            )
        spots = [
            (0.13 * column, 0.22 + 0.09 * ((column + row) % 2) + 0.1 * row)
            for column in (-4, -3, -2, 2, 3, 4)
            for row in (0, 1)
        ]
        dots = [
            (spot, 0.022, mixed(person.skin, (0.5, 0.2, 0.08), 0.6), person.freckles)
            for spot in spots
            if person.freckles
        ]
        if person.mole:
            dots.append((person.mole, 0.05, mixed(person.skin, INK, 0.75), 1.0))
        for (u_rest, v_rest), radius, colour, alpha in dots:
            u, v = self.at(u_rest, v_rest)
            canvas.paint(
                self.place,
                self.around(u, v, 0.1, 0.1),
                lambda x, y, u=u, v=v, r=radius: ellipse(x, y, (u, v), (r, r)),
                colour,
                alpha,
            )

    def _paint_beard(self, canvas: Canvas) -> None:
        """The lower face in hair, but for the mouth."""
        person = self.person
        u, v = self.at(0, MOUTH_HEIGHT)

        def distance(x: Tensor, y: Tensor) -> Tensor:
            line = (v - 0.12) - 0.5 * (x - u).abs() ** 1.6
            around_mouth = -ellipse(x, y, (u, v), (self.mouth_half_width * 1.05, 0.13))
            return torch.maximum(torch.maximum(line - y, self.skull(x, y) - 0.05), around_mouth)

        canvas.paint(
            self.place,
            (-1, -0.5, 1, 1.3),
            distance,
            self.shaded(mixed(person.hair, INK, 0.15)),
            0.25 + 0.75 * person.beard,
        )

    def _paint_eye(self, canvas: Canvas, side: int) -> None:
        person, pose = self.person, self.pose
        u, v = self.at(side * person.eye_gap, person.eye_height)
        wide = person.eye_size * self.narrowed(side * person.eye_gap)
        high = person.eye_size * 0.72 * over(pose.lids.clamp(min=0.05))
        box = self.around(u, v, 0.4, 0.3)

        def almond(x: Tensor, y: Tensor) -> Tensor:
            x, y = turned(x, y, (u, v), side * person.eye_tilt)
            return ellipse(x, y, (0.0, 0.0), (wide, high))

        look_u, look_v = u + 0.35 * wide * over(pose.gaze), v + 0.15 * over(pose.pitch).sin() * high
        radius = person.eye_size * 0.58
        canvas.paint(self.place, box, lambda x, y: almond(x, y) - 0.022, mixed(INK, person.skin, 0.15))
        canvas.paint(self.place, box, almond, WHITE)
        for size, colour in ((1.0, mixed(person.iris, INK, 0.35)), (0.8, person.iris), (0.42, INK)):
            canvas.paint(
                self.place,
                box,
                lambda x, y, r=radius * size: torch.maximum(ellipse(x, y, (look_u, look_v), (r, r)), almond(x, y)),
                colour,
            )
        glint = (look_u - 0.3 * radius, look_v - 0.35 * radius)
        canvas.paint(
            self.place,
            box,
            lambda x, y: torch.maximum(ellipse(x, y, glint, (radius * 0.3, radius * 0.3)), almond(x, y)),
            WHITE,
        )
        lid = 0.05 if person.sex == "woman" else 0.03
        canvas.paint(
            self.place,
            box,
            lambda x, y: torch.maximum(
                (almond(x, y) - 0.01).abs() - lid, turned(x, y, (u, v), side * person.eye_tilt)[1] + 0.2 * high
            ),
            INK,
        )

    def _paint_brow(self, canvas: Canvas, side: int) -> None:
        person, pose = self.person, self.pose
        height = person.eye_height - person.brow_height
        u, v = self.at(side * person.eye_gap, height)
        v = v - over(0.1 * pose.brows)
        tilt = person.brow_tilt + 0.35 * over((-pose.smile).clamp(min=0))
        inner = (
            u - side * BROW_LENGTH * self.narrowed(side * person.eye_gap),
            v + 0.1 * (person.brow_tilt - 1.2 * (tilt - person.brow_tilt)),
        )
        outer = (u + side * BROW_LENGTH * self.narrowed(side * person.eye_gap), v - 0.1 * person.brow_tilt + 0.05)
        canvas.paint(
            self.place,
            self.around(u, v, 0.4, 0.3),
            lambda x, y: capsule(x, y, inner, outer, person.brow_thickness),
            mixed(person.hair, INK, 0.4),
        )

    def _paint_nose(self, canvas: Canvas) -> None:
        person = self.person
        u, v = self.at(0, person.nose_length, 0.25)
        top_u, top_v = self.at(0, person.eye_height, 0.1)
        shade = mixed(person.skin, THROAT, 0.22)
        box = self.around(u, v, 0.35, 0.65)
        side = -1.0 if self.light[0] > 0 else 1.0
        canvas.paint(
            self.place,
            box,
            lambda x, y: capsule(x, y, (top_u + side * 0.06, top_v), (u + side * 0.6 * person.nose_width, v), 0.03),
            shade,
            0.6,
        )
        canvas.paint(
            self.place,
            box,
            lambda x, y: ellipse(x, y, (u, v), (person.nose_width, 0.62 * person.nose_width)),
            mixed(person.skin, (0.9, 0.4, 0.35), 0.22),
        )
        for nostril in (-0.55, 0.55):
            centre = (u + nostril * person.nose_width, v + 0.42 * person.nose_width)
            canvas.paint(
                self.place,
                box,
                lambda x, y, c=centre: ellipse(x, y, c, (0.035, 0.025)),
                mixed(person.skin, THROAT, 0.8),
            )

    def _paint_mouth(self, canvas: Canvas) -> None:
        person, pose = self.person, self.pose
        u, v = self.at(0, MOUTH_HEIGHT, 0.08)
        half, bend, opening = self.mouth_half_width, over(0.09 * pose.smile), over(0.17 * pose.mouth)
        box = self.around(u, v, 0.6, 0.45)
        if person.moustache:
            for side in (-1, 1):
                centre = (u + side * 0.5 * half, v - 0.1)
                canvas.paint(
                    self.place,
                    box,
                    lambda x, y, c=centre, s=side: ellipse(
                        *turned(x, y, c, -0.35 * s), (0.0, 0.0), (0.7 * half, 0.065)
                    ),
                    self.shaded(mixed(person.hair, INK, 0.2)),
                    person.moustache,
                )

        def lens(x: Tensor, y: Tensor, margin: float) -> Tensor:
            across = ((x - u) / (half + margin)).clamp(-1.6, 1.6)
            arch = 1 - across.square()
            middle = v + bend * (0.5 * arch - 0.5) * 2 + bend * 0.5 + 0.35 * opening
            return torch.maximum(
                (y - middle).abs() - (opening + margin) * arch.clamp(min=0).sqrt(),
                ((x - u).abs() - half - margin) * 0.8,
            )

        canvas.paint(self.place, box, lambda x, y: lens(x, y, person.lip_thickness + 0.015), person.lips)
        canvas.paint(self.place, box, lambda x, y: lens(x, y, 0.018), THROAT)
        teeth = over((pose.mouth * 1.5 + pose.smile.clamp(min=0) * 0.4).clamp(0, 1) * (pose.mouth > 0.08))
        canvas.paint(
            self.place,
            box,
            lambda x, y: torch.maximum(lens(x, y, 0.0), y - (v + 0.35 * opening - 0.45 * opening)),
            WHITE,
            teeth.flatten(),
        )
        canvas.paint(
            self.place,
            box,
            lambda x, y: torch.maximum(lens(x, y, 0.0), (v + 0.95 * opening) - y),
            TONGUE,
            pose.mouth.clamp(0, 0.9),
        )

    def _paint_hair(self, canvas: Canvas) -> None:
        """The hair in front: a cap above the hairline, with its sides."""
        person = self.person
        shift = over(0.55 * person.face_width * self.pose.yaw.sin())
        rise = over(0.5 * self.pose.pitch.sin())

        def distance(u: Tensor, v: Tensor) -> Tensor:
            across = u - shift - 0.55 * person.parting * person.face_width
            sides = (1.1 + person.hair_length.__abs__() * 0.25) * (across / person.face_width).abs() ** (
                2.2 if person.parting < 0.3 else 1.5
            )
            hairline = person.fringe + rise + 0.42 * sides + person.curl * 0.6 * (11 * u).sin()
            end = over(torch.zeros_like(shift.flatten())) + max(0.12, min(person.hair_length, 1.3)) - 0.1
            return torch.maximum(torch.maximum(self.outer_hair(u, v), v - hairline), v - end)

        canvas.paint(self.place, (-1.5, -1.6, 1.5, 1.6), distance, self.shaded(person.hair, 0.35))
        shine = (shift - 0.3 * person.face_width * (1 if self.light[0] < 0 else -1), -0.78 + rise)
        canvas.paint(
            self.place,
            (-1.4, -1.4, 1.4, 0.2),
            lambda u, v: torch.maximum(
                ellipse(*turned(u, v, shine, 0.15), (0.0, 0.0), (0.32, 0.07)), distance(u, v) + 0.02
            ),
            mixed(person.hair, WHITE, 0.35),
            0.5,
        )

    def _paint_glasses(self, canvas: Canvas) -> None:
        person = self.person
        lenses = [self.at(side * person.eye_gap, person.eye_height, 0.05) for side in (-1, 1)]
        box = (-1.2, -0.9, 1.2, 0.9)
        radius = min(person.glasses, person.eye_gap - 0.03)
        for side, (u, v) in zip((-1, 1), lenses, strict=True):
            wide = radius * self.narrowed(side * person.eye_gap)
            canvas.paint(
                self.place, box, lambda x, y, u=u, v=v, w=wide: ellipse(x, y, (u, v), (w, radius)), WHITE, 0.14
            )
            canvas.paint(
                self.place,
                box,
                lambda x, y, u=u, v=v, w=wide: ellipse(x, y, (u, v), (w, radius)).abs() - 0.032,
                person.rims,
            )
            temple = (side * person.face_width * over(self.pose.yaw.cos()) + 0 * u, v - 0.05)
            canvas.paint(
                self.place,
                box,
                lambda x, y, u=u, v=v, w=wide, t=temple, s=side: capsule(x, y, (u + s * w, v), t, 0.028),
                person.rims,
            )
        (left_u, v), (right_u, _) = lenses
        bridge = radius * self.narrowed(0)
        canvas.paint(
            self.place,
            box,
            lambda x, y: capsule(x, y, (left_u + bridge, v - 0.03), (right_u - bridge, v - 0.03), 0.03),
            person.rims,
        )


@dataclass(frozen=True, slots=True)
class Shading:
    """A colour by where on a ball it is."""

    colour: Colour
    light: tuple[float, float]
    strength: float

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        lit = 1 + self.strength * (u * self.light[0] + v * self.light[1]).clamp(-1.2, 1.2)  # f h w
        return (lit[:, None] * torch.tensor(self.colour).reshape(1, 3, 1, 1)).clamp(0, 1)
