"""Which of the faces that were followed through a shot is which character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .tracking import Sighting, Track, direction, match_above

NO_LIKENESS = -1.0  # the least cosine there is


@dataclass(frozen=True, slots=True, eq=False)
class CastShot:
    """Who is who in one shot."""

    characters: tuple[tuple[Sighting | None, ...], ...]  # of each character: its face in each frame looked at
    others: tuple[Track, ...]  # faces that are nobody of the cast


def cast_shot(
    tracks: Sequence[Track], cast: Sequence[Tensor | None], frames: int, *, same_cos: float, all_expected: bool
) -> CastShot:
    """Gives tracks to characters (unit vectors d; None: whoever is most in the picture), none to two of them.

    First those that are alike, by the greatest total, over all frames, of what cosines are above ``same_cos``. With
    ``all_expected`` a character that is left gets the most prominent face that is left, alike or not: it is the one
    that is meant. At last every face that is left goes to the character that it is like and that is not in any of its
    frames already; what a character was given in this shot counts as it.
    """
    given: list[list[Track]] = [[] for _ in cast]
    free = list(tracks)
    alike = [[len(track.sightings) * (_likeness(track, one, []) - same_cos) for track in free] for one in cast]
    _give(alike, free, given)
    if all_expected:
        _give([[track.prominence * (2 + _likeness(track, one, [])) for track in free] for one in cast], free, given)
    for track in sorted(free, key=lambda track: -len(track.sightings)):
        cosines = [_likeness(track, one, held) for one, held in zip(cast, given, strict=True)]
        best = max(range(len(cast)), key=lambda index: cosines[index], default=None)
        if best is not None and cosines[best] >= same_cos:
            given[best].append(track)
            free.remove(track)
    return CastShot(tuple(_by_frame(held, frames) for held in given), tuple(free))


def _give(scores: list[list[float]], free: list[Track], given: list[list[Track]]) -> None:
    """Moves the tracks (columns) of the greatest total score to characters (rows) that have none, where it is above 0.

    ``free`` loses them and ``given`` gets them.
    """
    open_rows = [row for row, held in enumerate(given) if not held]
    pairs = match_above([scores[row] for row in open_rows], 0.0)
    for place, column in pairs:
        given[open_rows[place]].append(free[column])
    taken = {column for _, column in pairs}
    free[:] = [track for column, track in enumerate(free) if column not in taken]


def _likeness(track: Track, vector: Tensor | None, held: Sequence[Track]) -> float:
    """The cosine of a track to a character or to what it has in this shot already; -1 where both are in one frame."""
    if any(track.positions & other.positions for other in held):
        return NO_LIKENESS
    known = [direction([sighting.vector for other in held for sighting in other.sightings])] if held else []
    if vector is not None:
        known.append(vector)
    return max((float(track.vector @ one) for one in known), default=NO_LIKENESS)


def _by_frame(held: Sequence[Track], frames: int) -> tuple[Sighting | None, ...]:
    seen = {sighting.position: sighting for track in held for sighting in track.sightings}
    return tuple(seen.get(position) for position in range(frames))
