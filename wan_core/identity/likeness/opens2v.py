"""OpenS2V-Eval FaceSim: how alike the faces of a clip are to the face of a reference photo.

Follows PKU-YuanGroup/OpenS2V-Nexus, eval/get_facesim.py (arXiv 2505.20292). FaceSim-Arc compares insightface's
embeddings of what it detected, FaceSim-Cur CurricularFace's of an aligned chip. The script means to drop zeros from
both means, and drops them from FaceSim-Cur alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from ..align import TEMPLATE, Points, fit_similarity, warp
from ..faces import Face
from .matching import cosine
from .published import Instruments, PublishedScore

FRAMES = 32  # of a clip, however long it is
CUT_PX = 224  # of the face that is halved for CurricularFace
CUT_TEMPLATE: Points = tuple(point * 2 for point in TEMPLATE)
MARGIN, GREY = 0.25, 128  # of each side, around a picture in which no face was found

DETECTOR = "insightface buffalo_l, det_size 320, det_thresh 0.5"
PUBLISHED_ARC = Instruments(DETECTOR, ("w600k_r50 of buffalo_l",))
PUBLISHED_CUR = Instruments(DETECTOR, ("glint360k_curricular_face_r101_backbone",))
RULES = f"{FRAMES} frames, largest face, grey margin where there is none, frames without a face left out, cosines >= 0"


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFace:
    """A face that was found in a picture, and the raw embedding of it that was made from the same picture."""

    face: Face
    embedding: Tensor  # d


@dataclass(frozen=True, slots=True, eq=False)
class FaceVectors:
    """What FaceSim compares of one picture."""

    arc: Tensor  # d, the embedding of the detected face
    cur: Tensor  # d, the embedding of the chip


DetectAndEmbed = Callable[[Tensor], Sequence[EmbeddedFace]]  # the faces of a picture, h w 3 RGB uint8
EmbedChip = Callable[[Tensor], Tensor]  # 112 112 3 RGB in [0, 1] -> its embedding d


@dataclass(frozen=True, slots=True)
class FaceSim:
    """FaceSim of one clip; corrected, it is the mean of the cosines as they are, 0 where no face was found."""

    arc: PublishedScore
    cur: PublishedScore


# Pictures


def frame_indices(count: int) -> tuple[int, ...]:
    """The frames of a clip of ``count`` that are looked at; of a short clip some are looked at several times."""
    return tuple(step * (count - 1) // (FRAMES - 1) for step in range(FRAMES))


def face_vectors(picture: Tensor, detect: DetectAndEmbed, embed_chip: EmbedChip) -> FaceVectors | None:
    """The vectors of the largest face of a picture, h w 3 RGB uint8, the last of several; None where none is found.

    Where it is found only with a margin, its embedding is that of the picture with the margin, the chip without.
    """
    margin_x, margin_y = 0, 0
    found = detect(picture)
    if not found:
        margin_y, margin_x = (int(side * MARGIN) for side in picture.shape[:2])
        found = detect(functional.pad(picture, (0, 0, margin_x, margin_x, margin_y, margin_y), value=GREY))
    if not found:
        return None
    chosen = max(reversed(found), key=lambda one: _box_area(one.face))  # max takes the first of several
    points = tuple(point - complex(margin_x, margin_y) for point in chosen.face.points)
    return FaceVectors(chosen.embedding, embed_chip(_cut_chip(picture, points).float() / 255))


def _box_area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _cut_chip(picture: Tensor, points: Points) -> Tensor:
    """The aligned face of a picture, h w 3 uint8: the rounded means of 2 x 2 pixels of the cut, 112 112 3 uint8.

    OpenCV 5 makes the same but for one grey level in 0.02 % of a photo's numbers; OpenCV 4, which rounds positions to
    1/32 px, is up to two levels away and 0.06 on average.
    """
    to_picture = fit_similarity(points, CUT_TEMPLATE).inverse()
    cut = warp(picture.float(), to_picture, CUT_PX).round().int()  # 224 224 3
    return ((cut[::2, ::2] + cut[1::2, ::2] + cut[::2, 1::2] + cut[1::2, 1::2] + 2) // 4).byte()


# Numbers


def face_sim(
    reference: FaceVectors, frames: Sequence[FaceVectors | None], arc: Instruments, cur: Instruments
) -> FaceSim:
    """FaceSim of the frames of a clip, None where no face was found; 0.0 where there is none in any.

    A photo without a face has no FaceSim. ``arc``, ``cur``: what the two vectors were made with.
    """
    arcs = [None if frame is None else cosine(reference.arc, frame.arc) for frame in frames]
    curs = [None if frame is None else cosine(reference.cur, frame.cur) for frame in frames]
    arc_protocol = arc.protocol("OpenS2V-Eval FaceSim-Arc", RULES, PUBLISHED_ARC)
    cur_protocol = cur.protocol("OpenS2V-Eval FaceSim-Cur", f"{RULES}, 0 left out", PUBLISHED_CUR)
    above_zero = [value for value in _at_least_zero(curs) if value != 0]
    return FaceSim(
        arc=PublishedScore(arc_protocol, published=_mean(_at_least_zero(arcs)), corrected=_strict_mean(arcs)),
        cur=PublishedScore(cur_protocol, published=_mean(above_zero), corrected=_strict_mean(curs)),
    )


def _at_least_zero(cosines: Sequence[float | None]) -> list[float]:
    return [max(0.0, value) for value in cosines if value is not None]


def _strict_mean(cosines: Sequence[float | None]) -> float:
    return _mean([value or 0.0 for value in cosines])


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
