"""Which of the faces in a picture is meant."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..checks import checked_count, require_choice
from ..errors import InputError, quoted
from .faces import Face, face_problem
from .images import SMALLEST_FACE_PX, Pictures
from .portrait import Box
from .record import CROP_PX

SELECTION_METHODS = ("largest", "nearest to centre", "index", "box")
LARGEST_INDEX = 99


@dataclass(frozen=True, slots=True)
class FaceSelection:
    """How one of several faces is selected; raises InputError for a method that there is not."""

    method: str = SELECTION_METHODS[0]
    index: int = 0  # for "index": from the left
    box: str = ""  # for "box": left, top, right, bottom in pixels

    def __post_init__(self) -> None:
        require_choice(self.method, SELECTION_METHODS, name="pick")
        checked_count(self.index, LARGEST_INDEX, name="index", least=0)


@dataclass(frozen=True, slots=True)
class Detections:
    """What was detected in one picture."""

    number: int  # of the picture in the batch, counted from 1
    faces: tuple[Face, ...]  # from left to right
    selected: int | None  # the position of the face that is meant
    problem: str | None  # why no face of this picture can be used, in words


def select_faces(
    pictures: Pictures, found: Sequence[Sequence[Face]], selection: FaceSelection
) -> tuple[Detections, ...]:
    """Selects the face that is meant in each picture; raises InputError when no picture has one that can be used."""
    detections = []
    for number, picture, faces in zip(pictures.numbers, pictures.rgb, found, strict=True):
        height_px, width_px, _ = picture.shape
        from_left = tuple(sorted(faces, key=lambda face: (face.centre.real, face.centre.imag)))
        selected = select_face(from_left, selection, width_px, height_px)
        problem = selected if isinstance(selected, str) else face_problem(from_left[selected])
        detections.append(Detections(number, from_left, None if problem else int(selected), problem))
    if all(detected.problem for detected in detections):
        seen = "; ".join(f"image {detected.number}: {detected.problem}" for detected in detections)
        raise InputError(
            "images",
            found=f"no face that can be used ({seen})",
            wanted=f"a face of {SMALLEST_FACE_PX} px or more, better {CROP_PX}",
            fix="Use a picture that shows the face larger and clearer, give its five points, or, for a drawing or a "
            "thing, choose the whole picture, which Stand-In can use.",
        )
    return tuple(detections)


def select_face(faces: Sequence[Face], selection: FaceSelection, width_px: int, height_px: int) -> int | str:
    """The position of the face that is meant among faces from left to right, or in words why there is none."""
    if not faces:
        return "no face"
    positions = range(len(faces))
    if selection.method == "index":
        index = selection.index
        return index if index in positions else f"no face {index}, only 0 to {len(faces) - 1}"
    if selection.method == "box":
        wanted = parse_box(selection.box)
        overlaps = [overlap(face.box, wanted) for face in faces]
        best = max(overlaps)
        return overlaps.index(best) if best > 0 else "no face in the box"
    if selection.method == "largest":
        return max(positions, key=lambda position: area_px2(faces[position].box))
    middle = complex(width_px, height_px) / 2
    return min(positions, key=lambda position: abs(faces[position].centre - middle))


def parse_box(text: str) -> Box:
    """Reads left, top, right and bottom in pixels; raises InputError for anything else."""
    words = re.split(r"[\s,;]+", text.strip(" ,;\t\n"))
    try:
        left, top, right, bottom = (float(word) for word in words)
    except ValueError:
        left = top = right = bottom = math.nan
    if not (left < right and top < bottom and all(map(math.isfinite, (left, top, right, bottom)))):
        raise InputError(
            "box",
            found=quoted(text),
            wanted="left, top, right and bottom of the face in pixels",
            fix="Write four numbers, for example: 120 40 380 360.",
        )
    return left, top, right, bottom


def overlap(one: Box, other: Box) -> float:
    """The shared area of two boxes as a share of what they cover together."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (area_px2(one) + area_px2(other) - shared) if shared else 0.0


def area_px2(box: Box) -> float:
    left, top, right, bottom = box
    return max(right - left, 0.0) * max(bottom - top, 0.0)
