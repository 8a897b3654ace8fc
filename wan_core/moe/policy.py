"""Which expert makes which evaluation of a run.

Solvers of one evaluation a step fall under one rule. Solvers of several evaluate within and beyond their step, and some
come back up, so the switch can be read in three ways: the policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .split import is_high

POLICIES = ("strict", "latch", "per_step")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of the model within a run."""

    sigma: float  # the noise level it is made at
    step_sigma: float  # the noise level at which its step of the solver starts


def expert_index(sigma: float, sigma_mins: Sequence[float]) -> int:
    """The index of the first expert whose range holds ``sigma``; the last one takes whatever is below.

    ``sigma_mins`` holds the lowest sigma of each expert, high noise first.
    """
    return next((i for i, lowest in enumerate(sigma_mins) if is_high(sigma, lowest)), len(sigma_mins) - 1)


def choose(policy: str, evaluation: Evaluation, current: int | None, sigma_mins: Sequence[float]) -> int:
    """The expert of an evaluation, when ``current`` made the one before (None before the first).

    strict: that of its sigma, as if both experts were one model. latch: the same, but never back to an expert of higher
    noise. per_step: that of the sigma at which its step starts, as two samplers in a row do.
    """
    if policy == "per_step":
        return expert_index(evaluation.step_sigma, sigma_mins)
    index = expert_index(evaluation.sigma, sigma_mins)
    return max(index, current or 0) if policy == "latch" else index


def steps_ahead(sigma: float, sigmas: Sequence[float], count: int) -> Sequence[float]:
    """The sigmas at which the next ``count`` steps of a falling schedule start, after an evaluation at ``sigma``."""
    done = sum(is_high(level, sigma) for level in sigmas[:-1])
    return sigmas[done:-1][:count]
