"""What a person is told about a check: verdict, numbers and notes line by line, and a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from ...errors import printable
from ...media.chart import Curve, Mark, line_chart
from ...notes import note_lines
from ..check import CheckResult
from .measures import CharacterLikeness, Trend
from .sheet import draw_sheet
from .verdict import name_of

NO_DATA = "no data"


def describe(result: CheckResult) -> str:
    """Verdict and reasons, who scored, the numbers of each character, and the notes."""
    space, limits = result.space, result.request.limits
    lines = [
        verdict(result),
        *(f"failed: {failure.text}" for failure in result.failures),
        f"scorer: {printable(space.name)} ({space.family}), sha256 {space.sha256[:12]}; "
        f"faces: {printable(result.request.detector)}",
        *_sampling_lines(result),
        f"wanted: likeness {limits.min_likeness:.2f} in every clip, {limits.min_cross_clip:.2f} between any two, "
        f"a face in {limits.min_face_found:.0%} of its frames",
    ]
    for index, likeness in enumerate(result.likenesses):
        lines.extend(_character_lines(name_of(index, result.cast), likeness))
        lines.extend(_frame_lines(result, likeness))
    return "\n".join([*lines, *_reading_lines(result), *note_lines(result.notes)])


def verdict(result: CheckResult) -> str:
    """One line: kept, not kept, or that nothing was measured."""
    clips = f"{len(result.watched)} clips" if len(result.watched) > 1 else "1 clip"
    who = f"{len(result.cast)} characters" if len(result.cast) > 1 else name_of(0, result.cast)
    if result.passed:
        return f"passed: {who} kept in {clips}"
    return f"not passed: {result.failures[0].text}"


def _sampling_lines(result: CheckResult) -> Iterator[str]:
    for number, seen in enumerate(result.watched, start=1):
        faces = sum(bool(sightings) for sightings in seen.sightings)
        looked = len(seen.indices)
        yield f"clip {number}: {looked} of {seen.shot.frames} frames looked at, faces in {faces} of them"


def _reading_lines(result: CheckResult) -> Iterator[str]:
    """The numbers of a published protocol as its script gives them, ours beside each, and by what rules."""
    for reading in result.readings:
        yield f"{reading.name}: {reading.score.published:.4f}, corrected {_number(reading.score.corrected)}"
    yield from (f"protocol: {printable(text)}" for text in dict.fromkeys(one.score.protocol for one in result.readings))


def _character_lines(name: str, likeness: CharacterLikeness) -> Iterator[str]:
    """One character: its likeness, then how it changes from clip to clip."""
    found = f"face in {likeness.found} of {likeness.frames} frames"
    if likeness.has_character:
        yield (
            f"{name}: likeness mean {_number(likeness.mean)}, minimum {_number(likeness.minimum)}, strict mean (no "
            f"face counts 0) {_number(likeness.strict_mean)}; {found}"
        )
        means = ", ".join(f"{number}: {_number(mean)}" for number, mean in enumerate(likeness.shot_means, start=1))
        yield f"  mean of each clip: {means}; from clip to clip {_trend(likeness.shot_trend)}"
        yield f"  CopyRate {_number(likeness.copy_rate)} (1: the reference photo itself, 0.5: a face of its own)"
        if likeness.copy_paste is not None:
            yield f"  CP {_number(likeness.copy_paste)} (1: the first photo itself, -1: another photo of the person)"
    else:
        yield f"{name}: {found}"
    cosines = [pair.cosine for pair in likeness.pairs]
    if not cosines:
        yield f"  between clips: {NO_DATA}, it is seen in fewer than two"
        return
    yield (
        f"  between clips: mean {math.fsum(cosines) / len(cosines):.3f}, minimum {min(cosines):.3f} of {len(cosines)} "
        f"pairs; to their centre {_number(likeness.centroid_mean)}"
    )
    gaps = ", ".join(f"{gap}: {mean:.3f} (n={count})" for gap, (mean, count) in likeness.gap_means.items())
    yield f"  by distance in clips: {gaps}; with distance {_trend(likeness.gap_trend)}"


def _frame_lines(result: CheckResult, likeness: CharacterLikeness) -> Iterator[str]:
    """The cosine of every frame that was looked at, by its number in the clip, counted from 1."""
    for number, (seen, cosines) in enumerate(zip(result.watched, likeness.shown_cosines, strict=True), start=1):
        shown = ("-" if cosine is None else f"{cosine:.3f}" for cosine in cosines)
        pairs = ", ".join(f"{index + 1}: {text}" for index, text in zip(seen.indices, shown, strict=True))
        yield f"  clip {number} by frame: {pairs}"


def _number(value: float | None) -> str:
    return NO_DATA if value is None else f"{value:.3f}"


def _trend(trend: Trend | None) -> str:
    return NO_DATA if trend is None else f"{trend.slope:+.4f} a clip (n={trend.count})"


# Pictures


def plot(result: CheckResult) -> Tensor:
    """Likeness over the frames that were looked at, clip after clip: 1 h w 3 in [0, 1]."""
    sizes = [len(seen.indices) for seen in result.watched]
    places = [float(place) for place in range(1, sum(sizes) + 1)]
    curves = [
        Curve(
            name_of(index, result.cast),
            places,
            [math.nan if cosine is None else cosine for shot in likeness.shown_cosines for cosine in shot],
            points=True,
        )
        for index, likeness in enumerate(result.likenesses)
    ]
    if result.cast:
        limit = result.request.limits.min_likeness
        curves.append(Curve(f"wanted {limit:.2f}", [places[0], places[-1]], [limit, limit]))
    starts = [1 + sum(sizes[:number]) for number in range(len(sizes))]
    return line_chart(
        curves,
        title=f"Identity - {verdict(result)}",
        x_label="frames that were looked at, clip after clip",
        y_label="cosine to the character" if result.cast else "cosine to the person's own mean",
        marks=[Mark(f"clip {number}", float(start)) for number, start in enumerate(starts, start=1)],
    )


def sheet(result: CheckResult) -> Tensor:
    """The reference, the best, the worst and the lost faces of each character: 1 h w 3 in [0, 1]."""
    return draw_sheet(result.likenesses, result.watched, result.cast, result.request.limits.min_likeness)
