"""What IdentityEncode tells about a run, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .combine import Combined, Verdict
from .encode import Embeddings
from .faces import Face
from .gather import Reference, Sighting
from .images import Pictures
from .quality import warnings
from .record import PORTRAIT_PX, Identity

WITHOUT_VECTORS = "this identity has no vectors"


def describe(
    identity: Identity,
    pictures: Pictures,
    sightings: Sequence[Sighting],
    references: Sequence[Reference],
    embeddings: Embeddings,
    combined: Combined,
    *,
    encoder: str,
    source: str,
    way: str,
) -> str:
    """The report of an identity that was made of faces."""
    best = references[combined.best]
    lines = [
        f"encoder: {identity.space.name} ({encoder}), sha256 {identity.space.sha256[:12]}",
        f"faces: {source}",
        *sampling_lines(pictures),
        *(line for sighting in sightings for line in sighting_lines(sighting)),
        *(
            reference_line(reference, norm, verdict, references)
            for reference, norm, verdict in zip(references, embeddings.norms, combined.verdicts, strict=True)
        ),
        combine_line(way, len(combined.kept), len(references), best.number),
        portrait_line(pictures, best),
    ]
    return "\n".join(lines)


def describe_picture(pictures: Pictures) -> str:
    """The report of an identity without a face."""
    lines = [
        f"no face was looked for: {WITHOUT_VECTORS}, and only Stand-In can use it",
        *sampling_lines(pictures),
        f"portrait: image {pictures.numbers[0]} whole, {PORTRAIT_PX} px, {background_words(pictures)}",
    ]
    return "\n".join(lines)


def describe_portrait(
    pictures: Pictures, sightings: Sequence[Sighting], references: Sequence[Reference], best: Reference, *, source: str
) -> str:
    """The report of an identity of the face of ``best`` without a recogniser."""
    lines = [
        f"no recogniser: {WITHOUT_VECTORS}; Stand-In can use it, and Lynx's reference layers alone",
        f"faces: {source}",
        *sampling_lines(pictures),
        *(line for sighting in sightings for line in sighting_lines(sighting)),
        *(
            f"image {reference.number}: {', '.join((*size_and_measures(reference), quality_words(reference)))}"
            f"{warning_lines(reference)}"
            for reference in references
        ),
        f"the best of {len(references)} references is image {best.number}",
        portrait_line(pictures, best),
    ]
    return "\n".join(lines)


def sampling_lines(pictures: Pictures) -> Iterator[str]:
    """Which pictures of a long batch were looked at."""
    if len(pictures.numbers) < pictures.total:
        numbers = ", ".join(map(str, pictures.numbers))
        yield f"sampled evenly: {len(pictures.numbers)} of {pictures.total} images, these: {numbers}"


def sighting_lines(sighting: Sighting) -> Iterator[str]:
    """The faces in one picture where there is something to choose, and why it is left out."""
    if len(sighting.faces) > 1:
        boxes = "; ".join(f"{index}: {box_words(face)}" for index, face in enumerate(sighting.faces))
        taken = "" if sighting.chosen is None else f"; {sighting.chosen} is taken"
        yield f"image {sighting.number}: {len(sighting.faces)} faces from left to right, {boxes}{taken}"
    if sighting.problem:
        yield f"image {sighting.number}: left out, {sighting.problem}"


def box_words(face: Face) -> str:
    """A box in whole pixels: left, top, right, bottom; and the detector's score."""
    score = "" if face.score is None else f" (score {face.score:.2f})"
    return " ".join(f"{side:.0f}" for side in face.box) + score


def reference_line(reference: Reference, norm: float, verdict: Verdict, references: Sequence[Reference]) -> str:
    """One reference: size, what was measured, how it agrees, and what speaks against it."""
    told = size_and_measures(reference)
    if verdict.cos is not None and verdict.same_as is None:
        told.append(f"cos {verdict.cos:.3f} to the mean of the others")
    told += [f"embedding length {norm:.2f}", quality_words(reference)]
    line = f"image {reference.number}: {', '.join(told)}"
    if verdict.same_as is not None:
        twin = references[verdict.same_as].number
        line += f"; left out: it repeats image {twin} (cos {verdict.cos:.3f}), which counts once"
    elif not verdict.kept:
        line += "; left out: it shows another person"
    return line + warning_lines(reference)


def size_and_measures(reference: Reference) -> list[str]:
    """How large a face is, and what was measured on it."""
    return [f"face {reference.face_px:.0f} px", *measured(reference.face)]


def quality_words(reference: Reference) -> str:
    """The quality of a reference."""
    return f"quality {reference.quality.total:.2f}"


def warning_lines(reference: Reference) -> str:
    """What speaks against a reference, each on a line of its own that begins with the line break."""
    return "".join(f"\n  warning: {warning}" for warning in warnings(reference.face, reference.face_px))


def measured(face: Face | None) -> Iterator[str]:
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


def combine_line(way: str, kept: int, total: int, best: int) -> str:
    """How the references became one."""
    words = {
        "mean": "the mean of their vectors",
        "best": f"the vector of image {best} alone",
        "tokens": "all vectors side by side",
    }
    return f"combined: {kept} of {total} references, {words[way]}; the best is image {best}"


def portrait_line(pictures: Pictures, best: Reference) -> str:
    """Where the pictures for Lynx and Stand-In come from."""
    if best.face is None:
        return (
            f"portrait: the aligned crop of image {best.number} itself, which is narrow; no reference crop for Lynx "
            "ref layers. Give the whole picture for both."
        )
    return f"portrait and reference crop: from image {best.number}, {background_words(pictures)}"


def background_words(pictures: Pictures) -> str:
    """What became of the background of the portrait."""
    if pictures.opacity is None:
        return "with its background: Stand-In expects white, so link a mask of the person to foreground"
    return "its background white"
