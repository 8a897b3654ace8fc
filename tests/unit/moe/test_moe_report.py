"""The report says what happened, and the chart shows it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from wan_core.moe import ExpertTally, SampleResult, describe, describe_schedule, plot
from wan_core.moe.report import boundary_in_words, clipped_db
from wan_core.moe.schedule import ExactSchedule
from wan_core.notes import Note

TWO = SampleResult(
    latent=torch.zeros(1, 16, 1, 1, 1),
    names=("high", "low"),
    sigma_mins=(0.875, 0.0),
    sigmas=(1.0, 0.97, 0.94, 0.92, 0.875, 0.8, 0.6, 0.3, 0.0),
    policy="strict",
    tallies=(ExpertTally(10, 1, 1.2345, 0.06), ExpertTally(6, 2, 0.7, 12.0)),
    notes=(),
)
LINES_OF_TWO = [
    "steps: 5 high + 3 low",
    "boundary: sigma 0.8750 (timestep 875.0, SNR -16.90 dB)",
    "evaluations: 10 high, 6 low",
    "loads: 1 high, 2 low",
    "seconds: 1.2 high, 0.7 low (loading 0.1, 12.0)",
    "policy: strict",
]
THREE = replace(
    TWO,
    names=("start", "high", "low"),
    sigma_mins=(0.95, 0.5, 0.0),
    policy="per_step",
    tallies=(ExpertTally(2, 1, 0.0, 0.25), ExpertTally(5, 1, 3.14, 0.0), ExpertTally(1, 1, 60.0, 7.0)),
)
LINES_OF_THREE = [
    "steps: 2 start + 5 high + 1 low",
    "boundary: sigma 0.9500 (timestep 950.0, SNR -25.58 dB)",
    "boundary: sigma 0.5000 (timestep 500.0, SNR 0.00 dB)",
    "evaluations: 2 start, 5 high, 1 low",
    "loads: 1 start, 1 high, 1 low",
    "seconds: 0.0 start, 3.1 high, 60.0 low (loading 0.2, 0.0, 7.0)",
    "policy: per_step",
]
NOTES = (Note("other_shift", "another shift"), Note("one_expert", "all on one"))
NOTE_LINES = ["note: another shift", "note: all on one"]


@pytest.mark.parametrize(
    ("result", "lines"),
    [(TWO, LINES_OF_TWO), (THREE, LINES_OF_THREE), (replace(TWO, notes=NOTES), [*LINES_OF_TWO, *NOTE_LINES])],
)
def test_the_report_has_one_line_a_fact(result: SampleResult, lines: list[str]) -> None:
    assert describe(result).splitlines() == lines


def test_the_report_of_a_schedule_has_its_split_its_boundary_and_its_shift() -> None:
    assert describe_schedule(ExactSchedule((1.0, 0.0), 1, 0, 0.5, 4.19999)).splitlines() == [
        "steps: 1 high + 0 low",
        "boundary: sigma 0.5000 (timestep 500.0, SNR 0.00 dB)",
        "shift: 4.2000",
    ]


@pytest.mark.parametrize(
    ("boundary_sigma", "high", "low"),
    [(math.inf, 0, 8), (0.0, 8, 0), (0.875, 5, 3), (0.8750005, 5, 3), (0.92, 4, 4), (1.0, 1, 7)],
)
def test_steps_are_counted_where_they_start(boundary_sigma: float, high: int, low: int) -> None:
    report = describe(replace(TWO, sigma_mins=(boundary_sigma, 0.0)))
    assert report.startswith(f"steps: {high} high + {low} low\n")


WORDS = {
    0.9: "sigma 0.9000 (timestep 900.0, SNR -19.08 dB)",
    1.0: "sigma 1.0000 (timestep 1000.0, SNR -inf dB)",
    math.inf: "none, every step lies below it",
    0.0: "none, every step lies above it",
}


def test_a_boundary_is_said_in_every_unit() -> None:
    assert {sigma: boundary_in_words(sigma) for sigma in WORDS} == WORDS


@pytest.mark.parametrize(("sigma", "level_db"), [(1.0, -60.0), (0.0, 60.0), (0.5, 0.0), (math.inf, -60.0)])
def test_an_infinite_level_stays_on_the_chart(sigma: float, level_db: float) -> None:
    assert clipped_db(sigma) == pytest.approx(level_db)


def test_the_chart_of_every_split_is_a_picture_of_its_own() -> None:
    charts = [plot(replace(TWO, sigma_mins=(boundary, 0.0))) for boundary in (math.inf, 0.92, 0.875, 0.0)]
    for chart in charts:
        assert (chart.shape[0], chart.shape[-1]) == (1, 3)
        assert chart.std() > 0.01
    assert len({chart.numpy().tobytes() for chart in charts}) == 4
    assert plot(replace(THREE, sigmas=TWO.sigmas)).equal(plot(replace(TWO, sigma_mins=(0.5, 0.0))))
