"""The policies are what they are called, written out by hand and as properties of random runs."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from wan_core.moe.policy import Evaluation, choose, expert_index, steps_ahead

BOUNDARY_32 = float(np.float32(0.9))  # 0.89999998
SIGMAS = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0]


def chosen(policy: str, evaluations: Sequence[Evaluation], sigma_mins: Sequence[float]) -> list[int]:
    """The expert of each evaluation of a run."""
    found: list[int] = []
    for evaluation in evaluations:
        found.append(choose(policy, evaluation, found[-1] if found else None, sigma_mins))
    return found


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


@pytest.mark.parametrize("seed", range(40))
def test_the_policies_are_what_they_are_called(seed: int) -> None:
    """For a solver that looks anywhere within its steps or beyond, over two to four experts."""
    rng = random.Random(seed)
    starts = sorted((rng.random() for _ in range(8)), reverse=True)
    run = [Evaluation(rng.choice([start, rng.random()]), start) for start in starts for _ in range(rng.randint(1, 4))]
    sigma_mins = [*sorted((rng.random() for _ in range(rng.randint(1, 3))), reverse=True), 0.0]
    by_sigma = [sum(evaluation.sigma < lowest for lowest in sigma_mins[:-1]) for evaluation in run]
    by_step = [sum(evaluation.step_sigma < lowest for lowest in sigma_mins[:-1]) for evaluation in run]
    assert chosen("strict", run, sigma_mins) == by_sigma
    assert chosen("latch", run, sigma_mins) == list(itertools.accumulate(by_sigma, max))
    assert chosen("per_step", run, sigma_mins) == by_step


AHEAD = {  # of an evaluation at that sigma: the next steps of so many
    (1.2, 2): [1.0, 0.8],
    (1.0, 2): [0.8, 0.6],
    (0.9, 2): [0.8, 0.6],
    (0.8, 1): [0.6],
    (0.4, 2): [0.2],
    (0.2, 2): [],
    (0.0, 2): [],
    (1.0, 9): [0.8, 0.6, 0.4, 0.2],
    (1.0, 0): [],
    (0.8 - 5e-7, 2): [0.6, 0.4],  # the rounding of float32 is not a step
    (0.8 + 5e-7, 2): [0.6, 0.4],
}


def test_the_steps_ahead_of_an_evaluation() -> None:
    assert {(sigma, count): steps_ahead(sigma, SIGMAS, count) for sigma, count in AHEAD} == AHEAD
