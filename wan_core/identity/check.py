"""From the shots of a film to how well its cast was kept in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count

from ..checks import checked_count, checked_number
from ..notes import Note
from .images import sample_evenly
from .likeness.cast import KnownCharacter, know_cast
from .likeness.casting import CastShot, cast_shot
from .likeness.measures import CharacterLikeness, measure
from .likeness.shots import Shot
from .likeness.tracking import WatchedShot, track_faces, watch
from .likeness.verdict import Limits, failures, remarks
from .recogniser import Recogniser
from .record import Identity, Space
from .sources import Detect, OnDone

MOST_FRAMES = 1000  # of a shot that are looked at


@dataclass(frozen=True, slots=True, eq=False)
class CheckRequest:
    """The shots, who should be in them, and what is wanted of them."""

    shots: tuple[Shot, ...]
    identities: tuple[Identity, ...] = ()  # none: whoever is most in the picture is compared from shot to shot
    limits: Limits = field(default_factory=Limits)
    detector: str = ""  # what finds the faces, for the report
    frames: int = 81  # of each shot that are looked at, evenly, at most
    all_expected: bool = True  # every character in every shot; else each in those where it is recognised

    def __post_init__(self) -> None:
        checked_count(self.frames, MOST_FRAMES, name="frames")
        for name in ("same_cos", "cross_cos", "found_rate", "copy_rate"):
            checked_number(getattr(self.limits, name), 0.0, 1.0, name=name)


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """How well the cast was kept."""

    request: CheckRequest
    space: Space  # of the recogniser that scored
    cast: tuple[KnownCharacter, ...]
    watched: tuple[WatchedShot, ...]  # of each shot
    castings: tuple[CastShot, ...]  # of each shot
    likenesses: tuple[CharacterLikeness, ...]  # of each character; of one person without characters
    failures: tuple[Note, ...]  # why it is not passed, the gravest first
    notes: tuple[Note, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


def check(
    request: CheckRequest,
    *,
    find_faces: Detect,
    scorer: AbstractContextManager[Recogniser],
    progress: Callable[[int], OnDone] = lambda total: lambda done: None,
) -> CheckResult:
    """How alike the faces in the shots are to the characters and to each other; raises InputError for unusable input.

    ``scorer`` is entered for as long as faces are recognised. ``progress`` takes the number of frames and gives what is
    told how many are done.
    """
    limits, all_expected = request.limits, request.all_expected or not request.identities
    samples = [sample_evenly(shot.frames, request.frames) for shot in request.shots]
    on_done, steps = progress(sum(map(len, samples))), count(1)
    with scorer as recogniser:
        cast = know_cast(request.identities, recogniser)
        watched = tuple(
            watch(shot, indices, find_faces, recogniser, lambda picture: on_done(next(steps)))
            for shot, indices in zip(request.shots, samples, strict=True)
        )
    people = cast or (None,)
    vectors = [None if known is None else known.vector for known in people]
    castings = []
    for seen in watched:
        tracks = track_faces(seen, limits.same_cos)
        castings.append(
            cast_shot(tracks, vectors, len(seen.indices), same_cos=limits.same_cos, all_expected=all_expected)
        )
    likenesses = tuple(measure(castings, index, known, all_expected=all_expected) for index, known in enumerate(people))
    return CheckResult(
        request=request,
        space=recogniser.space,
        cast=cast,
        watched=watched,
        castings=tuple(castings),
        likenesses=likenesses,
        failures=tuple(failures(likenesses, watched, cast, limits)),
        notes=tuple(remarks(likenesses, watched, castings, cast, limits)),
    )
