"""The figures of the cast's benchmark against closed forms and slow ways, and what it takes for granted."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm

from demo import world
from tests.bench.cast.episodes import PATTERN
from tests.bench.cast.experts import BOUNDARIES, EDGES, SHARES
from tests.bench.cast.figures import (
    AXES,
    Goal,
    Interval,
    bootstrap,
    cross_mean,
    frechet_distance,
    frechet_distances,
    ratio_of,
    slope_of,
)
from tests.bench.cast.jobs import Archive, JobFailed, MadeFilms, Scores, actors, shot
from tests.bench.cast.pairs import people_of
from tests.bench.cast.reader import EVERY, SEEN_FRAMES
from tests.bench.cast.studio import FACE_FILES, SCORER, VAE, Recipe

RANDOM = np.random.default_rng(3)


def test_frechet_distance_is_that_of_the_matrix_root() -> None:
    one, other = RANDOM.normal(size=(400, 6)), RANDOM.normal(1.0, 2.0, size=(300, 6)) @ RANDOM.normal(size=(6, 6))
    first, second = np.cov(one.T), np.cov(other.T)
    apart = ((one.mean(0) - other.mean(0)) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(
        apart + np.trace(first + second - 2 * sqrtm(first @ second)).real
    )


def test_frechet_distance_of_a_moved_set_is_the_square_of_the_way() -> None:
    one = RANDOM.normal(size=(40, 64))  # fewer vectors than numbers in one
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(one, one + 0.5) == pytest.approx(64 * 0.25)


def test_frechet_distances_are_of_as_many_vectors_along_the_axes_of_the_true_ones() -> None:
    true = RANDOM.normal(size=(90, 40)) @ np.diag([9.0] * AXES + [0.0] * (40 - AXES))  # in AXES dimensions
    other = RANDOM.normal(size=(120, 40))
    expected = frechet_distance(true[:, :AXES], other[np.linspace(0, 119, 90).round().astype(int), :AXES])
    assert frechet_distances(true, {"other": other}) == {"other": pytest.approx(expected)}


def test_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = RANDOM.normal(size=400)
    found = bootstrap(lambda units: float(values[units].mean()), 400)
    error = values.std() / 20
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=0.01)


def test_ratio_is_of_means_and_not_the_mean_of_ratios() -> None:
    assert ratio_of(np.array([1.0, 3.0]), np.array([1.0, 1.0])).value == 2.0
    assert ratio_of(np.array([1.0, 3.0]), np.array([1.0, 4.0])).value == pytest.approx(0.8)


def test_slope_is_found_where_shots_are_missing() -> None:
    rows = 0.7 - 0.02 * np.arange(12) + np.zeros((8, 1))
    rows[::2, 3], rows[1, 9:] = np.nan, np.nan
    found = slope_of(rows)
    assert (found.value, found.low, found.high) == pytest.approx((-0.02,) * 3)


def test_cross_mean_is_of_every_pair_of_faces_in_two_clips() -> None:
    clips = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in RANDOM.normal(size=(3, 5, 4))]
    slow = [a @ b for i, j in ((0, 1), (0, 2), (1, 2)) for a, b in product(clips[i], clips[j])]
    assert cross_mean(clips) == pytest.approx(np.mean(slow))


@pytest.mark.parametrize(
    ("side", "ends", "verdict"),
    [
        ("least", (0.98, 0.99), "at least 0.98: kept"),
        ("least", (0.97, 0.99), "at least 0.98: not decided"),
        ("most", (0.97, 0.98), "at most 0.98: kept"),
        ("most", (0.99, 1.0), "at most 0.98: **missed**"),
    ],
)
def test_goal_is_kept_when_the_whole_interval_keeps_it(side: str, ends: tuple[float, float], verdict: str) -> None:
    assert Goal(side, 0.98).verdict(Interval(0.98, *ends)) == verdict


def test_reader_is_taught_by_the_frames_that_it_reads() -> None:
    lesson = world.film(actors((3,)), shot(3), len(SEEN_FRAMES), every=EVERY)
    read = world.film(actors((3,)), shot(3)).frames[list(SEEN_FRAMES)]
    assert (lesson.frames.int() - read.int()).abs().max() <= 1  # soft edges end where the whole film's window does


def test_no_stretch_of_noise_levels_crosses_a_boundary_and_all_are_weighed() -> None:
    assert set(BOUNDARIES) < set(EDGES)
    assert sorted(EDGES) == EDGES
    assert SHARES.sum() == pytest.approx(1.0)
    # sigma = 5 u / (1 + 4 u) is above 0.875 for u from 7 / 12 on
    assert SHARES[EDGES.index(0.875) :].sum() == pytest.approx(5 / 12)


def test_episode_brings_people_back_after_up_to_eight_shots() -> None:
    places = [[place for place, role in enumerate(PATTERN) if role == one] for one in set(PATTERN)]
    assert {later - place for several in places for place, later in pairwise(several)} == {1, 2, 3, 8}


@pytest.mark.parametrize("pair", range(12))
def test_prompt_says_the_same_of_both_of_a_pair(pair: int) -> None:
    one, other = actors(people_of(pair))
    assert one.index != other.index
    assert one.sex == other.sex


def test_what_other_weights_or_another_recipe_made_is_another_file(tmp_path: Path) -> None:
    films = [MadeFilms("film", Recipe(caption, seed=0)) for caption in ("a man", "a woman")]
    names = []
    for vae in ("first", "second"):
        folder = tmp_path / vae / "models"
        folder.mkdir(parents=True)
        for name in {*films[0].weights, SCORER, *FACE_FILES}:
            (folder / name).write_text(vae if name == VAE else "the same")
        archive = Archive(tmp_path, folder)
        names += [archive.path(job).name for film in films for job in (film, Scores("score", (film,), (0,)))]
    assert len(set(names)) == 8
    (folder / SCORER).unlink()
    archive.path(films[0])
    with pytest.raises(JobFailed, match=f"lacks {SCORER}"):
        archive.path(Scores("score", (films[0],), (0,)))
