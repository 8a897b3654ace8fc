"""People of whom it is known who they are: vectors in known directions, and pictures whose squares stand for faces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from tests.unit.identity.some_inputs import at_degrees, face_at
from wan_core.identity.faces import Face
from wan_core.identity.likeness.shots import checked_shot
from wan_core.identity.likeness.tracking import Sighting, WatchedShot
from wan_core.identity.recogniser import Recogniser
from wan_core.identity.record import Attributes, Identity, Space

SPACE, OTHER_SPACE = Space("planted.bin", "ab" * 32, "planted"), Space("another.bin", "cd" * 32, "planted")
HEIGHT_PX, WIDTH_PX, FACE_PX = 120, 240, 48
FULL_TURN_DEG = 360.0  # of a square whose green is 1

Person = tuple[float, float]  # where its face is from the left, in pixels, and the direction of its vector in degrees


def direction_at(degrees: float, width: int = 8) -> Tensor:
    """A unit vector in a plane."""
    return at_degrees(degrees)[0, :width]


def sighting(position: int, x: float, vector: Tensor, size: float = 40.0) -> Sighting:
    return Sighting(position, face_at(x, 60.0, size), vector)


def watched(*frames: Sequence[Sighting]) -> WatchedShot:
    """A shot of which every frame was looked at."""
    shot = checked_shot(torch.zeros(len(frames), 8, 8, 3), "clips.clip_1")
    return WatchedShot(shot, tuple(range(len(frames))), tuple(tuple(seen) for seen in frames), 0)


# Pictures: a face is a red square, whose green says which way its vector points


def frame(*people: Person) -> Tensor:
    """A picture of people, h w 3; a later one is in front."""
    picture = torch.full((HEIGHT_PX, WIDTH_PX, 3), 0.25)
    half = FACE_PX // 2
    for x, degrees in people:
        left = round(x) - half
        picture[60 - half : 60 + half, max(left, 0) : left + FACE_PX] = torch.tensor([1, degrees / FULL_TURN_DEG, 0.0])
    return picture


def film(*frames: Sequence[Person]) -> Tensor:
    return torch.stack([frame(*people) for people in frames])


def find(picture: Tensor) -> list[Face]:
    """The squares of a picture that are seen whole."""
    is_face, green = (picture[..., 0] > 0.99) & (picture[..., 2] < 0.01), picture[..., 1]
    faces = []
    for shade in green[is_face].unique():
        rows, columns = torch.nonzero(is_face & (green == shade), as_tuple=True)
        if len(rows) == FACE_PX**2:
            faces.append(face_at((columns.min() + columns.max() + 1).item() / 2, 60.0, FACE_PX))
    return faces


def vector_of(crop: Tensor) -> Tensor:
    """The vector of an aligned face, of any length."""
    return 3 * direction_at(crop[30:80, 30:80, 1].mean().item() * FULL_TURN_DEG)


RECOGNISER = Recogniser(vector_of, SPACE, "planted")


@contextmanager
def scorer(recogniser: Recogniser = RECOGNISER) -> Iterator[Recogniser]:
    yield recogniser


def identity_at(*degrees: float, space: Space = OTHER_SPACE, z_degrees: float | None = None) -> Identity:
    """Someone whose reference crops point there; its own vectors point to z_degrees."""
    crops = torch.stack([torch.tensor([1, one / FULL_TURN_DEG, 0.0]).expand(112, 112, 3) for one in degrees])
    vectors = at_degrees(*([degrees[0] if z_degrees is None else z_degrees] * len(degrees)))
    attributes = (Attributes(None, None, None, None, None, None, 112.0, 1.0),) * len(degrees)
    return Identity(vectors[0], vectors, vectors, crops, None, None, attributes, space)


def cos_deg(degrees: float) -> float:
    return math.cos(math.radians(degrees))
