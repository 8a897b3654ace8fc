"""The aligned faces that an identity is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..notes import Note
from .align import align_face
from .faces import Face
from .images import Pictures, square_crop
from .quality import Quality, assess, quality_notes
from .record import Attributes
from .selection import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One aligned face."""

    index: int  # of its picture among the pictures that are looked at
    number: int  # of its picture in the batch, counted from 1
    face: Face | None  # None: the picture was an aligned crop already
    crop: Tensor  # 112 112 3 in [0, 1]
    face_px: float  # side of the square of the picture that became the crop
    quality: Quality

    @property
    def notes(self) -> tuple[Note, ...]:
        """What speaks against it though it can be used."""
        return quality_notes(self.face, self.face_px)

    @property
    def attributes(self) -> Attributes:
        """What was measured on it."""
        face, about_crop = self.face, (self.face_px, self.quality.total)
        if face is None:
            return Attributes(None, None, None, None, None, None, *about_crop)
        angles = face.yaw_deg, face.pitch_deg, face.roll_deg
        return Attributes(face.age_years, face.sex, *angles, face.score, *about_crop)


def align_references(pictures: Pictures, detections: Sequence[Detections]) -> tuple[Reference, ...]:
    """Aligns the selected face of every picture that has one."""
    references = []
    for index, detected in enumerate(detections):
        if detected.selected is not None:
            face = detected.faces[detected.selected]
            aligned = align_face(pictures.rgb[index], face.points)
            quality = assess(aligned.crop, face, aligned.face_px)
            references.append(Reference(index, detected.number, face, aligned.crop, aligned.face_px, quality))
    return tuple(references)


def references_of_crops(pictures: Pictures) -> tuple[Reference, ...]:
    """Takes every picture as an aligned face."""
    references = []
    for index, (number, picture) in enumerate(zip(pictures.numbers, pictures.rgb, strict=True)):
        crop, face_px = square_crop(picture), float(picture.shape[1])
        references.append(Reference(index, number, None, crop, face_px, assess(crop, None, face_px)))
    return tuple(references)
