"""The numbers of one character over several shots, against numpy and the worked examples of published protocols."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from tests.unit.identity.likeness.test_casting import known
from tests.unit.identity.planted import cos_deg, direction_at, sighting
from wan_core.identity.likeness.casting import CastShot
from wan_core.identity.likeness.measures import CharacterLikeness, fit_line, measure


def measured(*shots: list[float | None], to: float | None = 0.0, all_expected: bool = True) -> CharacterLikeness:
    """A character whose face points there in each frame of each shot; None: it is not in it."""
    castings = [
        CastShot(
            (tuple(None if one is None else sighting(i, 60, direction_at(one)) for i, one in enumerate(shot)),), ()
        )
        for shot in shots
    ]
    return measure(castings, 0, None if to is None else known(direction_at(to)), all_expected=all_expected)


def test_shots_at_0_30_and_60_degrees_have_the_numbers_of_the_published_example() -> None:
    likeness = measured([0.0], [30.0], [60.0])
    cosines = [pair.cosine for pair in likeness.pairs]
    assert sum(cosines) / 3 == pytest.approx(0.7440, abs=5e-5)
    assert min(cosines) == pytest.approx(0.5)
    assert likeness.centroid_mean == pytest.approx(0.9107, abs=5e-5)


def test_the_recurrence_gap_is_the_distance_of_the_shots() -> None:
    likeness = measured([0.0], [30.0], [None], [None], [60.0])
    assert {pair.gap: round(pair.cosine, 3) for pair in likeness.pairs} == {1: 0.866, 3: 0.866, 4: 0.5}
    assert likeness.gap_means == {
        gap: (pytest.approx(cos), 1) for gap, cos in ((1, 3**0.5 / 2), (3, 3**0.5 / 2), (4, 0.5))
    }


@pytest.mark.parametrize("seed", range(30))
def test_every_number_is_numpys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shots = [
        [None if rng.random() < 0.3 else float(rng.uniform(-60, 60)) for _ in range(rng.integers(1, 6))]
        for _ in range(rng.integers(1, 6))
    ]
    likeness = measured(*shots)
    cosines = [[cos_deg(one) for one in shot if one is not None] for shot in shots]
    pooled, frames = sum(cosines, []), sum(map(len, shots))
    assert likeness.frames == frames and likeness.found == len(pooled)
    assert likeness.found_rate == pytest.approx(len(pooled) / frames)
    if not pooled:
        assert (likeness.mean, likeness.minimum, likeness.strict_mean, likeness.copy_rate) == (None,) * 4
        return
    assert likeness.mean == pytest.approx(np.mean(pooled), abs=1e-6)
    assert likeness.minimum == pytest.approx(min(pooled), abs=1e-6)
    assert likeness.strict_mean == pytest.approx(np.sum(pooled) / frames, abs=1e-6)
    assert likeness.copy_rate == pytest.approx(0.5)  # the reference is its own mirror image here
    vectors = {
        index: np.mean([[np.cos(np.radians(a)), np.sin(np.radians(a))] for a in shot if a is not None], axis=0)
        for index, shot in enumerate(shots)
        if any(a is not None for a in shot)
    }
    unit = {index: vector / np.linalg.norm(vector) for index, vector in vectors.items()}
    pairs = [(j - i, unit[i] @ unit[j]) for i, j in combinations(unit, 2)]
    assert [(pair.gap, pair.cosine) for pair in likeness.pairs] == [
        (gap, pytest.approx(cosine, abs=1e-6)) for gap, cosine in pairs
    ]
    means = [(index, np.mean(one)) for index, one in enumerate(cosines) if one]
    for trend, points in ((likeness.shot_trend, means), (likeness.gap_trend, pairs)):
        if len({x for x, _ in points}) < 2:
            assert trend is None
        else:
            assert trend.count == len(points)
            assert trend.slope == pytest.approx(np.polyfit(*zip(*points, strict=True), 1)[0], abs=1e-6)


def test_a_known_drift_has_its_slope() -> None:
    drift = [0.9 - 0.05 * number for number in range(5)]
    likeness = measured(*[[math.degrees(math.acos(cos))] * 3 for cos in drift])
    assert likeness.shot_trend.slope == pytest.approx(-0.05, abs=1e-6)
    assert likeness.shot_means == pytest.approx(drift, abs=1e-6)


def test_no_data_is_none() -> None:
    lost, alone = measured([None, None]), measured([0.0])
    assert (lost.mean, lost.minimum, lost.strict_mean, lost.copy_rate, lost.centroid_mean) == (None,) * 5
    assert (lost.found_rate, lost.shot_means, lost.pairs, lost.shot_trend, lost.gap_trend) == (
        0.0,
        (None,),
        (),
        None,
        None,
    )
    assert (alone.pairs, alone.centroid_mean, alone.shot_trend, alone.gap_trend, alone.gap_means) == (
        (),
        None,
        None,
        None,
        {},
    )
    assert fit_line([]) is fit_line([(1.0, 2.0)]) is fit_line([(1.0, 2.0), (1.0, 3.0)]) is None


def test_without_a_character_faces_are_compared_with_what_they_are_on_average() -> None:
    likeness = measured([0.0, None], [60.0, 60.0], to=None)
    assert (likeness.mean, likeness.strict_mean, likeness.copy_rate) == (None,) * 3
    assert likeness.shown_cosines == (
        (pytest.approx(cos_deg(30)), None),
        (pytest.approx(cos_deg(30)), pytest.approx(cos_deg(30))),
    )
    assert measured([0.0, None]).shown_cosines == ((1.0, None),)


def test_a_character_is_expected_where_it_is_seen_and_where_nobody_is() -> None:
    """Shots: the first alone, the second alone, nobody."""
    face = sighting(0, 60, direction_at(0))
    castings = [CastShot(rows, ()) for rows in (((face,), (None,)), ((None,), (face,)), ((None,), (None,)))]
    counted = [measure(castings, index, known(direction_at(0)), all_expected=False).counted for index in (0, 1)]
    assert counted == [(1, 0, 1), (0, 1, 1)]
    assert measure(castings, 0, known(direction_at(0)), all_expected=True).counted == (1, 1, 1)


def test_a_face_that_is_the_photo_and_not_its_mirror_image_is_a_copy() -> None:
    one = known(direction_at(0))
    mirrored = type(one)(one.label, one.vector, one.references, direction_at(12), one.crop, None, conditioned=False)
    castings = [CastShot(((sighting(0, 60, direction_at(0)), sighting(1, 60, direction_at(6))),), ())]
    copied = 1 / (1 + math.exp((cos_deg(12) - 1) / 0.01))
    assert measure(castings, 0, mirrored, all_expected=True).copy_rate == pytest.approx((copied + 0.5) / 2, abs=1e-4)
    assert torch.equal(mirrored.references[0], one.vector)


def test_a_face_that_is_the_first_of_two_photos_is_a_copy() -> None:
    one = known(direction_at(0))
    photos = replace(one, references=torch.stack((direction_at(0), direction_at(60))))
    for degrees, pasted in ((0, 1), (15, 0.5), (60, -1)):
        castings = [CastShot(((sighting(0, 60, direction_at(degrees)),),), ())]
        likeness = measure(castings, 0, photos, all_expected=True)
        assert likeness.copy_paste == pytest.approx(pasted, abs=5e-3)
        assert measure(castings, 0, one, all_expected=True).copy_paste is None
