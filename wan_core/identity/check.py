"""From the shots of a film to how well its cast was kept in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from ..notes import Note
from .likeness.cast import KnownCharacter, know_cast
from .likeness.casting import CastShot, cast_shot
from .likeness.measures import CharacterLikeness, mean_of, measure
from .likeness.modes import CheckMode, Plain, Reading, Scene, protocol_notes
from .likeness.shots import Shot
from .likeness.tracking import WatchedShot, watch
from .likeness.verdict import Limits, failures, remarks
from .recogniser import Recogniser
from .record import Identity, Space
from .sources import Detect, OnDone


@dataclass(frozen=True, slots=True, eq=False)
class CheckRequest:
    """The shots, who should be in them, and what is wanted of them."""

    shots: tuple[Shot, ...]
    identities: tuple[Identity, ...] = ()  # none: whoever is most in the picture is compared from shot to shot
    limits: Limits = field(default_factory=Limits)
    detector: str = field(kw_only=True)  # what finds the faces, for the report and the protocol
    mode: CheckMode = field(default_factory=Plain)  # which frames are looked at, and what is scored beside
    all_expected: bool = True  # every character in every shot; else each in those where it is recognised


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """How well the cast was kept."""

    request: CheckRequest
    space: Space  # of the recogniser that scored
    cast: tuple[KnownCharacter, ...]
    watched: tuple[WatchedShot, ...]  # of each shot
    castings: tuple[CastShot, ...]  # of each shot
    likenesses: tuple[CharacterLikeness, ...]  # of each character; of one person without characters
    readings: tuple[Reading, ...]  # of a published protocol
    failures: tuple[Note, ...]  # why it is not passed, the gravest first
    notes: tuple[Note, ...]

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def mean(self) -> float | None:
        """The mean cosine to the character, of the one where it is least; without characters, between shots."""
        if not self.cast:
            return mean_of(self._pair_cosines)
        return min((likeness.mean for likeness in self.likenesses if likeness.mean is not None), default=None)

    @property
    def minimum(self) -> float | None:
        """The least of these cosines."""
        return (
            min((cosine for one in self.likenesses for cosine in one.cosines), default=None)
            if self.cast
            else min(self._pair_cosines, default=None)
        )

    @property
    def found_rate(self) -> float:
        """The share of frames with a face of a character that is expected, of the one where it is least."""
        return min(likeness.found_rate or 0.0 for likeness in self.likenesses)

    @property
    def _pair_cosines(self) -> list[float]:
        return [pair.cosine for likeness in self.likenesses for pair in likeness.pairs]


def check(
    request: CheckRequest,
    *,
    find_faces: Detect,
    scorer: AbstractContextManager[Recogniser],
    chip_scorer: AbstractContextManager[Recogniser] | None = None,
    progress: Callable[[int], OnDone] = lambda total: lambda done: None,
) -> CheckResult:
    """How alike the faces in the shots are to the characters and to each other; raises InputError for unusable input.

    ``scorer`` is entered for as long as faces are recognised, and with it ``chip_scorer``, FaceSim-Cur's; None: the
    same. ``progress`` takes the number of looks at frames and gives what is told how many are done.
    """
    same_cos, all_expected = request.limits.min_likeness, request.all_expected or not request.identities
    samples = [request.mode.sample(shot.frames) for shot in request.shots]
    looks = map(progress(request.mode.passes * sum(map(len, samples))), count(1))
    on_frame = partial(next, looks)  # tells that one more was looked at
    with scorer as recogniser, chip_scorer or nullcontext(recogniser) as chip_recogniser:
        cast = know_cast(request.identities, recogniser)
        watched = tuple(
            watch(shot, indices, find_faces, recogniser, on_frame)
            for shot, indices in zip(request.shots, samples, strict=True)
        )
        scene = Scene(watched, cast, request.detector, find_faces, recogniser, chip_recogniser, on_frame)
        readings = request.mode.read(scene)
    people = cast or (None,)
    castings = tuple(cast_shot(seen, people, same_cos=same_cos, all_expected=all_expected) for seen in watched)
    likenesses = tuple(measure(castings, index, known, all_expected=all_expected) for index, known in enumerate(people))
    return CheckResult(
        request=request,
        space=recogniser.space,
        cast=cast,
        watched=watched,
        castings=castings,
        likenesses=likenesses,
        readings=readings,
        failures=failures(likenesses, watched, cast, request.limits),
        notes=(*remarks(likenesses, watched, castings, cast, request.limits), *protocol_notes(readings)),
    )
