from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import pytest
import torch

from wan_core.identity.likeness.published import Instruments, PublishedScore
from wan_core.identity.likeness.vistory import (
    PUBLISHED,
    CastMember,
    CharacterScore,
    Features,
    StoryScore,
    StoryShot,
    score_story,
)

Vectors = Mapping[str, Sequence[float]]  # of one face, by recogniser; empty: no face
Photos = tuple[list[Vectors], Vectors]  # of one character: its references, and the first one's mirror image
Shot = tuple[list[int], list[Vectors]]  # who should be there, and what was found


def u(degrees: float) -> list[float]:
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def alike(one: Vectors, other: Vectors) -> float | None:
    cosines = []
    for name in one:
        if name in other:
            a, b = np.array(one[name]), np.array(other[name])
            cosines.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    return sum(cosines) / len(cosines) if cosines else None


# What the script computes, written down slowly


def average(values: list[float], otherwise: float = 0.0) -> float:
    return sum(values) / len(values) if values else otherwise


def found_boxes(cast: list[Photos], expected: list[int], boxes: list[Vectors]) -> list[tuple[int, Vectors]]:
    """Every way to give boxes to characters is tried; None stands for no box."""
    table = [[max(alike(box, r) or 0.0 for r in cast[c][0]) if box else -1e6 for box in boxes] for c in expected]
    places = [*range(len(boxes)), *[None] * max(len(expected) - len(boxes), 0)]
    ways = (way for way in permutations(places, len(expected)))
    best = max(ways, key=lambda way: sum(table[row][box] for row, box in enumerate(way) if box is not None))
    return [(c, boxes[box]) for c, box in zip(expected, best, strict=True) if box is not None and boxes[box]]


def as_written_down(cast: list[Photos], shots: list[Shot]) -> dict[str, list[float]]:
    """By measure: the value of each character, then that of the story."""
    crops: list[list[Vectors]] = [[] for _ in cast]
    occm = []
    for expected, boxes in shots:
        if expected:
            occm.append(100 * math.exp(-abs(len(boxes) - len(expected)) / (1e-6 + len(expected))))
            for character, box in found_boxes(cast, expected, boxes):
                crops[character].append(box)
    cross, own, copying = [], [], []
    for (references, mirrored), mine in zip(cast, crops, strict=True):
        cross.append(average([alike(crop, r) or 0.0 for crop in mine for r in references]))
        pairs = [alike(mine[i], mine[j]) or 0.0 for i in range(len(mine)) for j in range(i + 1, len(mine))]
        own.append(average(pairs, otherwise=1.0 if mine else 0.0))
        rates = []
        for crop in mine:
            straight, turned = (
                math.exp((alike(crop, r) or 0.0) / 0.01) for r in (references[0], mirrored or references[0])
            )
            rates.append(straight / (straight + turned))
        copying += [average(rates)] if mine else []
    measures = {"cross": cross, "own": own, "copying": copying, "occm": occm}
    return {name: [*values, average(values)] for name, values in measures.items()} | {"occm": [average(occm)]}


def measured(cast: list[Photos], shots: list[Shot]) -> StoryScore:
    def features(face: Vectors) -> Features:
        return {name: torch.tensor(vector, dtype=torch.float64) for name, vector in face.items()}

    members = [CastMember(tuple(map(features, references)), features(mirrored)) for references, mirrored in cast]
    return score_story(members, [StoryShot(tuple(who), tuple(map(features, boxes))) for who, boxes in shots], PUBLISHED)


def published(story: StoryScore) -> dict[str, list[float]]:
    characters = story.characters
    return {
        "cross": [one.cross.published for one in characters] + [story.cross.published],
        "own": [one.own.published for one in characters] + [story.own.published],
        "copying": [one.copying.published for one in characters if one.copying] + [story.copying.published],
        "occm": [story.occm.published],
    }


def random_story(draw: np.random.Generator) -> tuple[list[Photos], list[Shot]]:
    """Characters with one to three photos, and shots with up to five boxes, some of them without a face."""
    people = draw.normal(size=(draw.integers(1, 5), 3, 4))

    def face(spread: float, without: float = 0.1) -> Vectors:
        person, noise = people[draw.integers(len(people))], draw.normal(size=(3, 4)) * spread
        seen = draw.random(3) < 0.85 * (draw.random() > without)
        return {name: (person[k] + noise[k]).tolist() for k, name in enumerate("abc") if seen[k]}

    def photos() -> Photos:
        references = [face(0.3, 0) or {"a": [1.0, 0, 0, 0]} for _ in range(draw.integers(1, 4))]
        turned = {name: (vector + draw.normal(size=4) * 0.02).tolist() for name, vector in references[0].items()}
        return references, turned if draw.random() < 0.85 else {}

    cast = [photos() for _ in people]
    counts = draw.integers(0, (len(cast) + 1, 6), size=(draw.integers(0, 7), 2))
    return cast, [
        (draw.permutation(len(cast))[:who].tolist(), [face(draw.uniform(0.1, 2)) for _ in range(boxes)])
        for who, boxes in counts
    ]


def test_the_scores_are_those_that_the_script_computes() -> None:
    for seed in range(1000):
        cast, shots = random_story(np.random.default_rng(seed))
        found, wanted = published(measured(cast, shots)), as_written_down(cast, shots)
        assert found == {name: pytest.approx(values, abs=1e-9) for name, values in wanted.items()}


# Worked examples


def scores(*each: PublishedScore) -> list[float | None]:
    return [value for score in each for value in (score.published, score.corrected)]


def person(*degrees: float, mirrored: float | None = None) -> Photos:
    return [{"a": u(each)} for each in degrees], {} if mirrored is None else {"a": u(mirrored)}


def only(story: StoryScore) -> CharacterScore:
    (character,) = story.characters
    return character


def test_who_is_who_is_the_greatest_total_not_the_greatest_first() -> None:
    # the cosines of two boxes to two characters are [[.70, .65], [.60, .10]]
    cast: list[Photos] = [([{"a": [1.0, 0, 0, 0]}], {}), ([{"a": [0, 1.0, 0, 0]}], {})]
    boxes = [{"a": [0.70, 0.60, math.sqrt(1 - 0.85), 0]}, {"a": [0.65, 0.10, 0, math.sqrt(1 - 0.4325)]}]
    story = measured(cast, [([0, 1], boxes)])
    assert [one.cross.published for one in story.characters] == pytest.approx([0.65, 0.60])


def test_a_character_is_as_like_itself_as_its_pairs_are() -> None:
    shots: list[Shot] = [([0], [{"a": u(degrees)}]) for degrees in (0, 30, 60)]
    character = only(measured([person(0)], shots))
    assert scores(character.own) == pytest.approx([0.7440, 0.7440], abs=5e-5)
    assert character.cross.published == pytest.approx((1 + math.cos(math.pi / 6) + 0.5) / 3)


def test_what_was_not_measured_is_none_beside_what_the_script_says() -> None:
    story = measured([person(0, mirrored=40), person(90)], [([0, 1], [{"a": u(0)}])])
    once, never = story.characters
    assert once.copying is not None and never.copying is None
    assert scores(once.cross, once.own, once.copying) == pytest.approx([1, 1, 1, None, 1, 1])
    assert scores(never.cross, never.own) == [0, None, 0, None]
    assert scores(story.cross, story.own, story.copying) == pytest.approx([0.5, 1, 0.5, None, 1, 1])
    nobody = measured([person(0)], [([0], [{}])])
    assert scores(nobody.cross, nobody.own, nobody.copying) == [0, None] * 3
    assert scores(measured([person(0)], [([], [{"a": u(0)}])]).occm) == [0, None]


def test_faces_without_a_recogniser_in_common_count_as_0_and_are_not_measured() -> None:
    shots: list[Shot] = [([0], [{"a": u(60)}]), ([0], [{"b": u(0)}]), ([0], [{"a": u(60), "b": u(0)}])]
    character = only(measured([([{"a": u(0)}], {"a": u(1)})], shots))
    assert scores(character.cross, character.own) == pytest.approx([1 / 3, 0.5, 2 / 3, 1])
    rate = 1 / (1 + math.exp((math.cos(math.radians(59)) - 0.5) / 0.01))
    assert character.copying is not None
    assert scores(character.copying) == pytest.approx([(2 * rate + 0.5) / 3, rate])


def test_a_photo_whose_mirror_image_shows_no_face_is_taken_for_it() -> None:
    character = only(measured([person(0)], [([0], [{"a": u(0)}])]))
    assert character.copying is not None and scores(character.copying) == [0.5, None]


@pytest.mark.parametrize(
    ("expected", "found", "wanted"), [(2, 3, 60.653), (2, 0, 36.788), (1, 5, 1.832), (1, 1, 100), (3, 3, 100)]
)
def test_the_count_of_people_is_scored(expected: int, found: int, wanted: float) -> None:
    cast = [person(90 * index) for index in range(expected)]
    occm = measured(cast, [([*range(expected)], [{"a": u(0)}] * found)]).occm
    assert scores(occm) == pytest.approx([wanted, wanted], abs=5e-4)


def test_the_name_is_claimed_only_with_the_published_networks() -> None:
    story = score_story([], [], PUBLISHED)
    assert story.cross.protocol.startswith(
        "ViStoryBench CIDS: one picture a shot, Hungarian matching without a threshold"
    )
    other = score_story([], [], Instruments("mediapipe", ("IR-SE50",))).cross.protocol
    assert other.startswith("not ViStoryBench CIDS, but by its rules with other networks: one picture a shot")
    assert other.endswith("; mediapipe; IR-SE50")
