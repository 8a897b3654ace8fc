"""The contact sheet of a check: of each character the reference, its best face, its worst, and where it was lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional

from ...media.chart import PALETTE
from ...media.sheet import Cell, contact_sheet
from ..draw import draw_faces
from ..faces import Face
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
    cosine: float | None = None  # None: no face was found


def draw_sheet(
    likenesses: Sequence[CharacterLikeness],
    watched: Sequence[WatchedShot],
    cast: Sequence[KnownCharacter],
    same_cos: float,
) -> Tensor:
    """A row for each character: 1 h w 3 in [0, 1]. The frames that are shown are read once more."""
    rows = [_exhibits(likeness, with_character=bool(cast)) for likeness in likenesses]
    pictures = _read(watched, [exhibit for row in rows for exhibit in row])
    sheet = []
    for index, (likeness, row) in enumerate(zip(likenesses, rows, strict=True)):
        cells = [Cell(cast[index].crop, name_of(index, cast), "reference")] if cast else []
        for one in row:
            picture, frame = pictures[one.shot, one.position], watched[one.shot].indices[one.position]
            caption = f"clip {one.shot + 1}, frame {frame + 1}"
            seen = likeness.shots[one.shot].sightings[one.position]
            if seen is None or one.cosine is None:
                cells.append(Cell(picture, caption, one.words, LOST))
            else:
                detail, colour = f"{one.words}: {one.cosine:.2f}", GOOD if one.cosine >= same_cos else BAD
                cells.append(Cell(_cut_out(picture, seen.face), caption, detail, colour))
        sheet.append(cells)
    return contact_sheet(sheet)


def _exhibits(likeness: CharacterLikeness, *, with_character: bool) -> list[Exhibit]:
    """The best face, the worst, no two of them close to each other, and the middle of the frames without a face."""
    cosines = [shot.cosines for shot in likeness.shots] if with_character else likeness.to_own_mean
    every = [(shot, position, cos) for shot, row in enumerate(cosines) for position, cos in enumerate(row)]
    faces = sorted(
        (Exhibit("least alike", *place, cos) for *place, cos in every if cos is not None), key=lambda one: one.cosine
    )
    chosen: list[Exhibit] = []
    for one in faces[:-1]:
        apart = len(cosines[one.shot]) / (2 * WORST_SHOWN)
        if all(one.shot != other.shot or abs(one.position - other.position) >= apart for other in chosen):
            chosen.append(one)
    lost = [Exhibit("no face of it", *place) for *place, cos in every if cos is None and likeness.counted[place[0]]]
    best = [replace(one, words="most alike") for one in faces[-1:]]
    return [*best, *chosen[:WORST_SHOWN], *lost[len(lost) // 2 :][:1]]


def _read(watched: Sequence[WatchedShot], exhibits: Sequence[Exhibit]) -> dict[tuple[int, int], Tensor]:
    """The pictures, h w 3, of frames of some shots."""
    pictures = {}
    for number, seen in enumerate(watched):
        wanted = {seen.indices[one.position]: one.position for one in exhibits if one.shot == number}
        for index, picture in frames_of(seen.shot, list(wanted)) if wanted else ():
            pictures[number, wanted[index]] = picture
    return pictures


def _cut_out(picture: Tensor, face: Face) -> Tensor:
    """A square around a face, black where it leaves the picture, with the face's box and points."""
    left, top, right, bottom = face.box
    side_px = round(AROUND * max(right - left, bottom - top))
    x, y = round(face.centre.real) - side_px // 2, round(face.centre.imag) - side_px // 2
    height_px, width_px, _ = picture.shape
    drawn = draw_faces(picture, [face], selected=0)
    spare = (-x, x + side_px - width_px, -y, y + side_px - height_px)
    padded = functional.pad(drawn, (0, 0, *(max(px, 0) for px in spare)))
    return padded[max(y, 0) :][:side_px, max(x, 0) :][:, :side_px]
