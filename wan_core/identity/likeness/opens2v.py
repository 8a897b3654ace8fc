"""OpenS2V-Eval FaceSim: how alike the faces of a clip are to the face of a reference photo.

Follows PKU-YuanGroup/OpenS2V-Nexus, eval/get_facesim.py (arXiv 2505.20292). FaceSim-Arc compares insightface's
embeddings of what it detected, FaceSim-Cur CurricularFace's of a face that is cut at 224 px and halved. The script
means to drop zeros from both means, and drops them from FaceSim-Cur alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn import functional

from ..align import TEMPLATE, Points, fit_similarity, warp
from ..faces import Face
from ..record import CROP_PX
from ..selection import area_px2
from .matching import cosine, mean_of
from .published import Instruments, PublishedScore

FRAMES = 32  # of a clip, however long it is
MARGIN, GREY = 0.25, 128  # of each side, around a picture in which no face was found

DETECTOR = "insightface buffalo_l, det_size 320, det_thresh 0.5"
PUBLISHED_ARC = Instruments(DETECTOR, ("w600k_r50 of buffalo_l",))
PUBLISHED_CUR = Instruments(DETECTOR, ("glint360k_curricular_face_r101_backbone",))
RULES = f"{FRAMES} frames, largest face, grey margin if none, frames without a face left out, negative cosines as 0"


@dataclass(frozen=True, slots=True, eq=False)
class FaceVectors:
    """What FaceSim compares of one picture."""

    arc: Tensor = field(repr=False)  # d, of the face as it was found
    cur: Tensor = field(repr=False)  # d, of the face cut larger and halved


FindFaces = Callable[[Tensor], Sequence[Face]]  # in a picture, h w 3 RGB uint8; their points are not in one place
EmbedFace = Callable[[Tensor], Tensor]  # an aligned face, 112 112 3 RGB in [0, 1] -> its raw embedding d


@dataclass(frozen=True, slots=True)
class FaceSim:
    """FaceSim of one clip; corrected, it is the mean of the cosines as they are, 0 where no face was found."""

    arc: PublishedScore
    cur: PublishedScore


# Pictures


def frame_indices(count: int) -> tuple[int, ...]:
    """The frames of a clip of ``count`` that are looked at; of a short clip some are looked at several times."""
    return tuple(step * (count - 1) // (FRAMES - 1) for step in range(FRAMES))


def face_vectors(
    picture: Tensor, find_faces: FindFaces, embed_arc: EmbedFace, embed_cur: EmbedFace
) -> FaceVectors | None:
    """The vectors of the largest face of a picture, h w 3 RGB uint8, the last of several; None where none is found.

    Where it is found only with a margin, Arc's is cut from the picture with the margin, Cur's from that without.
    """
    seen, margin = picture, 0j
    found = find_faces(seen)
    if not found:
        margin_y, margin_x = (int(side * MARGIN) for side in picture.shape[:2])
        margin = complex(margin_x, margin_y)
        seen = functional.pad(picture, (0, 0, margin_x, margin_x, margin_y, margin_y), value=GREY)
        found = find_faces(seen)
    if not found:
        return None
    chosen = max(reversed(found), key=lambda face: area_px2(face.box))  # max takes the first of several
    arc_crop = _cut_face(seen, chosen.points)  # 112 112 3
    cur_cut = _cut_face(picture, tuple(point - margin for point in chosen.points), scale=2)  # 224 224 3
    cur_crop = (functional.avg_pool2d(cur_cut.movedim(-1, 0), 2).movedim(0, -1) + 0.5).floor()  # 112 112 3
    return FaceVectors(embed_arc(arc_crop / 255), embed_cur(cur_crop / 255))


def _cut_face(picture: Tensor, points: Points, scale: int = 1) -> Tensor:
    """The aligned face of a picture, h w 3 uint8, as insightface's norm_crop cuts it: a square of whole numbers.

    OpenCV 5 gives the same but for one grey level in 0.02 % of a photo's numbers; OpenCV 4, which rounds positions to
    1/32 px, is up to four levels away, 0.08 on average.
    """
    to_picture = fit_similarity(points, tuple(point * scale for point in TEMPLATE)).inverse()
    return warp(picture.float(), to_picture, CROP_PX * scale).round()


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
        arc=PublishedScore(arc_protocol, published=mean_of(_at_least_zero(arcs)) or 0.0, corrected=_strict_mean(arcs)),
        cur=PublishedScore(cur_protocol, published=mean_of(above_zero) or 0.0, corrected=_strict_mean(curs)),
    )


def _at_least_zero(cosines: Sequence[float | None]) -> list[float]:
    return [max(0.0, value) for value in cosines if value is not None]


def _strict_mean(cosines: Sequence[float | None]) -> float:
    return mean_of([value or 0.0 for value in cosines]) or 0.0
