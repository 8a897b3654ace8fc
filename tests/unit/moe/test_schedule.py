"""Schedules have the split that was asked for, and a run takes the part that KSamplerAdvanced would take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.moe.small_runs import PARAMS
from wan_core.errors import InputError
from wan_core.moe import Schedule, Switch, exact_schedule
from wan_core.moe.noise_level import unshifted
from wan_core.moe.schedule import ExactSchedule, aligned_sigmas, even_sigmas, shift_for_split
from wan_core.moe.split import split_schedule

SHIFTS = [0.1, 1.0, 3.0, 5.0, 8.0, 12.0, 100.0]
BOUNDARIES = [0.001, 0.3, 0.875, 0.9, 0.947, 0.999]
COUNTS = [(1, 0), (0, 1), (1, 1), (2, 2), (5, 3), (1, 39), (39, 1), (0, 8), (8, 0), (300, 700)]


def in_float32(sigmas: Sequence[float]) -> list[float]:
    return np.asarray(sigmas, dtype=np.float32).tolist()


def counts_of(sigmas: Sequence[float], boundary_sigma: float) -> tuple[int, int]:
    split = split_schedule(sigmas, boundary_sigma)
    return split.high_steps, split.low_steps


# Even


def test_four_steps_of_shift_five_are_the_timesteps_that_lightning_was_trained_on() -> None:
    assert even_sigmas(4, 5.0) == pytest.approx([1.0, 0.9375, 5 / 6, 0.625, 0.0], abs=1e-12)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_an_even_schedule_is_even_in_u(steps: int, shift: float) -> None:
    sigmas = even_sigmas(steps, shift)
    assert (len(sigmas), sigmas[0], sigmas[-1]) == (steps + 1, 1.0, 0.0)
    places = [unshifted(sigma, shift) for sigma in sigmas]
    assert places == pytest.approx(np.linspace(1.0, 0.0, steps + 1).tolist(), abs=1e-12)


# Aligned


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("counts", COUNTS)
def test_an_aligned_schedule_has_exactly_the_steps_that_were_asked_for(
    counts: tuple[int, int], boundary: float, shift: float
) -> None:
    sigmas = aligned_sigmas(*counts, boundary, shift)
    assert all(later < earlier for earlier, later in itertools.pairwise(in_float32(sigmas)))
    assert counts_of(sigmas, boundary) == counts_of(in_float32(sigmas), boundary) == counts


@pytest.mark.parametrize("shift", SHIFTS)
def test_each_part_of_an_aligned_schedule_is_even_in_u(shift: float) -> None:
    boundary_u = 0.9 / (shift - (shift - 1) * 0.9)
    places = [unshifted(sigma, shift) for sigma in aligned_sigmas(3, 5, 0.9, shift)]
    wanted = [*np.linspace(1.0, boundary_u, 4), *np.linspace(boundary_u, 0.0, 6)[1:]]
    assert places == pytest.approx(wanted, abs=1e-4 * max(shift, 1 / shift))  # the node is 1e-5 below the boundary


def test_the_low_expert_takes_the_step_from_the_boundary_where_the_parts_join() -> None:
    whole = aligned_sigmas(3, 5, 0.9, 8.0)
    assert (whole[0], whole[3], whole[-1]) == (1.0, pytest.approx(0.9 - 1e-5, abs=1e-12), 0.0)
    assert whole == aligned_sigmas(3, 0, 0.9, 8.0) + aligned_sigmas(0, 5, 0.9, 8.0)[1:]


# The shift for a split


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("counts", [counts for counts in COUNTS if counts[0]])
def test_the_shift_for_a_split_gives_that_split_with_the_boundary_midway(
    counts: tuple[int, int], boundary: float
) -> None:
    shift = shift_for_split(*counts, boundary)
    sigmas = even_sigmas(sum(counts), shift)
    assert counts_of(sigmas, boundary) == counts_of(in_float32(sigmas), boundary) == counts
    assert shift_for_split(2, 2, 0.9) == pytest.approx(5.4, abs=1e-12)
    assert unshifted(boundary, shift) == pytest.approx(1.0 - (counts[0] - 0.5) / sum(counts), abs=1e-12)


# As the node asks for it


def test_an_exact_schedule_has_the_shift_of_the_expert_or_one_that_gives_the_split() -> None:
    expert, auto = replace(PARAMS, shift=3.0), Switch("auto", 0.0)
    aligned = tuple(aligned_sigmas(3, 5, 0.875, 3.0))
    assert exact_schedule(3, 5, auto, "aligned", expert) == ExactSchedule(aligned, 3, 5, 0.875, 3.0)
    shift = shift_for_split(3, 5, 0.7)
    shifted = ExactSchedule(tuple(even_sigmas(8, shift)), 3, 5, 0.7, shift)
    assert exact_schedule(3, 5, Switch("sigma", 0.7), "shifted", expert) == shifted


# What cannot be a schedule


WANTED_SHIFT = "wanted a number above 0. Set the shift of the model, 5 to 12 is usual."
WANTED_STEPS = "Set high_steps and low_steps to how many steps each expert takes."
WANTED_BOUNDARY = (
    "wanted a sigma from 0.001 to 0.999. The trained boundaries are 0.875 for text and 0.9 for image to video."
)
REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: even_sigmas(0, 5.0), "steps: found 0; wanted at least 1. Raise steps."),
    (lambda: even_sigmas(4, 0.0), f"shift: found 0.0; {WANTED_SHIFT}"),
    (lambda: aligned_sigmas(2, 2, 0.9, -1.0), f"shift: found -1.0; {WANTED_SHIFT}"),
    (lambda: aligned_sigmas(2, 2, 0.9, math.nan), f"shift: found nan; {WANTED_SHIFT}"),
    (lambda: aligned_sigmas(2, 2, 0.9, math.inf), f"shift: found inf; {WANTED_SHIFT}"),
    (lambda: aligned_sigmas(-1, 2, 0.9, 5.0), f"high_steps: found -1; wanted 0 or more. {WANTED_STEPS}"),
    (lambda: shift_for_split(2, -2, 0.9), f"low_steps: found -2; wanted 0 or more. {WANTED_STEPS}"),
    (
        lambda: aligned_sigmas(0, 0, 0.9, 5.0),
        f"high_steps: found 0 with low_steps 0; wanted at least one step. {WANTED_STEPS}",
    ),
    (lambda: aligned_sigmas(2, 2, 1.0, 5.0), f"switch: found a boundary at sigma 1; {WANTED_BOUNDARY}"),
    (lambda: aligned_sigmas(2, 2, 0.0, 5.0), f"switch: found a boundary at sigma 0; {WANTED_BOUNDARY}"),
    (lambda: aligned_sigmas(2, 2, math.nan, 5.0), f"switch: found a boundary at sigma nan; {WANTED_BOUNDARY}"),
    (lambda: shift_for_split(2, 2, 1.5), f"switch: found a boundary at sigma 1.5; {WANTED_BOUNDARY}"),
    (
        lambda: shift_for_split(0, 4, 0.9),
        "high_steps: found 0; wanted at least 1, because an even schedule starts at pure noise. "
        "Raise high_steps, or set spacing to aligned.",
    ),
    (
        lambda: exact_schedule(2, 2, Switch("auto", 0.0), "some", PARAMS),
        "spacing: found 'some'; wanted one of aligned, shifted. Pick one in the node.",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_numbers_that_make_no_schedule_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError) as refused:
        make()
    assert str(refused.value) == message


# The part that a run takes


def oracle_part(sigmas: list[float], start: int, end: int, leftover_noise: bool) -> list[float]:
    """The nodes that KSamplerAdvanced visits, found step by step; fewer than two without a step."""
    nodes = [sigma for i, sigma in enumerate(sigmas) if start <= i <= end]
    ends_in_noise = leftover_noise or len(sigmas) - 1 <= end
    return nodes if ends_in_noise or not nodes else [*nodes[:-1], 0.0]


@pytest.mark.parametrize("leftover_noise", [True, False])
@pytest.mark.parametrize("whole", [[1.0, 0.0], [1.0, 0.9, 0.7, 0.4, 0.0], [0.8, 0.6, 0.3]])
def test_a_part_is_what_the_stock_sampler_takes_in_a_tensor_of_its_own(
    whole: list[float], leftover_noise: bool
) -> None:
    sigmas = torch.tensor(whole)
    for start, end in itertools.product(range(7), [*range(7), 10000]):
        nodes = oracle_part(sigmas.tolist(), start, end, leftover_noise)
        schedule = Schedule(sigmas, start, end, leftover_noise)
        if len(nodes) > 1:
            assert schedule.part().tolist() == nodes
            schedule.part().zero_()
        else:
            with pytest.raises(InputError, match="start_at_step: found"):
                schedule.part()
        assert sigmas.tolist() == torch.tensor(whole).tolist()
    assert Schedule(sigmas).part().tolist() == sigmas.tolist()


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(10, 6, "10 of 6"), (8, 10000, "8 of 8"), (0, 0, "0 of 0"), (-1, 4, "-1 of 4"), (0, -3, "0 of 0")],
)
def test_a_part_without_a_step_is_refused(start: int, end: int, found: str) -> None:
    with pytest.raises(InputError) as refused:
        Schedule(torch.linspace(1.0, 0.0, 9), start, end).part()
    assert str(refused.value) == (
        f"start_at_step: found {found} steps; wanted at least one step before end_at_step. "
        "Lower start_at_step, or raise end_at_step or the steps of the schedule."
    )
