"""The policies are what they are called, written out by hand and as properties of random runs."""

from __future__ import annotations

import math
import random
from itertools import groupby, pairwise

import numpy as np
import pytest

from wan_core.moe.plan import POLICIES, Evaluation, choose, expert_plan, serving, steps_ahead

BOUNDARY_32 = float(np.float32(0.9))  # 0.89999998
SIGMAS = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]


def random_run(seed: int) -> tuple[list[Evaluation], list[float]]:
    """Evaluations of a solver that looks anywhere within its steps or beyond, and the ranges of two to four experts."""
    rng = random.Random(seed)
    starts = sorted((rng.random() for _ in range(8)), reverse=True)
    made = [Evaluation(rng.choice([start, rng.random()]), start) for start in starts for _ in range(rng.randint(1, 4))]
    return made, [*sorted((rng.random() for _ in range(rng.randint(1, 3))), reverse=True), 0.0]


# Ranges


@pytest.mark.parametrize(
    ("sigma", "sigma_mins", "index"),
    [
        (1.0, [0.9, 0.0], 0),
        (0.9, [0.9, 0.0], 0),
        (BOUNDARY_32, [0.9, 0.0], 0),
        (0.9 - 0.9e-6, [0.9, 0.0], 0),
        (0.9 - 1.1e-6, [0.9, 0.0], 1),
        (0.0, [0.9, 0.0], 1),
        (0.1, [0.9, 0.5], 1),  # below every range: the last expert
        (1.2, [math.inf, 0.0], 1),
        (0.0, [0.0, 0.0], 0),
        (1.0, [0.95, 0.875, 0.0], 0),
        (0.94, [0.95, 0.875, 0.0], 1),
        (0.875, [0.95, 0.875, 0.0], 1),
        (0.87, [0.95, 0.875, 0.0], 2),
        (0.9, [0.9, 0.9, 0.0], 0),  # the second has no range
        (0.89, [0.9, 0.9, 0.0], 2),
        (0.3, [0.9], 0),
    ],
)
def test_a_sigma_belongs_to_the_first_expert_whose_range_holds_it(
    sigma: float, sigma_mins: list[float], index: int
) -> None:
    assert serving(sigma, sigma_mins) == index


# Policies


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


def test_a_solver_that_looks_two_steps_ahead_is_planned_as_by_hand() -> None:
    levels = [(1.0, 1.0), (0.8, 1.0), (0.6, 1.0), (0.8, 0.8), (0.6, 0.8), (0.4, 0.8), (0.6, 0.6), (0.4, 0.6)]
    made = [Evaluation(*pair) for pair in levels]
    assert expert_plan("strict", made, [0.7, 0.5, 0.0]) == [0, 0, 1, 0, 1, 2, 1, 2]
    assert expert_plan("latch", made, [0.7, 0.5, 0.0]) == [0, 0, 1, 1, 1, 2, 2, 2]
    assert expert_plan("per_step", made, [0.7, 0.5, 0.0]) == [0, 0, 0, 0, 0, 0, 1, 1]
    assert expert_plan("strict", [], [0.5, 0.0]) == []


@pytest.mark.parametrize("seed", range(40))
def test_strict_is_a_function_of_sigma_alone(seed: int) -> None:
    made, sigma_mins = random_run(seed)
    plan = dict(zip([evaluation.sigma for evaluation in made], expert_plan("strict", made, sigma_mins), strict=True))
    shuffled = random.Random(seed).sample(made, len(made))
    again = expert_plan("strict", [Evaluation(each.sigma, 0.5) for each in shuffled], sigma_mins)
    assert again == [plan[each.sigma] for each in shuffled]


@pytest.mark.parametrize("seed", range(40))
def test_latch_never_goes_back_and_follows_the_lowest_sigma_so_far(seed: int) -> None:
    made, sigma_mins = random_run(seed)
    plan = expert_plan("latch", made, sigma_mins)
    assert all(before <= after for before, after in pairwise(plan))
    lowest = [min(each.sigma for each in made[: k + 1]) for k in range(len(made))]
    assert plan == expert_plan("strict", [Evaluation(sigma, sigma) for sigma in lowest], sigma_mins)


@pytest.mark.parametrize("seed", range(40))
def test_per_step_keeps_one_expert_through_a_step(seed: int) -> None:
    made, sigma_mins = random_run(seed)
    planned = zip(made, expert_plan("per_step", made, sigma_mins), strict=True)
    for step_sigma, step in groupby(planned, key=lambda pair: pair[0].step_sigma):
        assert {index for _, index in step} == set(expert_plan("strict", [Evaluation(step_sigma, 0.0)], sigma_mins))


@pytest.mark.parametrize("boundary_sigma", [0.0, 0.3, 0.5, 0.9, math.inf])
def test_all_policies_agree_on_one_evaluation_a_step(boundary_sigma: float) -> None:
    made = [Evaluation(sigma, sigma) for sigma in SIGMAS[:-1]]
    plans = [expert_plan(policy, made, [boundary_sigma, 0.0]) for policy in POLICIES]
    assert plans == [[0 if sigma >= boundary_sigma else 1 for sigma in SIGMAS[:-1]]] * 3


# What comes


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
