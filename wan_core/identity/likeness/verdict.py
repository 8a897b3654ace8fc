"""Whether the cast was kept: every reason against it in words, and what to know beside the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from ...checks import checked_number
from ...notes import Note
from .cast import KnownCharacter
from .casting import CastShot
from .measures import CharacterLikeness
from .tracking import WatchedShot

HIGHEST = 0.99  # limit: what is alike without any difference is one picture
GRAVEST_FIRST = ("not_seen", "another_person", "clips_differ", "face_lost")
ANYBODY = "the person"  # who is compared from shot to shot without a character


@dataclass(frozen=True, slots=True)
class Limits:
    """What a check wants; cosines are those of the recogniser that scores: its own threshold belongs here.

    0.40 is in the middle of what is published for the ArcFace family as one person's, 0.35 to 0.45.
    """

    min_likeness: float = 0.40  # mean cosine to the character in every shot; from it on two faces are one person's
    min_cross_clip: float = 0.40  # cosine of one character in any two shots
    min_face_found: float = 0.90  # share of the frames of every shot with a face of each character
    warn_copy_rate: float = 0.90  # CopyRate from which a face may be a pasted one

    def __post_init__(self) -> None:
        for limit in fields(self):
            checked_number(getattr(self, limit.name), 0.0, HIGHEST, name=limit.name)


def name_of(index: int, cast: Sequence[KnownCharacter]) -> str:
    """What messages call a character."""
    return f"character {index + 1}" if cast else ANYBODY


def failures(
    likenesses: Sequence[CharacterLikeness],
    watched: Sequence[WatchedShot],
    cast: Sequence[KnownCharacter],
    limits: Limits,
) -> tuple[Note, ...]:
    """Every reason why the check is not passed, the gravest first."""
    if not any(sightings for shot in watched for sightings in shot.sightings):
        text = "no face that can be recognised was found in any of the frames: nothing was measured"
        return (Note("no_face", text),)
    names = [name_of(index, cast) for index in range(len(likenesses))]
    every = [note for name, one in zip(names, likenesses, strict=True) for note in _failures_of(name, one, limits)]
    return tuple(sorted(every, key=lambda note: GRAVEST_FIRST.index(note.code)))


def _failures_of(name: str, likeness: CharacterLikeness, limits: Limits) -> Iterator[Note]:
    for number, (shot, counted, mean) in enumerate(
        zip(likeness.shots, likeness.counted, likeness.shot_means, strict=True), start=1
    ):
        if counted and not shot.found:
            yield Note("not_seen", f"{name} is not seen in clip {number}")
        elif mean is not None and mean < limits.min_likeness:
            text = f"{name} is another person in clip {number}: likeness {mean:.3f}, wanted {limits.min_likeness:.2f}"
            yield Note("another_person", text)
        if counted and 0 < shot.found < limits.min_face_found * counted:
            found = f"{shot.found} of {counted} frames of clip {number} ({shot.found / counted:.0%})"
            yield Note("face_lost", f"the face of {name} was found in {found}, wanted {limits.min_face_found:.0%}")
    if not likeness.frames:
        yield Note("not_seen", f"{name} is seen in no clip")
    worst = min(likeness.pairs, key=lambda pair: pair.cosine, default=None)
    if worst and worst.cosine < limits.min_cross_clip:
        one, other = (index + 1 for index in worst.shots)
        text = f"{name} differs between clips {one} and {other}: likeness {worst.cosine:.3f}, wanted "
        yield Note("clips_differ", f"{text}{limits.min_cross_clip:.2f}")


def remarks(
    likenesses: Sequence[CharacterLikeness],
    watched: Sequence[WatchedShot],
    shots: Sequence[CastShot],
    cast: Sequence[KnownCharacter],
    limits: Limits,
) -> tuple[Note, ...]:
    """What to know beside the numbers: of the characters, then of the clips."""
    notes = [
        note
        for index, known in enumerate(cast)
        for note in _remarks_on(name_of(index, cast), known, likenesses[index], limits)
    ]
    for number, (seen, casting) in enumerate(zip(watched, shots, strict=True), start=1):
        others = {position for track in casting.others for position in track.positions}
        if others:
            text = f"clip {number} shows a face that is nobody's of the cast in {len(others)} of {len(seen.indices)}"
            notes.append(Note("other_faces", f"{text} frames"))
        if seen.unusable:
            text = f"{seen.unusable} faces in clip {number} are too small or turned too far to be recognised"
            notes.append(Note("unusable_faces", text))
    return tuple(notes)


def _remarks_on(name: str, known: KnownCharacter, likeness: CharacterLikeness, limits: Limits) -> Iterator[Note]:
    if known.conditioned:
        text = f"{name} was made with the recogniser that scores it, which flatters: score with another one"
        yield Note("same_recogniser", text)
    if likeness.copy_rate is not None and likeness.copy_rate >= limits.warn_copy_rate:
        text = f"the faces of {name} may be its reference photo pasted in: CopyRate {likeness.copy_rate:.2f}"
        yield Note("copied_face", f"{text}, where 0.50 is a face of its own")
    below = [cosine for cosine in likeness.cosines if cosine < limits.min_likeness]
    if below:
        text = f"{name} is less alike than wanted in {len(below)} of {likeness.found} frames with its face"
        yield Note("unlike_frames", f"{text}, least {min(below):.3f}")
