"""What an actor wears: five garments in eight colours, and how they are put on a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from .body import TRUNK, Body
from .canvas import ellipse
from .features import INK, WHITE
from .person import Colour, mixed
from .shot import Shot

CLOTHS: Mapping[str, Colour] = {
    "red": (0.82, 0.14, 0.16),
    "blue": (0.15, 0.32, 0.78),
    "green": (0.12, 0.55, 0.27),
    "yellow": (0.95, 0.80, 0.20),
    "white": (0.93, 0.93, 0.92),
    "black": (0.12, 0.12, 0.14),
    "purple": (0.50, 0.22, 0.65),
    "orange": (0.95, 0.50, 0.13),
}
TIE = mixed(CLOTHS["red"], INK, 0.25)


def paint_dressed(body: Body, shot: Shot) -> None:
    """The body in the garment of a shot, with the arm that waves in front."""
    side = shot.take.side
    body.paint_legs()
    body.paint_arm(-side, is_lifted=False)
    if shot.garment == "hoodie":
        body.fill(lambda u, v: ellipse(u, v, (0.0, 1.25), (1.0, 0.55)), mixed(body.cloth, INK, 0.25))
    body.fill(body.trunk, body.cloth, TRUNK)
    body.paint_neck()
    FRONTS[shot.garment](body)
    body.paint_arm(side, is_lifted=True)


def coat(body: Body) -> None:
    """Lapels, a pointed opening and two rows of buttons."""
    dark, skin = mixed(body.cloth, INK, 0.35), mixed(body.person.skin, INK, 0.06)
    body.fill(lambda u, v: 0.8 * torch.maximum(u.abs() - 0.42 * (1 - (v - 1.5) / 0.7), 1.3 - v), skin)
    for side in (-1, 1):
        body.line((side * 0.5, 1.4), (side * 0.12, 2.7), 0.2, dark)
        for v in (3.1, 3.7):
            body.button((side * 0.35, v), 0.09, mixed(body.cloth, WHITE, 0.55))
    body.line((0.0, 2.7), (0.0, 4.8), 0.03, dark)


def shirt(body: Body) -> None:
    """A collar, and buttons down the middle."""
    for side in (-1, 1):
        body.line((side * 0.42, 1.42), (side * 0.16, 1.85), 0.15, mixed(body.cloth, WHITE, 0.45))
    body.line((0.0, 1.9), (0.0, 4.6), 0.02, mixed(body.cloth, INK, 0.35))
    for v in (2.1, 2.7, 3.3, 3.9):
        body.button((0.0, v), 0.07, mixed(body.cloth, INK, 0.5))


def sweater(body: Body) -> None:
    """A round neckline and two stripes."""
    dark, pale = mixed(body.cloth, INK, 0.25), mixed(body.cloth, WHITE if sum(body.cloth) < 2 else INK, 0.45)
    body.fill(lambda u, v: (ellipse(u, v, (0.0, 1.45), (0.55, 0.3)).abs() - 0.1).maximum(1.35 - v), dark)
    for middle in (2.3, 2.8):
        _stripe(body, middle, pale)


def _stripe(body: Body, middle: float, colour: Colour) -> None:
    body.fill(lambda u, v: torch.maximum((v - middle).abs() - 0.1, body.trunk(u, v)), colour, TRUNK)


def hoodie(body: Body) -> None:
    """A hood that lies on the shoulders, and its strings."""
    dark = mixed(body.cloth, INK, 0.25)
    body.fill(lambda u, v: (ellipse(u, v, (0.0, 1.4), (0.75, 0.42)).abs() - 0.16).maximum(1.3 - v), dark)
    for side in (-1, 1):
        body.line((side * 0.3, 1.8), (side * 0.33, 2.6), 0.05, WHITE)


def suit(body: Body) -> None:
    """A white shirt, a tie and lapels."""
    body.fill(lambda u, v: 0.8 * torch.maximum(u.abs() - 0.5 * (1 - (v - 1.4) / 1.5), 1.3 - v), WHITE)
    body.line((0.0, 1.62), (0.0, 2.5), 0.11, TIE)
    for side in (-1, 1):
        body.line((side * 0.58, 1.4), (side * 0.06, 2.9), 0.14, mixed(body.cloth, INK, 0.35))


FRONTS: Mapping[str, Callable[[Body], None]] = {
    "coat": coat,
    "shirt": shirt,
    "sweater": sweater,
    "hoodie": hoodie,
    "suit": suit,
}
