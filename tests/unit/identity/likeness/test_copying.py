from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from wan_core.identity.likeness.copying import copy_paste, copy_rate
from wan_core.identity.likeness.matching import cosine, match


def u(degrees: float, length: float = 1.0) -> Tensor:
    radians = math.radians(degrees)
    return torch.tensor([math.cos(radians), math.sin(radians)], dtype=torch.float64) * length


@pytest.mark.parametrize(
    ("cosines", "rate"),
    [
        ([(0.62, 0.60)], 0.8808),
        ([(0.4, 0.4)], 0.5),
        ([(0.70, 0.72)], 0.1192),
        ([(0.62, 0.60), (0.70, 0.72)], 0.5),
        ([(1.0, -1.0)], 1.0),
        ([(-1.0, 1.0)], 0.0),
        ([(1.0 + 1e-3, 1.0)], 0.5),
    ],
)
def test_a_face_is_a_copy_when_it_is_the_photo_rather_than_its_mirror_image(
    cosines: list[tuple[float, float]], rate: float
) -> None:
    assert copy_rate(cosines) == pytest.approx(rate, abs=5e-5)


def test_without_a_face_or_another_photo_nothing_is_measured() -> None:
    assert (copy_rate([]), copy_paste([], [u(0), u(60)]), copy_paste([u(0)], [u(10)])) == (None, None, None)


@pytest.mark.parametrize(("degrees", "wanted"), [(0, 0.9981), (15, 0.5), (30, 0), (45, -0.5), (60, -0.9981)])
def test_copy_paste_is_1_at_the_reference_and_minus_1_at_the_target(degrees: float, wanted: float) -> None:
    assert copy_paste([u(degrees)], [u(0), u(60)]) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize("apart", [0, 1e-5])
def test_copy_paste_to_a_photo_that_is_the_reference_itself_is_0(apart: float) -> None:
    # the vectors must be so long that 1e-6 beside their length leaves an angle below 1e-6
    assert copy_paste([u(40, 1e9)], [u(0, 1e9), u(apart, 1e9)]) == 0


def test_copy_paste_is_the_mean_over_photos_and_faces_as_its_script_computes_each() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        faces, photos = (draw.normal(size=(count, 5)) * draw.uniform(0.1, 30) for count in draw.integers(2, 6, size=2))
        means = []
        for face in faces:
            wanted = []
            for target in photos[1:]:
                g, r, t = (x / (math.sqrt((x**2).sum()) + 1e-6) for x in (face, photos[0], target))
                wanted.append((math.acos(g @ t) - math.acos(g @ r)) / math.acos(t @ r))
            means.append(sum(wanted) / len(wanted))
        found = copy_paste(*([torch.from_numpy(vector) for vector in vectors] for vectors in (faces, photos)))
        assert found == pytest.approx(mean_without_outliers(means), abs=1e-9)


def mean_without_outliers(values: list[float]) -> float:
    """Quartiles between values are on the line between them."""
    ordered, last = sorted(values), len(values) - 1
    quartiles = []
    for share in (0.25, 0.75):
        below = int(share * last)
        above = min(below + 1, last)
        quartiles.append(ordered[below] + (share * last - below) * (ordered[above] - ordered[below]))
    fence = 1.5 * (quartiles[1] - quartiles[0])
    kept = [value for value in values if quartiles[0] - fence <= value <= quartiles[1] + fence]
    return sum(kept) / len(kept)


@pytest.mark.parametrize(
    ("values", "kept"),  # copy_paste between photos at 0 and 60 degrees falls on a line: 1 to -1
    [
        ((-0.2, 0, 0.2, 0.4), (-0.2, 0, 0.2, 0.4)),
        ((-0.3, -0.1, 0, 0.1, 0.6), (-0.3, -0.1, 0, 0.1)),  # 0.1 + 1.5 * 0.2 = 0.4
        ((-0.6, -0.1, 0, 0.1, 0.3), (-0.1, 0, 0.1, 0.3)),
        ((-0.1, 0, 0, 0, 0.1), (0, 0, 0)),
    ],
)
def test_outliers_are_left_out_of_the_mean(values: tuple[float, ...], kept: tuple[float, ...]) -> None:
    faces = [u(30 - 30 * value) for value in values]
    assert copy_paste(faces, [u(0), u(60)]) == pytest.approx(sum(kept) / len(kept), abs=1e-4)
    assert mean_without_outliers(list(values)) == pytest.approx(sum(kept) / len(kept))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 4), (4, 2), (3, 3), (0, 0), (2, 0), (0, 3)])
def test_the_match_has_the_greatest_total_of_all(rows: int, columns: int) -> None:
    for seed in range(20):
        table = np.random.default_rng(seed).normal(size=(rows, columns))
        wide = table if rows <= columns else table.T
        ways = permutations(range(wide.shape[1]), wide.shape[0])
        best = max(sum(wide[row, column] for row, column in enumerate(way)) for way in ways)
        pairs = match(table.tolist())
        assert sum(table[row, column] for row, column in pairs) == pytest.approx(best, abs=1e-12)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(rows, columns)
        assert list(pairs) == sorted(pairs)


def test_a_cosine_is_of_any_lengths_and_0_without_one() -> None:
    assert cosine(u(10, 0.01), u(70, 300)) == pytest.approx(0.5, abs=1e-15)
    assert cosine(u(10).float(), torch.zeros(2)) == 0
