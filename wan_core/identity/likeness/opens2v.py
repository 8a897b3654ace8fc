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
CHIP_PX = 224  # of the chip that is halved for CurricularFace
CHIP_TEMPLATE: Points = tuple(point * 2 for point in TEMPLATE)
MARGIN, GREY = 0.25, 128  # of each side, around a picture in which no face was found

DETECTOR = "insightface buffalo_l, det_size 320, det_thresh 0.5"
PUBLISHED_ARC = Instruments(DETECTOR, ("w600k_r50 of buffalo_l",))
PUBLISHED_CUR = Instruments(DETECTOR, ("glint360k_curricular_face_r101_backbone",))
RULES = f"{FRAMES} frames, largest face, grey margin where there is none, frames without a face left out, cosines >= 0"
ARC_RULES, CUR_RULES = RULES, f"{RULES}, 0 left out"


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
    found: int  # frames with a face, of those that were looked at


# Pictures


def frame_indices(count: int) -> tuple[int, ...]:
    """The frames of a clip of ``count`` that are looked at; of a short clip some are looked at several times."""
    return tuple(step * (count - 1) // (FRAMES - 1) for step in range(FRAMES))


def face_vectors(picture: Tensor, detect: DetectAndEmbed, embed_chip: EmbedChip) -> FaceVectors | None:
    """The vectors of the largest face of a picture, h w 3 RGB uint8; None where no face is found.

    Where it is found only with a margin, its embedding is that of the picture with the margin, the chip without.
    """
    margin_x, margin_y = 0, 0
    found = detect(picture)
    if not found:
        margin_y, margin_x = (int(side * MARGIN) for side in picture.shape[:2])
        found = detect(functional.pad(picture, (0, 0, margin_x, margin_x, margin_y, margin_y), value=GREY))
    if not found:
        return None
    _, chosen = max(enumerate(found), key=lambda numbered: (_box_area(numbered[1].face), numbered[0]))
    points = tuple(point - complex(margin_x, margin_y) for point in chosen.face.points)
    return FaceVectors(chosen.embedding, embed_chip(halved_chip(picture, points).float() / 255))


def halved_chip(picture: Tensor, points: Points) -> Tensor:
    """The aligned face of a picture, h w 3 uint8: rounded means of 2 x 2 pixels of the 224 px cut, 112 112 3 uint8."""
    to_picture = fit_similarity(points, CHIP_TEMPLATE).inverse()
    chip = warp(picture.float(), to_picture, CHIP_PX).round().clamp(0, 255).int()  # 224 224 3
    return ((chip[::2, ::2] + chip[1::2, ::2] + chip[::2, 1::2] + chip[1::2, 1::2] + 2) // 4).byte()


def _box_area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


# Numbers


def face_sim(
    reference: FaceVectors,
    frames: Sequence[FaceVectors | None],
    arc: Instruments = PUBLISHED_ARC,
    cur: Instruments = PUBLISHED_CUR,
) -> FaceSim:
    """FaceSim of a clip's frames, None where no face was found; a photo without a face has no FaceSim."""
    arc_cosines = [None if frame is None else cosine(reference.arc, frame.arc) for frame in frames]
    cur_cosines = [None if frame is None else cosine(reference.cur, frame.cur) for frame in frames]
    found = sum(frame is not None for frame in frames)
    return FaceSim(face_sim_arc(arc_cosines, arc), face_sim_cur(cur_cosines, cur), found)


def face_sim_arc(cosines: Sequence[float | None], instruments: Instruments = PUBLISHED_ARC) -> PublishedScore:
    """FaceSim-Arc of a clip from the cosines of its frames, None where no face was found; 0.0 without any face."""
    protocol = instruments.protocol("OpenS2V-Eval FaceSim-Arc", ARC_RULES, PUBLISHED_ARC)
    return PublishedScore(protocol, _mean(_at_least_zero(cosines)), _mean([cosine or 0.0 for cosine in cosines]))


def face_sim_cur(cosines: Sequence[float | None], instruments: Instruments = PUBLISHED_CUR) -> PublishedScore:
    """FaceSim-Cur of a clip from the cosines of its frames, None where no face was found; 0.0 without any face."""
    protocol = instruments.protocol("OpenS2V-Eval FaceSim-Cur", CUR_RULES, PUBLISHED_CUR)
    above_zero = [cosine for cosine in _at_least_zero(cosines) if cosine != 0]
    return PublishedScore(protocol, _mean(above_zero), _mean([cosine or 0.0 for cosine in cosines]))


def _at_least_zero(cosines: Sequence[float | None]) -> list[float]:
    return [max(0.0, cosine) for cosine in cosines if cosine is not None]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
