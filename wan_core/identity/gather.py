"""From pictures and the faces in them to references, and from references to an identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .align import TEMPLATE, align_face, cut_reference
from .combine import Combined
from .faces import Face, Pick, face_problem, from_left, pick_face
from .images import SMALLEST_FACE_PX, Pictures, square_crops
from .portrait import cut_portrait
from .quality import Quality, assess
from .record import CROP_PX, IDENTITY_D, Attributes, Identity, Space

HALF = 0.5  # of a foreground mask: below it a pixel belongs to the background


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen in one picture."""

    number: int  # of the picture in the batch, counted from 1
    faces: tuple[Face, ...]  # from left to right
    chosen: int | None  # the position of the face that is meant
    problem: str | None  # why no face of this picture can be used, in words


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One aligned face."""

    index: int  # of its picture among the pictures that are looked at
    number: int  # of its picture in the batch, counted from 1
    face: Face | None  # None: the picture was an aligned crop already
    crop: Tensor  # 112 112 3 in [0, 1]
    face_px: float  # side of the square of the picture that became the crop
    quality: Quality


def look(pictures: Pictures, found: Sequence[Sequence[Face]], pick: Pick) -> list[Sighting]:
    """Chooses the face that is meant in each picture; raises InputError when no picture has one that can be used."""
    height_px, width_px = pictures.rgb.shape[1:3]
    sightings = []
    for number, faces in zip(pictures.numbers, found, strict=True):
        ordered = from_left(faces)
        picked = pick_face(ordered, pick, width_px, height_px)
        problem = picked if isinstance(picked, str) else face_problem(ordered[picked])
        sightings.append(Sighting(number, tuple(ordered), None if problem else int(picked), problem))
    if all(sighting.problem for sighting in sightings):
        raise _no_face(sightings)
    return sightings


def references_of(pictures: Pictures, sightings: Sequence[Sighting]) -> list[Reference]:
    """Aligns the chosen face of every picture that has one."""
    references = []
    for index, sighting in enumerate(sightings):
        if sighting.chosen is not None:
            face = sighting.faces[sighting.chosen]
            aligned = align_face(pictures.rgb[index], face.points)
            quality = assess(aligned.crop, face, aligned.face_px)
            references.append(Reference(index, sighting.number, face, aligned.crop, aligned.face_px, quality))
    return references


def references_of_crops(pictures: Pictures) -> list[Reference]:
    """Takes every picture as an aligned face."""
    face_px = float(pictures.rgb.shape[2])
    crops = square_crops(pictures.rgb)
    return [
        Reference(index, number, None, crop, face_px, assess(crop, None, face_px))
        for index, (number, crop) in enumerate(zip(pictures.numbers, crops, strict=True))
    ]


# The identity


def identity_of(
    pictures: Pictures, references: Sequence[Reference], vectors: Tensor, combined: Combined, space: Space
) -> Identity:
    """The record of the references that counted; Lynx's crop and Stand-In's portrait come from the best of them.

    Raises InputError where the foreground leaves out the face of the best.
    """
    kept = [references[index] for index in combined.kept]
    best = references[combined.best]
    return Identity(
        z=combined.z,
        references=vectors[list(combined.kept)],
        embeddings=combined.embeddings,
        crops=torch.stack([reference.crop for reference in kept]).to(vectors.device),
        reference_crop=_reference_crop(pictures, best),
        portrait=_portrait(pictures, best),
        attributes=tuple(attributes_of(reference) for reference in kept),
        space=space,
    )


def identity_of_pictures(pictures: Pictures, best: Reference | None) -> Identity:
    """The record without vectors, of a reference or of the first picture whole: for Stand-In, and Lynx's crop alone.

    Raises InputError where the foreground leaves out the reference's face.
    """
    nothing = pictures.rgb.new_zeros(0, IDENTITY_D)
    return Identity(
        z=None,
        references=nothing,
        embeddings=nothing,
        crops=pictures.rgb.new_zeros(0, CROP_PX, CROP_PX, 3),
        reference_crop=_reference_crop(pictures, best) if best else None,
        portrait=_portrait(pictures, best) if best else cut_portrait(pictures.on_white(0), None),
        attributes=(),
        space=None,
    )


def best_of(references: Sequence[Reference]) -> Reference:
    """The reference of the highest quality; of equal ones the first."""
    return max(references, key=lambda reference: reference.quality.total)


def _reference_crop(pictures: Pictures, best: Reference) -> Tensor | None:
    """Lynx's wider crop; None where there was only an aligned crop."""
    return cut_reference(pictures.rgb[best.index], best.face.points) if best.face else None


def _portrait(pictures: Pictures, best: Reference) -> Tensor:
    """Stand-In's picture of a reference, over white where its background is known."""
    _require_face_in_foreground(pictures, best)
    return cut_portrait(pictures.on_white(best.index), best.face.box if best.face else None)


def _require_face_in_foreground(pictures: Pictures, best: Reference) -> None:
    if pictures.opacity is None:
        return
    opacity = pictures.opacity[best.index]  # h w
    height_px, width_px = opacity.shape
    points = best.face.points if best.face else tuple(point * width_px / CROP_PX for point in TEMPLATE)
    rows = [min(max(round(point.imag), 0), height_px - 1) for point in points]
    columns = [min(max(round(point.real), 0), width_px - 1) for point in points]
    if opacity[rows, columns].median() < HALF:
        raise InputError(
            "foreground",
            found=f"a mask that is black on the face of image {best.number}, or a picture that is transparent there",
            wanted="white on the person",
            fix="If it is the wrong way round, as the MASK of Load Image is, put Invert Mask before it; if the images "
            "differ, link one mask for each.",
        )


def attributes_of(reference: Reference) -> Attributes:
    """What was measured on a reference."""
    face = reference.face
    if face is None:
        return Attributes(None, None, None, None, None, None, reference.face_px, reference.quality.total)
    angles = (face.yaw_deg, face.pitch_deg, face.roll_deg)
    return Attributes(face.age_years, face.sex, *angles, face.score, reference.face_px, reference.quality.total)


def _no_face(sightings: Sequence[Sighting]) -> InputError:
    seen = "; ".join(f"image {sighting.number}: {sighting.problem}" for sighting in sightings)
    return InputError(
        "images",
        found=f"no face that can be used ({seen})",
        wanted=f"a face of {SMALLEST_FACE_PX} px or more, better {CROP_PX}",
        fix="Use a picture that shows the face larger and clearer, give its five points, or, for a drawing or a thing, "
        "choose the whole picture, which Stand-In can use.",
    )
