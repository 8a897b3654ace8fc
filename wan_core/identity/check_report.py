"""What a person is told about a check: verdict, numbers and notes line by line, and a chart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from ..errors import printable
from ..media.chart import Curve, Mark, line_chart
from ..notes import note_lines
from .check import CheckResult
from .likeness.matching import mean_of
from .likeness.measures import CharacterLikeness, Trend
from .likeness.sheet import draw_sheet
from .likeness.verdict import name_of

NO_DATA = "no data"


def describe(result: CheckResult) -> str:
    """Verdict and reasons, who scored, the numbers of each character, and the notes."""
    space, limits = result.space, result.request.limits
    lines = [
        verdict(result),
        *(f"failed: {failure.text}" for failure in result.failures[1:]),
        f"scorer: {printable(space.name)} ({space.family}), sha256 {space.sha256[:12]}; "
        f"faces: {printable(result.request.detector)}",
        *_sampling_lines(result),
        f"wanted: likeness {limits.min_likeness:.2f} in every clip, {limits.min_cross_clip:.2f} between any two, "
        f"a face in {limits.min_face_found:.0%} of its frames",
    ]
    for index, likeness in enumerate(result.likenesses):
        lines.extend(_character_lines(name_of(index, result.cast), likeness, result))
        lines.extend(_frame_lines(result, likeness))
    return "\n".join([*lines, *_score_lines(result), *note_lines(result.notes)])


def verdict(result: CheckResult) -> str:
    """One line: kept, not kept, or that nothing was measured."""
    clips = f"{len(result.watched)} clips" if len(result.watched) > 1 else "1 clip"
    who = f"{len(result.cast)} characters" if len(result.cast) > 1 else name_of(0, result.cast)
    if result.passed:
        return f"passed: {who} kept in {clips}"
    return f"not passed: {result.failures[0].text}"


def _sampling_lines(result: CheckResult) -> Iterator[str]:
    for seen in result.watched:
        faces, looked = sum(bool(sightings) for sightings in seen.sightings), len(seen.indices)
        yield f"{seen.shot.label}: {looked} of {seen.shot.frames} frames looked at, faces in {faces} of them"


def _score_lines(result: CheckResult) -> Iterator[str]:
    """The numbers of a published protocol as its script gives them, ours beside each, and by what rules."""
    for one in result.scores:
        yield f"{one.name}: {one.score.published:.4f}, corrected {_number(one.score.corrected)}"
    yield from (f"protocol: {printable(text)}" for text in dict.fromkeys(one.score.protocol for one in result.scores))


def _character_lines(name: str, likeness: CharacterLikeness, result: CheckResult) -> Iterator[str]:
    """One character: its likeness, then how it changes from clip to clip."""
    found = f"face in {likeness.found} of {likeness.frames} frames"
    if likeness.has_character:
        yield (
            f"{name}: likeness mean {_number(likeness.mean)}, minimum {_number(likeness.minimum)}, strict mean (no "
            f"face counts 0) {_number(likeness.strict_mean)}; {found}"
        )
        labels = [seen.shot.label for seen in result.watched]
        means = ", ".join(f"{at} {_number(mean)}" for at, mean in zip(labels, likeness.shot_means, strict=True))
        yield f"  mean of {means}; {_trend(likeness.shot_trend, 'clip')}"
        yield (
            f"  CopyRate {_number(likeness.copy_rate)}: a face of its own has 0.500, the reference photo itself "
            f"{_number(likeness.copy_rate_of_photo)}"
        )
        if likeness.copy_paste is not None:
            yield f"  CP {_number(likeness.copy_paste)} (1: the first photo itself, -1: another photo of the person)"
    else:
        yield f"{name}: {found}"
    yield from _pair_lines(likeness)


def _pair_lines(likeness: CharacterLikeness) -> Iterator[str]:
    """How alike one character is in any two clips, and by how far they are apart."""
    cosines = [pair.cosine for pair in likeness.pairs]
    if not cosines:
        yield f"  between clips: {NO_DATA}, it is seen in fewer than two"
        return
    yield (
        f"  between clips: mean {_number(mean_of(cosines))}, minimum {_number(min(cosines))} of {len(cosines)} pairs; "
        f"to the mean of all clips {_number(likeness.centroid_mean)}"
    )
    gaps = ", ".join(f"{gap} apart {mean:.3f} (n={count})" for gap, (mean, count) in likeness.gap_means.items())
    yield f"  likeness of two clips: {gaps}; {_trend(likeness.gap_trend, 'clip of distance')}"


def _frame_lines(result: CheckResult, likeness: CharacterLikeness) -> Iterator[str]:
    """The cosine of every frame that was looked at, by its number in the clip, counted from 1."""
    to = "" if likeness.has_character else " to the mean of its own faces"
    for seen, cosines in zip(result.watched, likeness.shown_cosines, strict=True):
        shown = ("-" if cosine is None else _number(cosine) for cosine in cosines)
        numbered = ", ".join(f"{index + 1}: {text}" for index, text in zip(seen.indices, shown, strict=True))
        yield f"  likeness{to} in {seen.shot.label} by frame: {numbered}"


def _number(value: float | None) -> str:
    return NO_DATA if value is None else f"{round(value, 3) + 0.0:.3f}"  # no minus in front of zero


def _trend(trend: Trend | None, step: str) -> str:
    return f"slope {NO_DATA}" if trend is None else f"slope {trend.slope:+.4f} a {step} (n={trend.count})"


# Pictures


def plot(result: CheckResult) -> Tensor:
    """Likeness over the frames that were looked at, clip after clip: 1 h w 3 in [0, 1]."""
    starts = [1 + sum(len(seen.indices) for seen in result.watched[:number]) for number in range(len(result.watched))]
    curves = [
        Curve(name_of(index, result.cast), *_joined(starts, likeness.shown_cosines), points=True)
        for index, likeness in enumerate(result.likenesses)
    ]
    shown = [cosine for curve in curves for cosine in curve.y if not math.isnan(cosine)]
    if result.cast:
        limit, ends = result.request.limits.min_likeness, [1.0, float(starts[-1] + len(result.watched[-1].indices) - 1)]
        curves.append(Curve(f"wanted {limit:.2f}", ends, [limit, limit], faint=True))
        shown.append(limit)
    floor = min(shown, default=0.0) - 0.1 * (max(shown, default=0.0) - min(shown, default=0.0))
    lost = _joined(starts, _lost_frames(result, floor))
    if not all(map(math.isnan, lost[1])):
        curves.append(Curve("no face", *lost, points=True, faint=True))
    return line_chart(
        curves,
        title=f"Identity - {verdict(result)}",
        x_label="frames that were looked at, clip after clip",
        y_label="cosine to the character" if result.cast else "cosine to the mean of its own faces",
        marks=[Mark(seen.shot.label, float(start)) for seen, start in zip(result.watched, starts, strict=True)],
        labels_above=True,
    )


def _joined(starts: Sequence[int], rows: Sequence[Sequence[float | None]]) -> tuple[list[float], list[float]]:
    """Places and values of a curve over all clips, with a gap between any two."""
    places, values = [], []
    for start, row in zip(starts, rows, strict=True):
        places += [float(start + position) for position in range(len(row))] + [math.nan]
        values += [math.nan if value is None else value for value in row] + [math.nan]
    return places, values


def _lost_frames(result: CheckResult, floor: float) -> list[list[float | None]]:
    """A value for every frame in which the face of a character that is expected was not found."""
    return [
        [
            floor
            if any(one.counted[shot] and one.shots[shot].sightings[at] is None for one in result.likenesses)
            else None
            for at in range(len(seen.indices))
        ]
        for shot, seen in enumerate(result.watched)
    ]


def sheet(result: CheckResult) -> Tensor:
    """The reference, the best, the worst and the lost faces of each character: 1 h w 3 in [0, 1]."""
    return draw_sheet(result.likenesses, result.watched, result.cast, result.request.limits)
