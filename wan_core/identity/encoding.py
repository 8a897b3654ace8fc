"""From pictures of one person to the identity that travels between nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..checks import require_choice
from ..errors import InputError
from ..notes import Note
from .align import TEMPLATE, cut_reference
from .combine import COMBINE_METHODS, Combined, combine
from .draw import draw_faces
from .images import Pictures, on_one_canvas, read_pictures
from .portrait import cut_portrait
from .recogniser import Embeddings, Recogniser, embed
from .record import CROP_PX, IDENTITY_D, Identity, Space
from .references import Reference
from .sources import FaceSource, FoundFaces, OnDone

HALF = 0.5  # of a foreground mask: below it a pixel belongs to the background


@dataclass(frozen=True, slots=True, eq=False)
class EncodeRequest:
    """The pictures, and how they become one identity."""

    images: Tensor | Sequence[Tensor]  # b h w c in [0, 1]: grey, RGB or RGBA, or several such; 16 are looked at
    foreground: Tensor | Sequence[Tensor] | None = None  # b h w or 1 h w, 1 on the person; outside it is white
    method: str = COMBINE_METHODS[0]  # how several references are combined
    device: torch.device | None = None  # where the result is to lie; None: where the images lie


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What a recogniser made of the references, and how they were combined."""

    space: Space
    label: str  # of the recogniser
    embeddings: Embeddings
    method: str
    combined: Combined


@dataclass(frozen=True, slots=True, eq=False)
class EncodeResult:
    """An identity, and how it came about."""

    identity: Identity
    aligned: Tensor  # k 112 112 3, the faces as the recogniser sees them; 1 512 512 3, the portrait, without a face
    boxes: Tensor  # b h w 3, the pictures with the boxes and points of the faces in them, on one canvas
    pictures: Pictures
    source: str  # who said where the face is
    found: FoundFaces
    best: Reference | None  # the one that Lynx's crop and Stand-In's portrait come from; None: the first picture whole
    recognition: Recognition | None  # None: without a recogniser, or without a face
    notes: tuple[Note, ...]


def encode(
    request: EncodeRequest,
    *,
    source: FaceSource,
    recogniser: AbstractContextManager[Recogniser] | None = None,
    progress: Callable[[int], OnDone] = lambda total: lambda done: None,
) -> EncodeResult:
    """The identity of the person in the pictures; raises InputError where there is none, or more than one.

    ``recogniser`` is entered when faces were found; without one the identity has no vectors. ``progress`` takes the
    number of steps and gives what is told how many are done.
    """
    require_choice(request.method, COMBINE_METHODS, name="combine")
    pictures = read_pictures(request.images, request.foreground, request.device)
    count = len(pictures.rgb)
    on_done = progress(2 * count if recogniser else count)
    found = source.find(pictures, on_done)
    references = found.references
    best = max(references, key=lambda reference: reference.quality.total, default=None)
    recognition = None
    if recogniser and references:
        with recogniser as network:
            recognition = _recognise(network, references, request.method, lambda done: on_done(count + done))
        best = references[recognition.combined.best]
    portrait = _portrait(pictures, best)
    identity = _identity_of(pictures, references, best, portrait, recognition)
    boxes = [draw_faces(pictures.rgb[i], seen.faces, seen.selected) for i, seen in enumerate(found.detections)]
    notes = [Note(note.code, f"image {one.number}: {note.text}") for one in references for note in one.notes]
    return EncodeResult(
        identity=identity,
        aligned=identity.crops if recognition else (best.crop if best else portrait)[None],
        boxes=on_one_canvas(boxes or pictures.rgb),
        pictures=pictures,
        source=source.label,
        found=found,
        best=best,
        recognition=recognition,
        notes=tuple(notes),
    )


def _recognise(recogniser: Recogniser, references: Sequence[Reference], method: str, on_face: OnDone) -> Recognition:
    embeddings = embed(recogniser, torch.stack([reference.crop for reference in references]), on_face)
    combined = combine(
        embeddings.unit,
        method=method,
        qualities=[reference.quality.total for reference in references],
        weights=[reference.quality.score for reference in references],
        numbers=[reference.number for reference in references],
    )
    return Recognition(recogniser.space, recogniser.label, embeddings, method, combined)


def _identity_of(
    pictures: Pictures,
    references: Sequence[Reference],
    best: Reference | None,
    portrait: Tensor,
    recognition: Recognition | None,
) -> Identity:
    """The record; without a recogniser it has the pictures for the adapters alone."""
    no_vectors = portrait.new_zeros(0, IDENTITY_D)
    identity = Identity(
        z=None,
        references=no_vectors,
        embeddings=no_vectors,
        crops=portrait.new_zeros(0, CROP_PX, CROP_PX, 3),
        reference_crop=cut_reference(pictures.rgb[best.index], best.face.points) if best and best.face else None,
        portrait=portrait,
        attributes=(),
        space=None,
    )
    if recognition is None:
        return identity
    combined, vectors = recognition.combined, recognition.embeddings.unit
    kept = [references[position] for position in combined.kept]
    return replace(
        identity,
        z=combined.z,
        references=vectors[list(combined.kept)],
        embeddings=combined.embeddings,
        crops=torch.stack([reference.crop for reference in kept]),
        attributes=tuple(reference.attributes for reference in kept),
        space=recognition.space,
    )


def _portrait(pictures: Pictures, best: Reference | None) -> Tensor:
    """Stand-In's picture of a reference, over white where its background is known; None: of the first picture whole.

    Raises InputError where the foreground leaves out the reference's face.
    """
    if best is None:
        return cut_portrait(pictures.on_white(0), None)
    _require_face_in_foreground(pictures, best)
    return cut_portrait(pictures.on_white(best.index), best.face.box if best.face else None)


def _require_face_in_foreground(pictures: Pictures, best: Reference) -> None:
    opacity = pictures.opacity[best.index]  # h w
    if opacity is None:
        return
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
