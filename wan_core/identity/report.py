"""What is told about how an identity came about, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import printable
from .encoding import EncodeResult, Recognition
from .faces import Face
from .images import Pictures
from .record import PORTRAIT_PX
from .references import Reference
from .selection import Detections

WITHOUT_VECTORS = "this identity has no vectors"


def describe(result: EncodeResult) -> str:
    """The report of an identity."""
    pictures, best, recognition = result.pictures, result.best, result.recognition
    if best is None:
        lines = [
            f"no face was looked for: {WITHOUT_VECTORS}, and only Stand-In can use it",
            *_sampling_lines(pictures),
            f"portrait: image {pictures.numbers[0]} whole, {PORTRAIT_PX} px, {_background_words(pictures, 0)}",
        ]
        return "\n".join(lines)
    references = result.found.references
    lines = [
        _recogniser_line(recognition),
        f"faces: {printable(result.source)}",
        *_sampling_lines(pictures),
        *(line for detected in result.found.detections for line in _detection_lines(detected)),
        *(line for position in range(len(references)) for line in _reference_lines(position, references, recognition)),
        _combine_line(best, len(references), recognition),
        _portrait_line(pictures, best),
    ]
    return "\n".join(lines)


def _recogniser_line(recognition: Recognition | None) -> str:
    if recognition is None:
        return f"no recogniser: {WITHOUT_VECTORS}; Stand-In can use it, and Lynx's reference layers alone"
    space = recognition.space
    return f"encoder: {printable(space.name)} ({recognition.label}), sha256 {space.sha256[:12]}"


def _sampling_lines(pictures: Pictures) -> Iterator[str]:
    """Which pictures of a long batch were looked at."""
    if len(pictures.numbers) < pictures.total:
        numbers = ", ".join(map(str, pictures.numbers))
        yield f"sampled evenly: {len(pictures.numbers)} of {pictures.total} images, these: {numbers}"


def _detection_lines(detected: Detections) -> Iterator[str]:
    """The faces in one picture where there is something to select, and why it is left out."""
    if len(detected.faces) > 1:
        boxes = []
        for position, face in enumerate(detected.faces):
            score = "" if face.score is None else f" (score {face.score:.2f})"
            boxes.append(f"{position}: {' '.join(f'{side:.0f}' for side in face.box)}{score}")
        taken = "" if detected.selected is None else f"; {detected.selected} is taken"
        yield f"image {detected.number}: {len(detected.faces)} faces from left to right, {'; '.join(boxes)}{taken}"
    if detected.problem:
        yield f"image {detected.number}: left out, {detected.problem}"


def _reference_lines(
    position: int, references: tuple[Reference, ...], recognition: Recognition | None
) -> Iterator[str]:
    """One reference: size, what was measured, how it agrees, and on lines of their own what speaks against it."""
    reference = references[position]
    told, verdict_words = [f"face {reference.face_px:.0f} px", *_measures(reference.face)], ""
    if recognition:
        verdict = recognition.combined.verdicts[position]
        if verdict.same_as is not None:
            twin = references[verdict.same_as].number
            verdict_words = f"; left out: it repeats image {twin} (cos {verdict.cos:.3f}), which counts once"
        elif verdict.cos is not None:
            told.append(f"cos {verdict.cos:.3f} to the mean of the others")
        if verdict.same_as is None and not verdict.kept:
            verdict_words = "; left out: it shows another person"
        told.append(f"embedding length {recognition.embeddings.norms[position]:.2f}")
    told.append(f"quality {reference.quality.total:.2f}")
    yield f"image {reference.number}: {', '.join(told)}{verdict_words}"
    yield from (f"  warning: {note.text}" for note in reference.notes)


def _measures(face: Face | None) -> Iterator[str]:
    """The attributes of a face, those that something measured."""
    if face is None:
        return
    if face.score is not None:
        yield f"score {face.score:.2f}"
    if face.yaw_deg is not None and face.pitch_deg is not None:
        yield f"yaw {round(face.yaw_deg)}, pitch {round(face.pitch_deg)}"
    yield f"roll {round(face.roll_deg)} degrees"
    if face.age_years is not None:
        yield f"about {face.age_years} years"
    if face.sex is not None:
        yield f"looks {face.sex}"


def _combine_line(best: Reference, count: int, recognition: Recognition | None) -> str:
    """How the references became one."""
    if recognition is None:
        return f"the best of {count} references is image {best.number}"
    words = {
        "mean": "the mean of their vectors",
        "best": f"the vector of image {best.number} alone",
        "tokens": "all vectors side by side",
    }
    kept = len(recognition.combined.kept)
    return f"combined: {kept} of {count} references, {words[recognition.method]}; the best is image {best.number}"


def _portrait_line(pictures: Pictures, best: Reference) -> str:
    """Where the pictures for Lynx and Stand-In come from."""
    if best.face is None:
        return (
            f"portrait: the aligned crop of image {best.number} itself, which is narrow; no reference crop for Lynx "
            "ref layers. Give the whole picture for both."
        )
    return f"portrait and reference crop: from image {best.number}, {_background_words(pictures, best.index)}"


def _background_words(pictures: Pictures, index: int) -> str:
    """What became of the background of the portrait, which is of this picture."""
    if pictures.opacity[index] is None:
        return "with its background: Stand-In expects white, so link a mask of the person to foreground"
    return "its background white"
