"""Which of the faces that were followed through a shot is which character."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .known import KnownCharacter
from .matching import direction, match_above
from .tracking import Sighting, Track, WatchedShot, track_faces

NO_LIKENESS = -1.0  # the least cosine there is


@dataclass(frozen=True, slots=True, eq=False)
class CastShot:
    """Who is who in one shot."""

    characters: tuple[tuple[Sighting | None, ...], ...]  # of each character: its face in each frame looked at
    others: tuple[Track, ...]  # faces that are nobody of the cast


def cast_shot(
    watched: WatchedShot, people: Sequence[KnownCharacter | None], *, same_cos: float, all_expected: bool
) -> CastShot:
    """Gives the tracks of a shot to characters (None: whoever is most in the picture), none to two of them.

    First those that are alike, by the greatest total, over all frames, of what cosines are above ``same_cos``. With
    ``all_expected`` a character that is left gets the most prominent face that is left, alike or not: it is the one
    that is meant. At last every face that is left goes to the character that it is like and that is not in any of its
    frames already; what a character was given in this shot counts as it.
    """
    cast = [None if known is None else known.vector for known in people]
    given: list[list[Track]] = [[] for _ in cast]
    free = list(track_faces(watched, same_cos))
    alike = [[len(track.sightings) * (_likeness(track, one, []) - same_cos) for track in free] for one in cast]
    _give(alike, free, given)
    if all_expected:
        _give([[track.prominence * (2 + _likeness(track, one, [])) for track in free] for one in cast], free, given)
    for track in sorted(free, key=lambda track: -len(track.sightings)):
        cosines = [_likeness(track, one, held) for one, held in zip(cast, given, strict=True)]
        if max(cosines) >= same_cos:
            given[cosines.index(max(cosines))].append(track)
            free.remove(track)
    faces = [{face.position: face for track in held for face in track.sightings} for held in given]
    return CastShot(tuple(tuple(map(seen.get, range(len(watched.indices)))) for seen in faces), tuple(free))


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
