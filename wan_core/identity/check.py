"""From the shots of a film to how well its cast was kept in them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ..errors import inputs_renamed
from ..notes import Note
from .likeness.casting import CastShot, cast_shot
from .likeness.known import KnownCharacter, know
from .likeness.matching import mean_of
from .likeness.measures import CharacterLikeness, measure
from .likeness.modes import CheckMode, Plain, ProtocolScore, Scene, protocol_notes
from .likeness.shots import Shot
from .likeness.tracking import WatchedShot, watch
from .likeness.verdict import Limits, failures, remarks
from .recogniser import Recogniser
from .record import Identity, Space
from .sources import Detect, OnDone


@dataclass(frozen=True, slots=True, eq=False)
class CheckRequest:
    """The shots, who should be in them, and what is wanted; raises InputError for a cast that the mode cannot score."""

    shots: tuple[Shot, ...]
    identities: tuple[Identity, ...] = ()  # none: whoever is most in the picture is compared from shot to shot
    limits: Limits = field(default_factory=Limits)
    mode: CheckMode = field(default_factory=Plain)  # which frames are looked at, and what is scored beside
    all_expected: bool = True  # every character in every shot; else each in those where it is recognised
    detector: str = field(kw_only=True)  # what finds the faces, for the report and the protocol
    inputs: tuple[str, ...] = field(default=(), kw_only=True)  # of the identities; empty: characters.character_1 ...

    def __post_init__(self) -> None:
        self.mode.require_cast(len(self.identities), all_expected=self.all_expected)

    @property
    def cast(self) -> tuple[tuple[str, Identity], ...]:
        """The identities with the inputs that they came through."""
        names = self.inputs or tuple(f"characters.character_{n}" for n in range(1, len(self.identities) + 1))
        return tuple(zip(names, self.identities, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """How well the cast was kept."""

    request: CheckRequest
    space: Space  # of the recogniser that scored
    cast: tuple[KnownCharacter, ...]
    watched: tuple[WatchedShot, ...]  # of each shot
    castings: tuple[CastShot, ...]  # of each shot
    likenesses: tuple[CharacterLikeness, ...]  # of each character; of one person without characters
    scores: tuple[ProtocolScore, ...]  # of a published protocol
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


class Looks:
    """Counts the frames that were looked at, and tells how many."""

    def __init__(self, on_done: OnDone) -> None:
        self._on_done = on_done
        self._done = 0

    def one_more(self) -> None:
        self._done += 1
        self._on_done(self._done)


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
    on_frame = Looks(progress(request.mode.passes * sum(map(len, samples)))).one_more
    with scorer as eye, chip_scorer or nullcontext(eye) as chip_eye, inputs_renamed(encoder="scorer"):
        cast = tuple(know(identity, name, eye) for name, identity in request.cast)
        seen = zip(request.shots, samples, strict=True)
        watched = tuple(watch(shot, indices, find_faces, eye, on_frame) for shot, indices in seen)
        scores = request.mode.score(Scene(watched, cast, request.detector, find_faces, eye, chip_eye, on_frame))
    people = cast or (None,)
    castings = tuple(cast_shot(seen, people, same_cos=same_cos, all_expected=all_expected) for seen in watched)
    likenesses = tuple(measure(castings, index, known, all_expected=all_expected) for index, known in enumerate(people))
    return CheckResult(
        request=request,
        space=eye.space,
        cast=cast,
        watched=watched,
        castings=castings,
        likenesses=likenesses,
        scores=scores,
        failures=failures(likenesses, watched, cast, request.limits),
        notes=(*remarks(likenesses, watched, castings, cast, request.limits), *protocol_notes(scores)),
    )
