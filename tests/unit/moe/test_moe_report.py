"""The report says what happened, and the chart shows it."""

from __future__ import annotations

import math

import pytest

from wan_core.moe.report import boundary_in_words, clipped_db, describe, plot
from wan_core.moe.route import Tally
from wan_core.moe.split import Split


def test_the_report_names_split_boundary_evaluations_loads_and_notes() -> None:
    text = describe(Split(0.875, 5, 3), Tally(evaluations=[10, 6], loads=[1, 2]), ["another shift"])
    assert text.splitlines() == [
        "steps: 5 high + 3 low",
        "boundary: sigma 0.8750 (timestep 875.0, SNR -16.90 dB)",
        "evaluations: 10 high, 6 low",
        "loads: 1 high, 2 low",
        "note: another shift",
    ]


@pytest.mark.parametrize("sigma", [math.inf, 0.0])
def test_a_run_of_one_expert_has_no_boundary(sigma: float) -> None:
    assert boundary_in_words(sigma) == "none, one expert takes every step"


@pytest.mark.parametrize(("sigma", "level_db"), [(1.0, -60.0), (0.0, 60.0), (0.5, 0.0), (math.inf, -60.0)])
def test_an_infinite_level_stays_on_the_chart(sigma: float, level_db: float) -> None:
    assert clipped_db(sigma) == pytest.approx(level_db)


@pytest.mark.parametrize("high_steps", [0, 2, 4])
def test_the_chart_of_every_split_is_a_picture(high_steps: int) -> None:
    picture = plot(Split(0.875, high_steps, 4 - high_steps), [1.0, 0.9, 0.7, 0.4, 0.0])
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    assert picture.std() > 0.01
