"""The policies are what they are called, written out by hand and as properties of random runs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
import pytest

from wan_core.moe.policy import POLICIES, Evaluation, choose, expert_index, steps_ahead

BOUNDARY_32 = float(np.float32(0.9))  # 0.89999998
SIGMAS = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]


def chosen(policy: str, evaluations: Sequence[Evaluation], sigma_mins: Sequence[float]) -> list[int]:
    """The expert of each evaluation of a run."""
    found: list[int] = []
    for evaluation in evaluations:
        found.append(choose(policy, evaluation, found[-1] if found else None, sigma_mins))
    return found


def random_run(seed: int) -> tuple[list[Evaluation], list[float]]:
    """Evaluations of a solver that looks anywhere within its steps or beyond, and the ranges of two to four experts."""
    rng = random.Random(seed)
    starts = sorted((rng.random() for _ in range(8)), reverse=True)
    run = [Evaluation(rng.choice([start, rng.random()]), start) for start in starts for _ in range(rng.randint(1, 4))]
    return run, [*sorted((rng.random() for _ in range(rng.randint(1, 3))), reverse=True), 0.0]


@pytest.mark.parametrize(
    ("sigma_mins", "indices"),
    [
        ([0.9, 0.0], {1.0: 0, 0.9: 0, BOUNDARY_32: 0, 0.9 - 0.9e-6: 0, 0.9 - 1.1e-6: 1, 0.0: 1}),
        ([0.9, 0.5], {0.1: 1}),  # below every range: the last expert
        ([math.inf, 0.0], {1.2: 1}),
        ([0.0, 0.0], {0.0: 0}),
        ([0.95, 0.875, 0.0], {1.0: 0, 0.94: 1, 0.875: 1, 0.87: 2}),
        ([0.9, 0.9, 0.0], {0.9: 0, 0.89: 2}),  # the second has no range
        ([0.9], {0.3: 0}),
    ],
)
def test_a_sigma_belongs_to_the_first_expert_whose_range_holds_it(
    sigma_mins: list[float], indices: dict[float, int]
) -> None:
    assert {sigma: expert_index(sigma, sigma_mins) for sigma in indices} == indices


@pytest.mark.parametrize(
    ("policy", "sigma", "step_sigma", "current", "index"),
    [
        ("strict", 0.95, 0.95, None, 0),
        ("strict", 0.85, 0.95, 0, 1),
        ("strict", 0.95, 0.95, 1, 0),
        ("latch", 0.95, 0.95, None, 0),
        ("latch", 0.85, 0.95, None, 1),
        ("latch", 0.85, 0.95, 0, 1),
        ("latch", 0.95, 0.95, 1, 1),
        ("per_step", 0.85, 0.95, 0, 0),
        ("per_step", 0.85, 0.95, 1, 0),
        ("per_step", 0.95, 0.85, 0, 1),
        ("per_step", 0.85, BOUNDARY_32, None, 0),
    ],
)
def test_the_expert_of_an_evaluation(
    policy: str, sigma: float, step_sigma: float, current: int | None, index: int
) -> None:
    assert choose(policy, Evaluation(sigma, step_sigma), current, [0.9, 0.0]) == index


@pytest.mark.parametrize("seed", range(40))
def test_strict_is_a_function_of_sigma_alone(seed: int) -> None:
    run, sigma_mins = random_run(seed)
    expert_at = dict(zip((each.sigma for each in run), chosen("strict", run, sigma_mins), strict=True))
    shuffled = random.Random(seed).sample(run, len(run))
    again = chosen("strict", [Evaluation(each.sigma, 0.5) for each in shuffled], sigma_mins)
    assert again == [expert_at[each.sigma] for each in shuffled]


@pytest.mark.parametrize("seed", range(40))
def test_latch_never_goes_back_and_follows_the_lowest_sigma_so_far(seed: int) -> None:
    run, sigma_mins = random_run(seed)
    experts = chosen("latch", run, sigma_mins)
    assert all(before <= after for before, after in pairwise(experts))
    lowest = [min(each.sigma for each in run[: k + 1]) for k in range(len(run))]
    assert experts == chosen("strict", [Evaluation(sigma, sigma) for sigma in lowest], sigma_mins)


@pytest.mark.parametrize("seed", range(40))
def test_per_step_keeps_one_expert_for_the_whole_step(seed: int) -> None:
    run, sigma_mins = random_run(seed)
    pairs = zip(run, chosen("per_step", run, sigma_mins), strict=True)
    for step_sigma, step in groupby(pairs, key=lambda pair: pair[0].step_sigma):
        assert {index for _, index in step} == {expert_index(step_sigma, sigma_mins)}


@pytest.mark.parametrize("boundary_sigma", [0.0, 0.3, 0.5, 0.9, math.inf])
def test_all_policies_agree_on_one_evaluation_a_step(boundary_sigma: float) -> None:
    run = [Evaluation(sigma, sigma) for sigma in SIGMAS[:-1]]
    wanted = [0 if sigma >= boundary_sigma else 1 for sigma in SIGMAS[:-1]]
    assert [chosen(policy, run, [boundary_sigma, 0.0]) for policy in POLICIES] == [wanted] * 3


@pytest.mark.parametrize(
    ("sigma", "count", "ahead"),
    [
        (1.2, 2, [1.0, 0.8]),
        (1.0, 2, [0.8, 0.6]),
        (0.9, 2, [0.8, 0.6]),
        (0.8, 1, [0.6]),
        (0.4, 2, [0.2]),
        (0.2, 2, []),
        (0.0, 2, []),
        (1.0, 9, [0.8, 0.6, 0.4, 0.2]),
        (1.0, 0, []),
        (0.8 - 5e-7, 2, [0.6, 0.4]),  # the rounding of float32 is not a step
        (0.8 + 5e-7, 2, [0.6, 0.4]),
    ],
)
def test_the_steps_ahead_of_an_evaluation(sigma: float, count: int, ahead: list[float]) -> None:
    assert list(steps_ahead(sigma, SIGMAS, count)) == ahead
