"""The report says what happened, and the chart shows it."""

from __future__ import annotations

import math

import pytest

from wan_core.moe.report import RunReport, boundary_in_words, clipped_db, plot
from wan_core.moe.route import Tally
from wan_core.moe.split import Split
from wan_core.notes import Note

EIGHT_STEPS = (1.0, 0.97, 0.94, 0.92, 0.875, 0.8, 0.6, 0.3, 0.0)
TWO = RunReport(
    names=("high", "low"),
    sigma_mins=(0.875, 0.0),
    sigmas=EIGHT_STEPS,
    policy="strict",
    tallies=(Tally(10, 1, 1.2345, 0.06), Tally(6, 2, 0.7, 12.0)),
)
LINES_OF_TWO = [
    "steps: 5 high + 3 low",
    "boundary: sigma 0.8750 (timestep 875.0, SNR -16.90 dB)",
    "evaluations: 10 high, 6 low",
    "loads: 1 high, 2 low",
    "seconds: 1.2 high, 0.7 low (loading 0.1, 12.0)",
    "policy: strict",
]
NOTES = (Note("other_shift", "another shift"), Note("one_expert", "all on one"))


def test_the_report_of_two_experts_has_one_line_a_fact() -> None:
    assert TWO.lines() == LINES_OF_TWO
    assert str(TWO) == "\n".join(LINES_OF_TWO)


def test_the_report_of_three_experts_has_both_boundaries() -> None:
    report = RunReport(
        names=("start", "high", "low"),
        sigma_mins=(0.95, 0.5, 0.0),
        sigmas=EIGHT_STEPS,
        policy="per_step",
        tallies=(Tally(2, 1, 0.0, 0.25), Tally(5, 1, 3.14, 0.0), Tally(1, 1, 60.0, 7.0)),
    )
    assert report.lines() == [
        "steps: 2 start + 5 high + 1 low",
        "boundary: sigma 0.9500 (timestep 950.0, SNR -25.58 dB)",
        "boundary: sigma 0.5000 (timestep 500.0, SNR 0.00 dB)",
        "evaluations: 2 start, 5 high, 1 low",
        "loads: 1 start, 1 high, 1 low",
        "seconds: 0.0 start, 3.1 high, 60.0 low (loading 0.2, 0.0, 7.0)",
        "policy: per_step",
    ]


def test_every_note_is_a_line_at_the_end() -> None:
    report = RunReport(TWO.names, TWO.sigma_mins, TWO.sigmas, TWO.policy, TWO.tallies, NOTES)
    assert report.lines() == [*LINES_OF_TWO, "note: another shift", "note: all on one"]


def test_a_log_has_the_same_in_one_line() -> None:
    assert TWO.in_one_line() == "; ".join(LINES_OF_TWO)
    assert "\n" not in TWO.in_one_line()


@pytest.mark.parametrize(
    ("boundary_sigma", "counts"),
    [(math.inf, [0, 8]), (0.0, [8, 0]), (0.875, [5, 3]), (0.8750005, [5, 3]), (0.92, [4, 4]), (1.0, [1, 7])],
)
def test_steps_are_counted_where_they_start(boundary_sigma: float, counts: list[int]) -> None:
    report = RunReport(TWO.names, (boundary_sigma, 0.0), EIGHT_STEPS, "strict", TWO.tallies)
    assert report.steps() == counts


@pytest.mark.parametrize(
    ("sigma", "words"),
    [
        (0.875, "sigma 0.8750 (timestep 875.0, SNR -16.90 dB)"),
        (0.9, "sigma 0.9000 (timestep 900.0, SNR -19.08 dB)"),
        (0.5, "sigma 0.5000 (timestep 500.0, SNR 0.00 dB)"),
        (1.0, "sigma 1.0000 (timestep 1000.0, SNR -inf dB)"),
    ],
)
def test_a_boundary_is_said_in_every_unit(sigma: float, words: str) -> None:
    assert boundary_in_words(sigma) == words


@pytest.mark.parametrize(("sigma", "side"), [(math.inf, "below"), (0.0, "above")])
def test_a_switch_beside_the_schedule_is_no_boundary(sigma: float, side: str) -> None:
    assert boundary_in_words(sigma) == f"none, every step lies {side} it"


@pytest.mark.parametrize(("sigma", "level_db"), [(1.0, -60.0), (0.0, 60.0), (0.5, 0.0), (math.inf, -60.0)])
def test_an_infinite_level_stays_on_the_chart(sigma: float, level_db: float) -> None:
    assert clipped_db(sigma) == pytest.approx(level_db)


@pytest.mark.parametrize("high_steps", [0, 2, 4])
def test_the_chart_of_every_split_is_a_picture(high_steps: int) -> None:
    picture = plot(Split(0.875, high_steps, 4 - high_steps), [1.0, 0.9, 0.7, 0.4, 0.0])
    assert picture.shape[0] == 1
    assert picture.shape[-1] == 3
    assert picture.std() > 0.01


def test_the_charts_of_two_splits_differ() -> None:
    sigmas = [1.0, 0.9, 0.7, 0.4, 0.0]
    assert not plot(Split(0.875, 2, 2), sigmas).equal(plot(Split(0.5, 3, 1), sigmas))
