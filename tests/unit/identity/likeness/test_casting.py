"""Who is who in a shot: against every possible assignment, and in the cases that a film has."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from tests.unit.identity.planted import direction_at, sighting, watched
from wan_core.identity.likeness.casting import CastShot, cast_shot
from wan_core.identity.likeness.known import KnownCharacter
from wan_core.identity.likeness.tracking import track_faces

SAME_COS = 0.4


def known(vector: Tensor) -> KnownCharacter:
    return KnownCharacter(
        "character 1", vector, vector[None], vector, torch.zeros(112, 112, 3), None, conditioned=False
    )


def cast(frames: list[list[tuple[float, float]]], *people: float | None, all_expected: bool = True) -> CastShot:
    """Who is who of faces (x, degrees) in frames; people by their degrees."""
    seen = watched(*[[sighting(i, x, direction_at(degrees)) for x, degrees in frame] for i, frame in enumerate(frames)])
    characters = [None if degrees is None else known(direction_at(degrees)) for degrees in people]
    return cast_shot(seen, characters, same_cos=SAME_COS, all_expected=all_expected)


def places(casting: CastShot) -> list[list[int | None]]:
    """Of each character where its face is in each frame."""
    return [[None if one is None else round(one.face.centre.real) for one in row] for row in casting.characters]


HERE, THERE = 60, 180
CASES = {  # name: frames, people, all expected, where each is found, faces of nobody
    "two people": ([[(HERE, 0), (THERE, 90)]] * 3, (95, 5), True, [[THERE] * 3, [HERE] * 3], 0),
    "a passer-by": ([[(HERE, 0), (THERE, 90)]] * 3, (0,), True, [[HERE] * 3], 1),
    "one who is not alike": ([[(HERE, 100)]] * 3, (0,), True, [[HERE] * 3], 0),
    "one who is not alike, and need not be there": ([[(HERE, 100)]] * 3, (0,), False, [[None] * 3], 1),
    "one of two missing": ([[(HERE, 0)]] * 3, (0, 90), True, [[HERE] * 3, [None] * 3], 0),
    "one replaced, the other there": ([[(HERE, 0), (THERE, 180)]] * 3, (0, 90), True, [[HERE] * 3, [THERE] * 3], 0),
    "gone and back": ([[(HERE, 0)], [], [], [], [(THERE, 10)]], (0,), True, [[HERE, None, None, None, THERE]], 0),
    "replaced on the way": ([[(HERE, 0)], [(HERE, 0)], [(HERE, 170)]], (0,), True, [[HERE, HERE, None]], 1),
    "a stranger, gone and back": (
        [[(HERE, 100)], [], [], [], [(THERE, 110)]],
        (0,),
        True,
        [[HERE, *[None] * 3, THERE]],
        0,
    ),
    "twins at once": ([[(HERE, 0), (THERE, 10)]] * 2, (0,), True, [[HERE] * 2], 1),
    "one who flashes up": ([[(HERE, 50)]] * 7 + [[(HERE, 50), (THERE, 0)]], (0,), True, [[HERE] * 8], 1),
    "nobody": ([[], []], (0,), True, [[None, None]], 0),
    "whoever is there": ([[(HERE, 100)]] * 2, (None,), True, [[HERE] * 2], 0),
}


@pytest.mark.parametrize(("frames", "people", "all_expected", "found", "others"), CASES.values(), ids=CASES)
def test_who_is_who(
    frames: list[list[tuple[float, float]]],
    people: tuple[float | None, ...],
    all_expected: bool,
    found: list[list[int | None]],
    others: int,
) -> None:
    casting = cast(frames, *people, all_expected=all_expected)
    assert (places(casting), len(casting.others)) == (found, others)


def test_without_a_character_the_most_prominent_face_is_meant() -> None:
    frames = [[sighting(i, HERE, direction_at(0), 30.0), sighting(i, THERE, direction_at(90), 50.0)] for i in range(3)]
    assert places(cast_shot(watched(*frames), [None], same_cos=SAME_COS, all_expected=True)) == [[THERE] * 3]


@pytest.mark.parametrize("seed", range(40))
def test_the_total_of_what_is_above_the_threshold_is_the_greatest_of_all_assignments(seed: int) -> None:
    """Every permutation of up to four faces over up to three characters is tried."""
    generator = torch.Generator().manual_seed(seed)
    faces, people = (int(torch.randint(1, most, (1,), generator=generator)) for most in (5, 4))
    vectors = torch.nn.functional.normalize(torch.randn(faces + people, 3, generator=generator), dim=1)
    frames = [[sighting(i, 60.0 * face, vectors[face]) for face in range(faces)] for i in range(2)]
    characters = [known(vector) for vector in vectors[faces:]]
    casting = cast_shot(watched(*frames), characters, same_cos=SAME_COS, all_expected=False)
    tracks = track_faces(watched(*frames), SAME_COS)
    above = [[2 * max(float(t.vector @ one.vector) - SAME_COS, 0.0) for t in tracks] for one in characters]
    slots = [*range(len(tracks)), *[None] * people]
    best = max(
        sum(above[row][column] for row, column in enumerate(choice) if column is not None)
        for choice in set(permutations(slots, people))
    )
    total = sum(
        float(one.vector @ character.vector) - SAME_COS
        for row, character in zip(casting.characters, characters, strict=True)
        for one in row
        if one is not None
    )
    assert total == pytest.approx(best, abs=1e-5)
    given = [id(one) for row in casting.characters for one in row if one is not None]
    spare = [id(one) for track in casting.others for one in track.sightings]
    assert len(set(given + spare)) == len(given + spare) == 2 * faces
