"""Paints a head: from the hair behind it to the glasses in front of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .canvas import Canvas, Point, around, ellipse, over, rounded_box, turned
from .head import Head
from .person import Colour, Person, mixed

BROW_LENGTH = 0.21
WHITE, INK, TONGUE, THROAT = (0.97, 0.97, 0.95), (0.06, 0.05, 0.06), (0.78, 0.33, 0.35), (0.25, 0.06, 0.08)
SHADOW = 0.22  # how much darker the side away from the light is
FRECKLES = [
    (0.13 * column, 0.22 + 0.09 * ((column + row) % 2) + 0.1 * row)
    for column in (-4, -3, -2, 2, 3, 4)
    for row in (0, 1)
]


@dataclass(frozen=True, slots=True)
class Shading:
    """A colour by where on a ball it is: lighter towards the light."""

    colour: Colour
    light: tuple[float, float]  # where it comes from, to the right and down, -1..1
    strength: float = SHADOW

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        lit = 1 + self.strength * (u * self.light[0] + v * self.light[1]).clamp(-1.2, 1.2)  # f h w
        return (lit[:, None] * torch.tensor(self.colour).reshape(1, 3, 1, 1)).clamp(0, 1)


def paint_back_hair(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    """The hair behind head and shoulders."""
    person, end = head.person, head.person.hair_length
    half_width = person.face_width + person.hair_volume

    def distance(u: Tensor, v: Tensor) -> Tensor:
        if end <= 0:
            return head.outer_hair(u, v)
        waves = person.curl * (7 * v + 4 * person.parting).sin()
        locks = rounded_box(u, v, (0.0, end / 2 - 0.2), (half_width + waves, end / 2 + 0.2), 0.25)
        return torch.minimum(locks, head.outer_hair(u, v))

    canvas.paint(head.place, (-1.5, -1.6, 1.5, 2.6), distance, Shading(mixed(person.hair, INK, 0.3), light))


def paint_head(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    """Ears, face and all in it, then hair and glasses."""
    person = head.person
    for side in (-1, 1):
        _paint_ear(canvas, head, side, light)
    canvas.paint(head.place, (-1, -1.1, 1, 1.1), head.skull, Shading(person.skin, light))
    _paint_skin(canvas, head)
    if person.beard:
        _paint_beard(canvas, head, light)
    for side in (-1, 1):
        _paint_eye(canvas, head, side)
    if person.moustache:
        _paint_moustache(canvas, head, light)
    _paint_mouth(canvas, head)
    _paint_nose(canvas, head, light)
    _paint_front_hair(canvas, head, light)
    for side in (-1, 1):
        _paint_brow(canvas, head, side)
    if person.glasses:
        _paint_glasses(canvas, head)


def _paint_ear(canvas: Canvas, head: Head, side: int, light: tuple[float, float]) -> None:
    size, skin = head.person.ear_size, head.person.skin
    for share, colour in ((1.0, skin), (0.55, mixed(skin, THROAT, 0.3))):
        canvas.oval(head.place, head.ear(side), (0.62 * size * share, size * share), Shading(colour, light))


def _paint_skin(canvas: Canvas, head: Head) -> None:
    """Cheeks, freckles and the mole."""
    person = head.person
    blush = mixed(person.skin, (0.88, 0.3, 0.28), 0.5)
    for side in (-1, 1):
        _paint_blush(canvas, head, head.at(side * 0.45, 0.32), blush)
    if person.freckles:
        colour = mixed(person.skin, (0.5, 0.2, 0.08), 0.6)
        for spot in FRECKLES:
            canvas.oval(head.place, head.at(*spot), (0.022, 0.022), colour, person.freckles)
    if person.mole:
        canvas.oval(head.place, head.at(*person.mole), (0.05, 0.05), mixed(person.skin, INK, 0.75))


def _paint_blush(canvas: Canvas, head: Head, cheek: Point, colour: Colour) -> None:
    """An oval with a very soft edge."""
    canvas.paint(head.place, around(cheek, 0.5), lambda u, v: 0.35 * ellipse(u, v, cheek, (0.2, 0.15)), colour, 0.55)


def _paint_beard(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    """The lower face in hair, but for the mouth."""
    person = head.person
    middle_u, middle_v = head.at(0, 0.6)
    colour = Shading(mixed(person.hair, INK, 0.15), light)

    def distance(u: Tensor, v: Tensor) -> Tensor:
        line = middle_v - 0.12 - 0.5 * (u - middle_u).abs() ** 1.6
        around_mouth = -ellipse(u, v, (middle_u, middle_v), (head.mouth_half_width * 1.05, 0.13))
        return torch.maximum(torch.maximum(line - v, head.skull(u, v) - 0.05), around_mouth)

    canvas.paint(head.place, (-1, -0.5, 1, 1.3), distance, colour, 0.25 + 0.75 * person.beard)


def _paint_eye(canvas: Canvas, head: Head, side: int) -> None:
    person, pose, place = head.person, head.pose, head.place
    u, v = head.eye(side)
    wide = person.eye_size * head.narrowed(side * person.eye_gap)
    high = person.eye_size * 0.72 * over(pose.lids.clamp(min=0.05))
    tilt, box = side * person.eye_tilt, around((u, v), 0.4)

    def almond(x: Tensor, y: Tensor) -> Tensor:
        return ellipse(*turned(x, y, (u, v), tilt), (0.0, 0.0), (wide, high))

    def upper_lid(x: Tensor, y: Tensor) -> Tensor:
        thickness = 0.05 if person.sex == "woman" else 0.03
        return torch.maximum((almond(x, y) - 0.01).abs() - thickness, turned(x, y, (u, v), tilt)[1] + 0.2 * high)

    canvas.paint(place, box, lambda x, y: almond(x, y) - 0.022, mixed(INK, person.skin, 0.15))
    canvas.paint(place, box, almond, WHITE)
    pupil = (u + 0.35 * wide * over(pose.gaze), v + 0.15 * over(pose.pitch).sin() * high)
    radius = person.eye_size * 0.58
    for share, colour in ((1.0, mixed(person.iris, INK, 0.35)), (0.8, person.iris), (0.42, INK)):
        canvas.oval(place, pupil, (radius * share, radius * share), colour, inside=almond)
    glint = (pupil[0] - 0.3 * radius, pupil[1] - 0.35 * radius)
    canvas.oval(place, glint, (0.3 * radius, 0.3 * radius), WHITE, inside=almond)
    canvas.paint(place, box, upper_lid, INK)


def _paint_brow(canvas: Canvas, head: Head, side: int) -> None:
    person, pose = head.person, head.pose
    u, v = head.at(side * person.eye_gap, person.eye_height - person.brow_height)
    v = v - over(0.1 * pose.brows)
    reach = side * BROW_LENGTH * head.narrowed(side * person.eye_gap)
    worry = 0.42 * over((-pose.smile).clamp(min=0))
    inner = (u - reach, v + 0.1 * (person.brow_tilt - worry))
    outer = (u + reach, v - 0.1 * person.brow_tilt + 0.05)
    canvas.stroke(head.place, inner, outer, person.brow_thickness, mixed(person.hair, INK, 0.4))


def _paint_nose(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    person, place, (u, v) = head.person, head.place, head.nose
    top_u, top_v = head.at(0, person.eye_height, 0.1)
    side = -1.0 if light[0] > 0 else 1.0
    top, foot = (top_u + side * 0.06, top_v), (u + side * 0.6 * person.nose_width, v)
    canvas.stroke(place, top, foot, 0.03, mixed(person.skin, THROAT, 0.22), 0.6)
    tip = mixed(person.skin, (0.9, 0.4, 0.35), 0.22)
    canvas.oval(place, (u, v), (person.nose_width, 0.62 * person.nose_width), tip)
    for across in (-0.55, 0.55):
        nostril = (u + across * person.nose_width, v + 0.42 * person.nose_width)
        canvas.oval(place, nostril, (0.035, 0.025), mixed(person.skin, THROAT, 0.8))


def _paint_moustache(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    (u, v), half = head.mouth, head.mouth_half_width
    colour = Shading(mixed(head.person.hair, INK, 0.2), light)
    for side in (-1, 1):
        centre: Point = (u + side * 0.5 * half, v - 0.1)
        canvas.oval(head.place, centre, (0.7 * half, 0.065), colour, head.person.moustache, angle=-0.35 * side)


def _paint_mouth(canvas: Canvas, head: Head) -> None:
    """Lips, and between them teeth and tongue as far as the mouth is open."""
    person, pose, place, (u, v) = head.person, head.pose, head.place, head.mouth
    half, bend, opening = head.mouth_half_width, over(0.09 * pose.smile), over(0.17 * pose.mouth)
    box = around((u, v), 0.6)

    def lens(x: Tensor, y: Tensor, margin: float) -> Tensor:
        across = ((x - u) / (half + margin)).clamp(-1.6, 1.6)
        arch = 1 - across.square()
        middle = v + bend * (arch - 0.5) + 0.35 * opening
        beyond = (y - middle).abs() - (opening + margin) * arch.clamp(min=0).sqrt()
        return torch.maximum(beyond, ((x - u).abs() - half - margin) * 0.8)

    canvas.paint(place, box, lambda x, y: lens(x, y, person.lip_thickness + 0.015), person.lips)
    canvas.paint(place, box, lambda x, y: lens(x, y, 0.018), THROAT)
    teeth = (pose.mouth * 1.5 + pose.smile.clamp(min=0) * 0.4).clamp(0, 1) * (pose.mouth > 0.08)
    canvas.paint(place, box, lambda x, y: torch.maximum(lens(x, y, 0.0), y - v + 0.1 * opening), WHITE, teeth)
    tongue = pose.mouth.clamp(0, 0.9)
    canvas.paint(place, box, lambda x, y: torch.maximum(lens(x, y, 0.0), v + 0.95 * opening - y), TONGUE, tongue)


def _paint_front_hair(canvas: Canvas, head: Head, light: tuple[float, float]) -> None:
    """A cap above the hairline with its sides, and its shine."""
    person, pose = head.person, head.pose
    shift, rise = over(0.55 * person.face_width * pose.yaw.sin()), over(0.5 * pose.pitch.sin())

    def distance(u: Tensor, v: Tensor) -> Tensor:
        outside = torch.maximum(head.outer_hair(u, v), v - _hairline(person, u - shift, u) - rise)
        return torch.maximum(outside, v - max(0.12, min(person.hair_length, 1.3)) + 0.1)

    canvas.paint(head.place, (-1.5, -1.6, 1.5, 1.6), distance, Shading(person.hair, light, 0.35))
    shine: Point = (shift - 0.3 * person.face_width * (1 if light[0] < 0 else -1), -0.78 + rise)
    bright = mixed(person.hair, WHITE, 0.35)
    canvas.oval(head.place, shine, (0.32, 0.07), bright, 0.5, angle=0.15, inside=lambda u, v: distance(u, v) + 0.02)


def _hairline(person: Person, across: Tensor, u: Tensor) -> Tensor:
    """How far down the front hair reaches at ``across`` from the middle of the face."""
    from_parting = (across - 0.55 * person.parting * person.face_width) / person.face_width
    steepness = 2.2 if person.parting < 0.3 else 1.5
    sides = (1.1 + 0.25 * abs(person.hair_length)) * from_parting.abs() ** steepness
    return person.fringe + 0.42 * sides + 0.6 * person.curl * (11 * u).sin()


def _paint_glasses(canvas: Canvas, head: Head) -> None:
    person, place = head.person, head.place
    radius = min(person.glasses, person.eye_gap - 0.03)
    for side in (-1, 1):
        u, v = head.eye(side, 0.05)
        wide = radius * head.narrowed(side * person.eye_gap)
        canvas.oval(place, (u, v), (wide, radius), WHITE, 0.14)
        _paint_rim(canvas, head, (u, v), (wide, radius))
        temple = (side * person.face_width * over(head.pose.yaw.cos()), v - 0.05)
        canvas.stroke(place, (u + side * wide, v), temple, 0.028, person.rims)
    (left, v), (right, _) = head.eye(-1, 0.05), head.eye(1, 0.05)
    bridge = radius * head.narrowed(0)
    canvas.stroke(place, (left + bridge, v - 0.03), (right - bridge, v - 0.03), 0.03, person.rims)


def _paint_rim(canvas: Canvas, head: Head, centre: Point, radii: Point) -> None:
    def distance(u: Tensor, v: Tensor) -> Tensor:
        return ellipse(u, v, centre, radii).abs() - 0.032

    canvas.paint(head.place, around(centre, 0.4), distance, head.person.rims)
