"""How well a character was kept: within a shot, from shot to shot, and how that changes; no data is None."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from .casting import CastShot
from .copying import copy_paste, copy_rate
from .known import KnownCharacter
from .matching import cosine, direction, mean_of
from .tracking import Sighting


@dataclass(frozen=True, slots=True, eq=False)
class ShotLikeness:
    """One character in the frames of one shot that were looked at."""

    sightings: tuple[Sighting | None, ...]  # of each frame; None: no face of it
    cosines: tuple[float | None, ...]  # to the character; None: no face of it, or no character to compare with

    @property
    def found(self) -> int:
        """Frames with a face of it."""
        return sum(sighting is not None for sighting in self.sightings)

    @property
    def vector(self) -> Tensor | None:
        """The direction of its faces in this shot: d, unit."""
        vectors = [sighting.vector for sighting in self.sightings if sighting is not None]
        return direction(vectors) if vectors else None


@dataclass(frozen=True, slots=True)
class ShotPair:
    """One character in two shots."""

    shots: tuple[int, int]  # from 0, the earlier first
    cosine: float

    @property
    def gap(self) -> int:
        """How many shots later it came back."""
        return self.shots[1] - self.shots[0]


@dataclass(frozen=True, slots=True)
class Trend:
    """A least-squares line."""

    slope: float  # cosine for each shot, or for each shot of distance
    count: int  # points that it was fitted to


@dataclass(frozen=True, slots=True, eq=False)
class CharacterLikeness:
    """One character in all shots."""

    shots: tuple[ShotLikeness, ...]
    counted: tuple[int, ...]  # frames of each shot in which it is expected; 0: it is not
    copy_rate: float | None  # 1: its faces are the reference photo, 0.5: faces of their own
    copy_rate_of_photo: float | None  # CopyRate of the reference photo itself: no face of this recogniser has more
    copy_paste: float | None  # CP, 1: its faces are the first photo, -1: another photo; None: it has one photo alone
    has_character: bool  # there is somebody to compare with

    @property
    def cosines(self) -> list[float]:
        """Of all its faces to the character."""
        return [cosine for shot in self.shots for cosine in shot.cosines if cosine is not None]

    @property
    def mean(self) -> float | None:
        return mean_of(self.cosines)

    @property
    def minimum(self) -> float | None:
        return min(self.cosines, default=None)

    @property
    def found(self) -> int:
        return sum(shot.found for shot in self.shots)

    @property
    def frames(self) -> int:
        """Frames that were looked at and in which it is expected."""
        return sum(self.counted)

    @property
    def found_rate(self) -> float | None:
        """The share of these frames with a face of it."""
        return self.found / self.frames if self.frames else None

    @property
    def strict_mean(self) -> float | None:
        """The mean over all frames in which it is expected, with 0 where there is no face."""
        return math.fsum(self.cosines) / self.frames if self.frames and self.cosines else None

    @property
    def shot_means(self) -> tuple[float | None, ...]:
        """The mean of each shot."""
        return tuple(mean_of([cosine for cosine in shot.cosines if cosine is not None]) for shot in self.shots)

    @property
    def pairs(self) -> tuple[ShotPair, ...]:
        """Every two shots that it is in, by the directions of its faces there."""
        vectors = [(index, vector) for index, vector in enumerate(s.vector for s in self.shots) if vector is not None]
        return tuple(ShotPair((i, j), cosine(one, other)) for (i, one), (j, other) in combinations(vectors, 2))

    @property
    def centroid_mean(self) -> float | None:
        """The mean cosine of its shots to the normalised mean of them all; None of fewer than two."""
        vectors = [vector for vector in (shot.vector for shot in self.shots) if vector is not None]
        if len(vectors) < 2:
            return None
        centre = direction(vectors)
        return mean_of([cosine(vector, centre) for vector in vectors])

    @property
    def shot_trend(self) -> Trend | None:
        """How the likeness to the character changes from shot to shot."""
        return fit_line([(float(index), mean) for index, mean in enumerate(self.shot_means) if mean is not None])

    @property
    def gap_trend(self) -> Trend | None:
        """How the likeness of two shots changes with their distance."""
        return fit_line([(float(pair.gap), pair.cosine) for pair in self.pairs])

    @property
    def shown_cosines(self) -> tuple[tuple[float | None, ...], ...]:
        """Of each frame of each shot what is drawn: to the character, without one to the direction of all faces."""
        if self.has_character:
            return tuple(shot.cosines for shot in self.shots)
        vectors = [vector for vector in (shot.vector for shot in self.shots) if vector is not None]
        centre = direction(vectors) if vectors else None
        return tuple(
            tuple(None if seen is None or centre is None else cosine(seen.vector, centre) for seen in shot.sightings)
            for shot in self.shots
        )

    @property
    def gap_means(self) -> dict[int, tuple[float, int]]:
        """Distance of two shots -> the mean cosine of such pairs, and how many there are."""
        gaps = {gap: [pair.cosine for pair in self.pairs if pair.gap == gap] for gap in {p.gap for p in self.pairs}}
        return {gap: (math.fsum(gaps[gap]) / len(gaps[gap]), len(gaps[gap])) for gap in sorted(gaps)}


def measure(
    castings: Sequence[CastShot], index: int, known: KnownCharacter | None, *, all_expected: bool
) -> CharacterLikeness:
    """The likeness of the faces that one character has in each shot; None: a person who is compared with nobody.

    It is expected in every shot, or, not ``all_expected``, where it is seen and where nobody of the cast is.
    """
    shots = [casting.characters[index] for casting in castings]
    nobody = [not any(any(seen) for seen in casting.characters) for casting in castings]
    counted = [
        len(sightings) if all_expected or empty or any(sightings) else 0
        for sightings, empty in zip(shots, nobody, strict=True)
    ]
    likenesses = []
    for sightings in shots:
        cosines = [None if seen is None or known is None else cosine(seen.vector, known.vector) for seen in sightings]
        likenesses.append(ShotLikeness(tuple(sightings), tuple(cosines)))
    faces = [sighting.vector for sightings in shots for sighting in sightings if sighting is not None]
    copying = ceiling = pasting = None
    if known is not None:
        ceiling = copy_rate([(1.0, cosine(known.references[0], known.mirrored))])
        copying = copy_rate([(cosine(face, known.references[0]), cosine(face, known.mirrored)) for face in faces])
        pasting = copy_paste(faces, list(known.references))
    return CharacterLikeness(
        shots=tuple(likenesses),
        counted=tuple(counted),
        copy_rate=copying,
        copy_rate_of_photo=ceiling,
        copy_paste=pasting,
        has_character=known is not None,
    )


def fit_line(points: Sequence[tuple[float, float]]) -> Trend | None:
    """The least-squares line through points (x, y); None unless they have two different x."""
    if len({x for x, _ in points}) < 2:
        return None
    x_mean, y_mean = (math.fsum(values) / len(points) for values in zip(*points, strict=True))
    covariance = math.fsum((x - x_mean) * (y - y_mean) for x, y in points)
    return Trend(covariance / math.fsum((x - x_mean) ** 2 for x, _ in points), len(points))
