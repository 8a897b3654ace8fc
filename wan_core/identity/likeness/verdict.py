"""Whether the cast was kept: every reason against it in words, and what to know beside the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from ...checks import checked_number
from ...notes import Note
from .casting import CastShot
from .known import KnownCharacter
from .measures import CharacterLikeness
from .tracking import WatchedShot

MOST_COS = 0.99  # that can be wanted: what is alike without any difference is one picture
GRAVEST_FIRST = ("nothing_compared", "not_seen", "unlike", "clips_differ", "drifts", "face_lost")
ANYBODY = "the person"  # who is compared from shot to shot without a character


@dataclass(frozen=True, slots=True)
class Limits:
    """What a check wants; cosines are those of the recogniser that scores: its own threshold belongs here.

    0.40 is in the middle of what is published for the ArcFace family as one person's, 0.35 to 0.45.
    """

    min_likeness: float = 0.40  # cosine to the character, on average of every shot: one person's from here on
    min_cross_clip: float = 0.40  # cosine of one character in any two shots
    min_face_found: float = 0.90  # share of the frames of every shot with its face, and with a face that is alike
    warn_copy_rate: float = 0.90  # CopyRate from which a face may be a pasted one; 1: no warning is wanted

    def __post_init__(self) -> None:
        for names, most in (
            (("min_likeness", "min_cross_clip"), MOST_COS),
            (("min_face_found", "warn_copy_rate"), 1.0),
        ):
            for name in names:
                checked_number(getattr(self, name), 0.0, most, name=name)


def name_of(index: int, cast: Sequence[KnownCharacter]) -> str:
    """What messages call a character."""
    return cast[index].label if cast else ANYBODY


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
    labels = [seen.shot.label for seen in watched]
    found = [
        note
        for index, likeness in enumerate(likenesses)
        for note in (
            *_failures_in_shots(name_of(index, cast), likeness, labels, limits),
            *_failures_between_shots(name_of(index, cast), likeness, labels, limits),
        )
    ]
    return tuple(sorted(found, key=lambda note: GRAVEST_FIRST.index(note.code)))


def _failures_in_shots(name: str, likeness: CharacterLikeness, labels: Sequence[str], limits: Limits) -> Iterator[Note]:
    """A character that is absent, unlike, unlike in too many frames or without a face in too many, of every shot."""
    rows = zip(labels, likeness.shots, likeness.counted, likeness.shot_means, likeness.shown_cosines, strict=True)
    for label, shot, counted, mean, cosines in rows:
        least, where = round(limits.min_face_found * counted, 6), f"of {counted} frames of {label}"
        below = [one for one in cosines if one is not None and one < limits.min_likeness]
        kept = shot.found - len(below)
        if counted and not shot.found:
            yield Note("not_seen", f"{name} is not seen in {label}")
        elif mean is not None and mean < limits.min_likeness:
            text = f"{name} is too unlike in {label}: likeness {mean:.3f}, wanted {limits.min_likeness:.2f}"
            yield Note("unlike", f"{text} or more")
        elif shot.found < least:
            found = f"the face of {name} was found in {shot.found} {where} ({shot.found / counted:.0%})"
            yield Note("face_lost", f"{found}, wanted {limits.min_face_found:.0%}")
        elif kept < least:
            text = f"{name} is as alike as wanted in {kept} {where} ({kept / counted:.0%}), wanted"
            yield Note("drifts", f"{text} {limits.min_face_found:.0%}; least {min(below):.3f}")


def _failures_between_shots(
    name: str, likeness: CharacterLikeness, labels: Sequence[str], limits: Limits
) -> Iterator[Note]:
    """A character that is seen nowhere, that nothing was compared with, or that differs between two shots."""
    if not likeness.frames:
        yield Note("not_seen", f"{name} is seen in no clip")
    if not likeness.has_character and not likeness.pairs:
        text = "nothing was compared: there is no character, and a face in no second clip. Connect one of them"
        yield Note("nothing_compared", text)
    worst = min(likeness.pairs, key=lambda pair: pair.cosine, default=None)
    if worst and worst.cosine < limits.min_cross_clip:
        one, other = (labels[index] for index in worst.shots)
        text = f"{name} differs between {one} and {other}: likeness {worst.cosine:.3f}, wanted "
        yield Note("clips_differ", f"{text}{limits.min_cross_clip:.2f} or more")


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
    for one, other in combinations(cast, 2):
        if one.references.shape == other.references.shape and bool((one.references == other.references).all()):
            text = f"{one.label} and {other.label} are one identity, of whom a frame has one face: connect it once"
            notes.append(Note("connected_twice", text))
    for seen, casting in zip(watched, shots, strict=True):
        others = {position for track in casting.others for position in track.positions}
        if others:
            text = (
                f"{seen.shot.label} shows a face that is nobody's of the cast in {len(others)} of {len(seen.indices)}"
            )
            notes.append(Note("other_faces", f"{text} frames"))
        if seen.unusable:
            text = f"{seen.unusable} faces in {seen.shot.label} are too small or turned too far to be recognised"
            notes.append(Note("unusable_faces", text))
    return tuple(notes)


def _remarks_on(name: str, known: KnownCharacter, likeness: CharacterLikeness, limits: Limits) -> Iterator[Note]:
    if known.conditioned:
        text = f"{name} was made with the recogniser that scores it, which flatters: score with another one"
        yield Note("same_recogniser", text)
    rate, of_photo = likeness.copy_rate, likeness.copy_rate_of_photo
    least_rate, is_asked = limits.warn_copy_rate, limits.warn_copy_rate < 1.0
    if is_asked and of_photo is not None and of_photo < least_rate:
        text = f"this recogniser cannot tell whether the face of {name} was pasted: CopyRate of its photo itself is"
        yield Note("copying_unknown", f"{text} {of_photo:.2f}, of a face of its own 0.50")
    elif is_asked and rate is not None and rate >= least_rate and (likeness.mean or 0.0) >= limits.min_likeness:
        text = f"the faces of {name} may be its reference photo pasted in: CopyRate {rate:.2f}"
        yield Note("copied_face", f"{text}, where 0.50 is a face of its own")
    below = [cosine for cosine in likeness.cosines if cosine < limits.min_likeness]
    if below:
        text = f"{name} is less alike than wanted in {len(below)} of {likeness.found} frames with its face"
        yield Note("unlike_frames", f"{text}, least {min(below):.3f}")
