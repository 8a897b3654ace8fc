from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wan_core.media.chart import Curve, Mark, line_chart, nice_ticks, tick_text

BLUE = torch.tensor([11, 111, 184]) / 255  # the first curve's colour


def chart(y: list[float], *, points: bool = False, marks: tuple[Mark, ...] = ()) -> Tensor:
    curve = Curve("line", [float(i) for i in range(len(y))], y, points=points)
    return line_chart([curve], title="Title", x_label="x", y_label="y", marks=marks)


def blue_columns(picture: Tensor) -> Tensor:
    """Columns of the plot area that hold the first curve's colour (the legend above it is left out)."""
    return ((picture[0, 62:] - BLUE).abs().amax(dim=-1) < 0.08).any(dim=0)


def test_curve_runs_from_edge_to_edge_and_nan_leaves_a_gap() -> None:
    whole = blue_columns(chart([0.0, 1.0] * 8))
    gap = blue_columns(chart([0.0, 1.0] * 3 + [math.nan] * 4 + [0.0, 1.0] * 3))
    inside = torch.arange(len(whole))
    drawn = inside[whole]
    assert whole[drawn.min() : drawn.max() + 1].all()
    width = int(drawn.max() - drawn.min())
    assert blue_columns(chart([math.nan, 1.0, math.nan])).sum() > 4  # a sample alone is a dot
    assert int(whole.sum() - gap.sum()) == pytest.approx(width * 5 / 15, abs=6)  # 4 samples away: 5 of 15 segments


def test_curve_passes_where_its_values_are() -> None:
    picture = chart([0.0, 0.0, 1.0, 1.0])
    rows = ((picture[0, 62:] - BLUE).abs().amax(dim=-1) < 0.08).float()
    columns = blue_columns(picture).nonzero().flatten()
    left, right = rows[:, columns[5]].nonzero().float().mean(), rows[:, columns[-6]].nonzero().float().mean()
    assert left - right > 180  # lower value, lower on the picture


@pytest.mark.parametrize("change", [{"points": True}, {"marks": (Mark("here", 1.5),)}])
def test_points_and_marks_are_drawn(change: dict) -> None:
    y = [0.0, 1.0, 0.0, 1.0]
    assert not torch.equal(chart(y), chart(y, **change))


@pytest.mark.parametrize("y", [[], [3.0], [2.0, 2.0], [math.nan, math.nan], [1e-9, 2e-9], [-1e9, 1e9]])
def test_any_data_make_an_image(y: list[float]) -> None:
    picture = chart(y)
    assert picture.shape == (1, 360, 960, 3) and picture.dtype == torch.float32
    assert float(picture.min()) >= 0 and float(picture.max()) <= 1


def test_a_title_of_any_length_stays_inside() -> None:
    picture = line_chart([Curve("a", [0, 1], [0, 1])], title="word " * 60, x_label="x", y_label="y")
    assert torch.equal(picture[0, :, -8:], picture[0, :1, -8:].expand(360, -1, -1))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-80, 0), (0.1234, 0.1235), (1e6, 3e6), (-3, 17), (0, 599.9)])
@pytest.mark.parametrize("at_most", [3, 7, 12])
def test_ticks_are_round_inside_and_not_too_many(low: float, high: float, at_most: int) -> None:
    ticks = nice_ticks(low, high, at_most)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    assert 1 <= len(ticks) <= at_most
    assert all(low - 1e-6 * step <= tick <= high + 1e-6 * step for tick in ticks)
    assert all(float(tick_text(tick, step)) == pytest.approx(tick, abs=step / 100) for tick in ticks)


def test_a_faint_curve_is_grey_and_takes_no_colour_from_the_next() -> None:
    faint, curve = Curve("limit", [0, 1], [2.0, 2.0], faint=True), Curve("a", [0, 1], [0.0, 1.0])
    first, last, alone = (
        line_chart(curves, title="t", x_label="x", y_label="y") for curves in ([faint, curve], [curve, faint], [faint])
    )
    assert torch.equal(blue_columns(first), blue_columns(last)) and blue_columns(first).any()
    assert not blue_columns(alone).any()


def test_curves_keep_below_the_labels_of_marks_where_that_is_asked_for() -> None:
    """The label of a mark covers the curve's highest line otherwise."""
    curve, marks = Curve("a", [0, 1, 2], [1.0, 1.0, 0.0]), (Mark("a long label of a mark", 0.0),)
    covered, free = (
        blue_columns(line_chart([curve], title="t", x_label="x", y_label="y", marks=marks, labels_above=above))
        for above in (False, True)
    )
    assert free.sum() > covered.sum() + 20
