"""Line charts for node previews, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SUPERSAMPLING = 2  # everything is drawn this many times too large, then reduced: that is the anti-aliasing
PALETTE = ("#0b6fb8", "#d1571b", "#1f8a5b", "#8a4fb0", "#b58900", "#5b6770")
BACKGROUND, GRID, AXIS, TEXT, FAINT_TEXT = "#fcfcfb", "#e6e6e2", "#8c8f93", "#1d2126", "#5d636a"
TITLE_PX, LABEL_PX, LINE_PX, DOT_RADIUS_PX = 17, 12, 1.8, 3.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart."""

    label: str  # shown in the legend
    x: Sequence[float]
    y: Sequence[float]  # as many as x; NaN leaves a gap
    points: bool = False  # draw a dot on every sample


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


def value_range(values: Sequence[float], margin: float) -> tuple[float, float]:
    """The span of the finite values, widened by a share of itself; never empty."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    spare = (high - low) * margin if high > low else 0.5 * max(abs(high), 1.0)
    return low - spare, high + spare


def finite_runs(points: Sequence[Point]) -> Iterator[list[Point]]:
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


# The canvas


@dataclass(frozen=True, slots=True)
class Canvas:
    """A supersampled picture and where the data lies on it; all lengths in pixels of the finished chart."""

    image: Image.Image
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

    def dot(self, at: Point, colour: str, radius_px: float) -> None:
        x, y, radius = (value * SUPERSAMPLING for value in (*at, radius_px))
        self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def text(self, at: Point, text: str, colour: str, size_px: float, anchor: str) -> None:
        place = (at[0] * SUPERSAMPLING, at[1] * SUPERSAMPLING)
        halo_px = 2 * SUPERSAMPLING  # keeps a label readable where it crosses a curve
        self.draw.text(
            place, text, fill=colour, font=font(size_px), anchor=anchor, stroke_width=halo_px, stroke_fill=BACKGROUND
        )


def font(size_px: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface at supersampled size."""
    return ImageFont.load_default(size=size_px * SUPERSAMPLING)


def text_width_px(text: str, size_px: float) -> float:
    """How wide a text is on the finished chart."""
    return font(size_px).getlength(text) / SUPERSAMPLING


def fitting_size_px(text: str, size_px: float, width_px: float) -> float:
    """The size at which a text fits a width."""
    return min(size_px, size_px * width_px / max(text_width_px(text, size_px), 1.0))


# Parts of a chart


def draw_axes(canvas: Canvas, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> None:
    """Grid lines, numbers and the frame's two axes."""
    for value in y_ticks:
        _, y = canvas.place(canvas.x_range[0], value)
        canvas.line([(canvas.left, y), (canvas.right, y)], GRID, 1)
        canvas.text((canvas.left - 8, y), tick_text(value, spacing(y_ticks)), FAINT_TEXT, LABEL_PX, "rm")
    for value in x_ticks:
        x, _ = canvas.place(value, canvas.y_range[0])
        canvas.line([(x, canvas.top), (x, canvas.bottom)], GRID, 1)
        canvas.line([(x, canvas.bottom), (x, canvas.bottom + 4)], AXIS, 1)
        canvas.text((x, canvas.bottom + 7), tick_text(value, spacing(x_ticks)), FAINT_TEXT, LABEL_PX, "ma")
    canvas.line([(canvas.left, canvas.top), (canvas.left, canvas.bottom), (canvas.right, canvas.bottom)], AXIS, 1)


def spacing(ticks: Sequence[float]) -> float:
    """The step of evenly spaced ticks."""
    return ticks[1] - ticks[0] if len(ticks) > 1 else abs(ticks[0]) or 1.0


def draw_curve(canvas: Canvas, curve: Curve, colour: str) -> None:
    """A curve with its gaps; a sample alone between two gaps is a dot."""
    placed = [canvas.place(float(x), float(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    for run in finite_runs(placed):
        canvas.line(run, colour, LINE_PX)
        for at in run if curve.points or len(run) == 1 else ():
            canvas.dot(at, colour, DOT_RADIUS_PX)


def draw_marks(canvas: Canvas, marks: Sequence[Mark]) -> None:
    """Dashed vertical lines; a label goes down a row where it would meet the one before it."""
    row_ends: list[float] = []
    for mark in sorted(marks, key=lambda mark: mark.x):
        x, _ = canvas.place(mark.x, canvas.y_range[0])
        for y in range(round(canvas.top), round(canvas.bottom), 8):
            canvas.line([(x, y), (x, min(y + 4, canvas.bottom))], TEXT, 1)
        width = text_width_px(mark.label, LABEL_PX)
        start = x + 5 if x + 5 + width <= canvas.right else x - 5 - width
        row = next((row for row, end in enumerate(row_ends) if start > end + 6), len(row_ends))
        row_ends[row : row + 1] = [start + width]
        canvas.text((start, canvas.top + 3 + row * (LABEL_PX + 3)), mark.label, TEXT, LABEL_PX, "la")


def draw_words(canvas: Canvas, curves: Sequence[Curve], title: str, x_label: str, y_label: str, width_px: int) -> None:
    """Title, the axes' names and the legend."""
    canvas.text((16, 12), title, TEXT, fitting_size_px(title, TITLE_PX, width_px - 32), "la")
    canvas.text((16, 38), y_label, FAINT_TEXT, LABEL_PX, "la")
    canvas.text(((canvas.left + canvas.right) / 2, canvas.bottom + 26), x_label, FAINT_TEXT, LABEL_PX, "ma")
    right = canvas.right
    for index in reversed(range(len(curves))):
        right -= text_width_px(curves[index].label, LABEL_PX)
        canvas.text((right, 38), curves[index].label, TEXT, LABEL_PX, "la")
        canvas.line([(right - 24, 45), (right - 6, 45)], colour_of(index), 3)
        right -= 42


def colour_of(index: int) -> str:
    """The colour of the chart's index-th curve."""
    return PALETTE[index % len(PALETTE)]


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
) -> Tensor:
    """Draws curves over one pair of axes and returns the picture as an IMAGE: 1 h w 3 in [0, 1]."""
    x_range = value_range([float(x) for curve in curves for x in curve.x] + [mark.x for mark in marks], margin=0.0)
    y_range = value_range([float(y) for curve in curves for y in curve.y], margin=0.06)
    x_ticks = nice_ticks(*x_range, at_most=max(3, width_px // 80))
    y_ticks = nice_ticks(*y_range, at_most=max(3, height_px // 50))
    number_px = max(text_width_px(tick_text(value, spacing(y_ticks)), LABEL_PX) for value in y_ticks)
    image = Image.new("RGB", (width_px * SUPERSAMPLING, height_px * SUPERSAMPLING), BACKGROUND)
    left, top, right, bottom = 20 + number_px, 64, width_px - 24, height_px - 50
    canvas = Canvas(image, ImageDraw.Draw(image), left, top, right, bottom, x_range, y_range)
    draw_axes(canvas, x_ticks, y_ticks)
    for index, curve in enumerate(curves):
        draw_curve(canvas, curve, colour_of(index))
    draw_marks(canvas, marks)
    draw_words(canvas, curves, title, x_label, y_label, width_px)
    pixels = numpy.asarray(image.resize((width_px, height_px), Image.Resampling.BOX), dtype=numpy.float32)  # h w 3
    return torch.from_numpy(pixels / 255.0).unsqueeze(0)  # 1 h w 3
