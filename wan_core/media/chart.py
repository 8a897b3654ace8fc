"""Line charts for node previews, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SUPERSAMPLING = 2  # everything is drawn this many times too large, then reduced: that is the anti-aliasing
PALETTE = ("#0b6fb8", "#d1571b", "#1f8a5b", "#8a4fb0", "#b58900", "#5b6770")
BACKGROUND, GRID, AXIS, TEXT, FAINT_TEXT = "#fcfcfb", "#e6e6e2", "#8c8f93", "#1d2126", "#5d636a"
TITLE_PX, LABEL_PX, LINE_PX, DOT_RADIUS_PX = 17, 12, 1.8, 3.0
LABELS_SHARE = 0.1  # of the height of the curves, for the labels of marks above them

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart."""

    label: str  # shown in the legend
    x: Sequence[float]
    y: Sequence[float]  # as many as x; NaN leaves a gap
    points: bool = False  # draw a dot on every sample
    faint: bool = False  # grey, whatever the colours of the others


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical dashed line with a label."""

    label: str
    x: float


# Numbers on the axes


def nice_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside [low, high], no more than ``at_most`` (3 or more)."""
    power = 10.0 ** math.floor(math.log10((high - low) / at_most))
    for step in (power * factor for factor in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < at_most:
            break
    return [index * step for index in range(first, last + 1)]


def tick_text(value: float, step: float) -> str:
    """A tick's number with just the decimals that its step needs."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}"


def _value_range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """The span of the finite values, widened by a share of itself; never empty."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    spare = (high - low) * margin if high > low else 0.5 * max(abs(high), 1.0)
    return low - spare, high + spare


def _finite_runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    """The stretches of a line between its gaps."""
    run: list[Point] = []
    for point in points:
        if math.isfinite(point[0]) and math.isfinite(point[1]):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


# The drawing


@dataclass(frozen=True, slots=True)
class PlotArea:
    """Where the data lies on a supersampled picture; all lengths in pixels of the finished chart."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]  # data values at left and right
    y_range: tuple[float, float]  # data values at bottom and top

    def place(self, x: float, y: float) -> Point:
        """Data to pixels."""
        across = (x - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        up = (y - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def line(self, points: Sequence[Point], colour: str, width_px: float) -> None:
        scaled = [(x * SUPERSAMPLING, y * SUPERSAMPLING) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width_px * SUPERSAMPLING), joint="curve")

    def text(self, at: Point, text: str, colour: str, size_px: float, anchor: str) -> None:
        place = (at[0] * SUPERSAMPLING, at[1] * SUPERSAMPLING)
        halo_px = 2 * SUPERSAMPLING  # keeps a label readable where it crosses a curve
        self.draw.text(
            place, text, fill=colour, font=_font(size_px), anchor=anchor, stroke_width=halo_px, stroke_fill=BACKGROUND
        )


def _font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at supersampled size."""
    return ImageFont.load_default(size=size_px * SUPERSAMPLING)


def _text_width_px(text: str, size_px: float) -> float:
    """How wide a text is on the finished chart."""
    return _font(size_px).getlength(text) / SUPERSAMPLING


# Parts of a chart


def _draw_axes(area: PlotArea, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
    """Grid lines, numbers and the frame's two axes."""
    for value in y_ticks:
        _, y = area.place(area.x_range[0], value)
        area.line([(area.left, y), (area.right, y)], GRID, 1)
        area.text((area.left - 8, y), tick_text(value, _spacing(y_ticks)), FAINT_TEXT, LABEL_PX, "rm")
    for value in x_ticks:
        x, _ = area.place(value, area.y_range[0])
        area.line([(x, area.top), (x, area.bottom)], GRID, 1)
        area.line([(x, area.bottom), (x, area.bottom + 4)], AXIS, 1)
        area.text((x, area.bottom + 7), tick_text(value, _spacing(x_ticks)), FAINT_TEXT, LABEL_PX, "ma")
    area.line([(area.left, area.top), (area.left, area.bottom), (area.right, area.bottom)], AXIS, 1)


def _spacing(ticks: Sequence[float]) -> float:
    """The step of evenly spaced ticks."""
    return ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0


def _draw_curve(area: PlotArea, curve: Curve, colour: str) -> None:
    """A curve with its gaps; a sample alone between two gaps is a dot."""
    placed = [area.place(float(x), float(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    for run in _finite_runs(placed):
        area.line(run, colour, LINE_PX)
        for x, y in run if curve.points or len(run) == 1 else ():
            corners = (x - DOT_RADIUS_PX, y - DOT_RADIUS_PX, x + DOT_RADIUS_PX, y + DOT_RADIUS_PX)
            area.draw.ellipse([value * SUPERSAMPLING for value in corners], fill=colour)


def _draw_marks(area: PlotArea, marks: Sequence[Mark]) -> None:
    """Dashed vertical lines; a label goes down a row where it would meet the one before it."""
    row_ends: list[float] = []
    for mark in sorted(marks, key=lambda mark: mark.x):
        x, _ = area.place(mark.x, area.y_range[0])
        for y in range(round(area.top), round(area.bottom), 8):
            area.line([(x, y), (x, min(y + 4, area.bottom))], TEXT, 1)
        width = _text_width_px(mark.label, LABEL_PX)
        start = x + 5 if x + 5 + width <= area.right else x - 5 - width
        row = next((row for row, end in enumerate(row_ends) if start > end + 6), len(row_ends))
        row_ends[row : row + 1] = [start + width]
        area.text((start, area.top + 3 + row * (LABEL_PX + 3)), mark.label, TEXT, LABEL_PX, "la")


def _draw_words(area: PlotArea, curves: Sequence[Curve], title: str, x_label: str, y_label: str, width_px: int) -> None:
    """Title, the axes' names and the legend."""
    fitting_px = TITLE_PX * (width_px - 32) / max(_text_width_px(title, TITLE_PX), 1.0)
    area.text((16, 12), title, TEXT, min(TITLE_PX, fitting_px), "la")
    area.text((16, 38), y_label, FAINT_TEXT, LABEL_PX, "la")
    area.text(((area.left + area.right) / 2, area.bottom + 26), x_label, FAINT_TEXT, LABEL_PX, "ma")
    right = area.right
    for curve, colour in reversed(list(zip(curves, _colours_of(curves), strict=True))):
        right -= _text_width_px(curve.label, LABEL_PX)
        area.text((right, 38), curve.label, TEXT, LABEL_PX, "la")
        area.line([(right - 24, 45), (right - 6, 45)], colour, 3)
        right -= 42


def _colours_of(curves: Sequence[Curve]) -> list[str]:
    """The colour of each curve; a faint one takes none from the others."""
    palette = cycle(PALETTE)
    return [AXIS if curve.faint else next(palette) for curve in curves]


# Chart


def line_chart(
    curves: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    marks: Sequence[Mark] = (),
    width_px: int = 960,
    height_px: int = 360,
    labels_above: bool = False,
) -> Tensor:
    """Draws curves over one pair of axes and returns the picture as an IMAGE: 1 h w 3 in [0, 1].

    ``labels_above``: the curves keep below the labels of the marks.
    """
    x_range = _value_range([float(x) for curve in curves for x in curve.x] + [mark.x for mark in marks], margin=0.0)
    y_range = _value_range([float(y) for curve in curves for y in curve.y], margin=0.06)
    x_ticks = nice_ticks(*x_range, at_most=max(3, width_px // 80))
    if labels_above:
        y_range = (y_range[0], y_range[1] + LABELS_SHARE * (y_range[1] - y_range[0]))
    y_ticks = nice_ticks(*y_range, at_most=max(3, height_px // 50))
    number_px = max(_text_width_px(tick_text(value, _spacing(y_ticks)), LABEL_PX) for value in y_ticks)
    image = Image.new("RGB", (width_px * SUPERSAMPLING, height_px * SUPERSAMPLING), BACKGROUND)
    left, top, right, bottom = 20 + number_px, 64, width_px - 24, height_px - 50
    area = PlotArea(ImageDraw.Draw(image), left, top, right, bottom, x_range, y_range)
    _draw_axes(area, x_ticks, y_ticks)
    for curve, colour in zip(curves, _colours_of(curves), strict=True):
        _draw_curve(area, curve, colour)
    _draw_marks(area, marks)
    _draw_words(area, curves, title, x_label, y_label, width_px)
    pixels = numpy.asarray(image.resize((width_px, height_px), Image.Resampling.BOX), dtype=numpy.float32)  # h w 3
    return torch.from_numpy(pixels / 255.0).unsqueeze(0)  # 1 h w 3
