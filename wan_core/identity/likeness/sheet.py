"""The contact sheet of a check: of each character the reference, its best face, its worst, and where it was lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ...media.chart import PALETTE
from ...media.sheet import CELL_PX, Cell, contact_sheet
from ..draw import draw_faces
from ..faces import Face
from ..images import resize, shrink_to
from .known import KnownCharacter
from .measures import CharacterLikeness
from .shots import frames_of
from .tracking import WatchedShot
from .verdict import Limits, name_of

WORST_SHOWN = 6  # faces of each character
AROUND = 1.7  # of the longer side of a face's box: what is shown around it
GOOD, BAD, LOST = PALETTE[2], PALETTE[1], PALETTE[5]


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One frame that the sheet shows."""

    words: str  # why
    shot: int  # from 0
    position: int  # among the frames of it that were looked at
    face: Face | None = None  # None: where it was not found
    cosine: float | None = None


def draw_sheet(
    likenesses: Sequence[CharacterLikeness],
    watched: Sequence[WatchedShot],
    cast: Sequence[KnownCharacter],
    limits: Limits,
) -> Tensor:
    """A row for each character: 1 h w 3 in [0, 1]. The frames that are shown are read once more."""
    rows = [_exhibits(likeness) for likeness in likenesses]
    pictures = _read(watched, {exhibit for row in rows for exhibit in row})
    sheet = []
    for index, (likeness, row) in enumerate(zip(likenesses, rows, strict=True)):
        differ = {shot for pair in likeness.pairs if pair.cosine < limits.min_cross_clip for shot in pair.shots}
        cells = [Cell(cast[index].crop, name_of(index, cast), "reference")] if cast else []
        for one in row:
            seen, detail, colour = watched[one.shot], one.words, LOST
            if one.cosine is not None:
                is_bad = one.cosine < limits.min_likeness or (not cast and one.shot in differ)
                detail, colour = f"{one.words}: {one.cosine:.2f}", BAD if is_bad else GOOD
            caption = f"{seen.shot.label}, frame {seen.indices[one.position] + 1}"
            cells.append(Cell(pictures[one], caption, detail, colour))
        sheet.append(cells)
    return contact_sheet(sheet)


def _exhibits(likeness: CharacterLikeness) -> list[Exhibit]:
    """The highest cosine, the lowest ones, and the middle of the frames without a face.

    The lowest of every shot come first, then more that do not follow each other.
    """
    every = [
        Exhibit("low", shot, position, None if seen is None else seen.face, cosine)
        for shot, (cosines, of_shot) in enumerate(zip(likeness.shown_cosines, likeness.shots, strict=True))
        for position, (cosine, seen) in enumerate(zip(cosines, of_shot.sightings, strict=True))
    ]
    faces = sorted((one for one in every if one.cosine is not None), key=_cosine_of)
    lowest = {one.shot: one for one in reversed(faces[:-1])}
    chosen = [replace(one, words="lowest of the clip") for one in sorted(lowest.values(), key=_cosine_of)]
    for one in faces[:-1]:
        apart = len(likeness.shots[one.shot].sightings) / (2 * WORST_SHOWN)
        if all(one.shot != other.shot or abs(one.position - other.position) >= apart for other in chosen):
            chosen.append(one)
    best = [replace(one, words="highest") for one in faces[-1:]]
    lost = [replace(one, words="no face of it") for one in every if one.face is None and likeness.counted[one.shot]]
    return [*best, *sorted(chosen[:WORST_SHOWN], key=_cosine_of), *lost[len(lost) // 2 :][:1]]


def _cosine_of(exhibit: Exhibit) -> float:
    return exhibit.cosine or 0.0


def _read(watched: Sequence[WatchedShot], exhibits: Collection[Exhibit]) -> dict[Exhibit, Tensor]:
    """What is shown of each, h w 3 of a cell's size: the square around its face, or the frame."""
    pictures = {}
    for number, seen in enumerate(watched):
        here = [one for one in exhibits if one.shot == number]
        indices = [seen.indices[one.position] for one in here]
        for index, picture in frames_of(seen.shot, indices) if here else ():
            for one in here:
                if seen.indices[one.position] == index:
                    pictures[one] = _cut_out(picture, one.face) if one.face else shrink_to(picture, CELL_PX)
    return pictures


def _cut_out(picture: Tensor, face: Face) -> Tensor:
    """A square around a face with its box and points; inside the picture, unless its longer side is shorter."""
    height_px, width_px, _ = picture.shape
    left, top, right, bottom = face.box
    side_px = max(min(round(AROUND * max(right - left, bottom - top)), max(height_px, width_px)), 1)
    x, y = (
        min(max(round(middle) - side_px // 2, 0), max(length_px - side_px, 0))
        for middle, length_px in ((face.centre.real, width_px), (face.centre.imag, height_px))
    )
    window = picture[y : y + side_px, x : x + side_px]
    scale, corner = CELL_PX / side_px, complex(x, y)
    shown = resize(window, [max(round(length * scale), 1) for length in window.shape[:2]])
    box = ((left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale)
    moved = replace(face, box=box, points=tuple((point - corner) * scale for point in face.points))
    return draw_faces(shown, [moved], selected=0)
