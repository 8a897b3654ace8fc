"""Who is drawn: an actor as some thirty continuous numbers that clothes, light and place have no part in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
Colour = tuple[float, float, float]  # red, green, blue from 0 to 1

SKINS: tuple[Colour, ...] = (
    (0.99, 0.88, 0.80),
    (0.93, 0.75, 0.60),
    (0.76, 0.55, 0.39),
    (0.52, 0.34, 0.23),
    (0.35, 0.22, 0.16),
)
NATURAL_HAIR: tuple[Colour, ...] = (
    (0.07, 0.06, 0.08),
    (0.25, 0.15, 0.10),
    (0.45, 0.25, 0.12),
    (0.68, 0.27, 0.10),
    (0.88, 0.68, 0.32),
    (0.80, 0.79, 0.78),
)
DYED_HAIR: tuple[Colour, ...] = ((0.85, 0.25, 0.45), (0.55, 0.25, 0.75), (0.15, 0.40, 0.80), (0.10, 0.60, 0.52))
IRISES: tuple[Colour, ...] = (
    (0.24, 0.13, 0.07),
    (0.45, 0.28, 0.10),
    (0.22, 0.50, 0.25),
    (0.15, 0.45, 0.75),
    (0.45, 0.55, 0.62),
)
RIMS: tuple[Colour, ...] = ((0.08, 0.08, 0.10), (0.60, 0.12, 0.14), (0.15, 0.28, 0.55), (0.75, 0.58, 0.18))
LIPS: tuple[Colour, ...] = ((0.78, 0.42, 0.40), (0.70, 0.20, 0.24), (0.55, 0.28, 0.30))

PERSON_STREAM = 96  # sets the random numbers of people apart from those of other things
DYED_SHARE, GLASSES_SHARE, BEARD_SHARE, MOUSTACHE_SHARE, MOLE_SHARE, FRECKLES_SHARE = 0.2, 0.3, 0.45, 0.35, 0.4, 0.25


@dataclass(frozen=True, slots=True)
class Person:
    """One actor. Lengths are in half heights of the head, from the middle of the head; down and right are positive."""

    split: Split
    index: int
    sex: Literal["woman", "man"]
    skin: Colour
    face_width: float  # half the width of the face
    jaw: float  # 0..1, how much narrower the chin is
    hair: Colour
    hair_volume: float  # how far the hair stands off the skull
    hair_length: float  # where it ends at the sides: 0 the ear, 2 the shoulders
    fringe: float  # height of the hairline
    parting: float  # -1..1, where it is highest
    curl: float  # amplitude of the hair's outline
    iris: Colour
    eye_size: float
    eye_gap: float  # from the middle of the face to an eye
    eye_height: float
    eye_tilt: float  # outer corners up
    brow_thickness: float
    brow_height: float  # above the eye
    brow_tilt: float
    nose_length: float  # height of its tip
    nose_width: float
    mouth_width: float
    lip_thickness: float
    lips: Colour
    ear_size: float
    glasses: float  # radius of a lens; 0: none
    rims: Colour
    beard: float  # 0..1, how much of the lower face it hides
    moustache: float  # 0..1
    mole: tuple[float, float] | None
    freckles: float  # 0..1


def person(split: Split, index: int) -> Person:
    """The actor of this number of a split; the actors of different splits share no random stream."""
    random = np.random.default_rng([SPLITS.index(split), index, PERSON_STREAM])

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    def chance(share: float) -> bool:
        return bool(random.random() < share)

    sex: Literal["woman", "man"] = "woman" if chance(0.5) else "man"
    is_man = sex == "man"
    hair = along(DYED_HAIR if chance(DYED_SHARE) else NATURAL_HAIR, random.random())
    skin = along(SKINS, random.random())
    return Person(
        split=split,
        index=index,
        sex=sex,
        skin=skin,
        face_width=between(0.66, 0.9),
        jaw=between(0.1, 0.45) - 0.08 * is_man,
        hair=hair,
        hair_volume=between(0.02, 0.2) if is_man else between(0.08, 0.32),
        hair_length=between(-0.2, 0.7) if is_man else between(0.3, 2.1),
        fringe=between(-0.78, -0.38),
        parting=between(-1, 1),
        curl=max(0.0, between(-0.04, 0.09)),
        iris=along(IRISES, random.random()),
        eye_size=between(0.13, 0.2) + 0.02 * (not is_man),
        eye_gap=between(0.3, 0.42),
        eye_height=between(-0.1, 0.08),
        eye_tilt=between(-0.25, 0.3),
        brow_thickness=between(0.025, 0.07) + 0.02 * is_man,
        brow_height=between(0.22, 0.34),
        brow_tilt=between(-0.3, 0.35),
        nose_length=between(0.28, 0.46),
        nose_width=between(0.07, 0.17),
        mouth_width=between(0.2, 0.36),
        lip_thickness=between(0.03, 0.075),
        lips=mixed(skin, along(LIPS, random.random()), 0.35 if is_man else between(0.6, 1.0)),
        ear_size=between(0.12, 0.2),
        glasses=between(0.22, 0.29) if chance(GLASSES_SHARE) else 0.0,
        rims=along(RIMS, random.random()),
        beard=between(0.35, 1.0) if chance(BEARD_SHARE) and is_man else 0.0,
        moustache=between(0.5, 1.0) if chance(MOUSTACHE_SHARE) and is_man else 0.0,
        mole=(between(-0.45, 0.45), between(0.2, 0.7)) if chance(MOLE_SHARE) else None,
        freckles=between(0.4, 1.0) if chance(FRECKLES_SHARE) else 0.0,
    )


def along(colours: tuple[Colour, ...], share: float) -> Colour:
    """The colour at ``share`` (0..1) of the way through these colours."""
    place = share * (len(colours) - 1)
    index = min(int(place), len(colours) - 2)
    return mixed(colours[index], colours[index + 1], place - index)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """``share`` of the other colour in the one."""
    red, green, blue = (a + (b - a) * share for a, b in zip(one, other, strict=True))
    return red, green, blue
