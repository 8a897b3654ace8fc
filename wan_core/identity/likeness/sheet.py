"""The contact sheet of a check: of each character the reference, its best face, its worst, and where it was lost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional

from ...media.chart import PALETTE
from ...media.sheet import CELL_PX, Cell, contact_sheet
from ..draw import draw_faces
from ..faces import Face
from ..images import resize, shrink_to
from .cast import KnownCharacter
from .measures import CharacterLikeness
from .shots import frames_of
from .tracking import WatchedShot
from .verdict import name_of

WORST_SHOWN = 5  # faces of each character
AROUND = 2.5  # of the longer side of a face's box: what is shown around it
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
    same_cos: float,
) -> Tensor:
    """A row for each character: 1 h w 3 in [0, 1]. The frames that are shown are read once more."""
    rows = [_exhibits(likeness) for likeness in likenesses]
    pictures = _read(watched, {exhibit for row in rows for exhibit in row})
    sheet = []
    for index, row in enumerate(rows):
        cells = [Cell(cast[index].crop, name_of(index, cast), "reference")] if cast else []
        for one in row:
            caption = f"clip {one.shot + 1}, frame {watched[one.shot].indices[one.position] + 1}"
            if one.cosine is None:
                cells.append(Cell(pictures[one], caption, one.words, LOST))
            else:
                detail, colour = f"{one.words}: {one.cosine:.2f}", GOOD if one.cosine >= same_cos else BAD
                cells.append(Cell(pictures[one], caption, detail, colour))
        sheet.append(cells)
    return contact_sheet(sheet)


def _exhibits(likeness: CharacterLikeness) -> list[Exhibit]:
    """The best face, the worst, no two of them close to each other, and the middle of the frames without a face."""
    every = [
        Exhibit("least alike", shot, position, None if seen is None else seen.face, cosine)
        for shot, (cosines, of_shot) in enumerate(zip(likeness.shown_cosines, likeness.shots, strict=True))
        for position, (cosine, seen) in enumerate(zip(cosines, of_shot.sightings, strict=True))
    ]
    faces = sorted((one for one in every if one.cosine is not None), key=lambda one: one.cosine or 0.0)
    chosen: list[Exhibit] = []
    for one in faces[:-1]:
        apart = len(likeness.shots[one.shot].sightings) / (2 * WORST_SHOWN)
        if all(one.shot != other.shot or abs(one.position - other.position) >= apart for other in chosen):
            chosen.append(one)
    best = [replace(one, words="most alike") for one in faces[-1:]]
    lost = [replace(one, words="no face of it") for one in every if one.face is None and likeness.counted[one.shot]]
    return [*best, *chosen[:WORST_SHOWN], *lost[len(lost) // 2 :][:1]]


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
    """A square around a face with its box and points, black where it leaves the picture."""
    height_px, width_px, _ = picture.shape
    left, top, right, bottom = face.box
    side_px = max(min(round(AROUND * max(right - left, bottom - top)), 2 * max(height_px, width_px)), 1)
    x = min(max(round(face.centre.real), 0), width_px - 1) - side_px // 2
    y = min(max(round(face.centre.imag), 0), height_px - 1) - side_px // 2
    spare = (-x, x + side_px - width_px, -y, y + side_px - height_px)  # left, right, above, below
    padded = functional.pad(picture, (0, 0, *(max(px, 0) for px in spare)))
    shown = resize(padded[max(y, 0) :][:side_px, max(x, 0) :][:, :side_px], [CELL_PX, CELL_PX])
    scale, corner = CELL_PX / side_px, complex(x, y)
    box = ((left - x) * scale, (top - y) * scale, (right - x) * scale, (bottom - y) * scale)
    moved = replace(face, box=box, points=tuple((point - corner) * scale for point in face.points))
    return draw_faces(shown, [moved], selected=0)
