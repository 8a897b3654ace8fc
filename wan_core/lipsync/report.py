"""What a person is told about lip sync: a verdict in words and milliseconds, and a chart."""

from __future__ import annotations

from torch import Tensor

from ..media.chart import Curve, Mark, line_chart
from ..notes import note_lines
from .checking import LipSyncResult
from .clip import SIDE_PX
from .mfcc import RATE_HZ
from .score import CONFIDENCE_LIMIT, EARLY_LIMIT_MS, LATE_LIMIT_MS, MAX_SHIFT, SURE_S, TICK_MS, SyncScore


def describe(result: LipSyncResult) -> str:
    """Verdict, numbers, limits, what was measured, and the notes."""
    score, clip = result.score, result.clip
    picture_s = float(clip.frames / clip.fps)
    lines = [
        verdict(score),
        f"offset {score.offset_ms:+.0f} ms ({_offset_words(score.offset_ms)}); "
        f"allowed: audio up to {EARLY_LIMIT_MS} ms early or {LATE_LIMIT_MS} ms late (ITU-R BT.1359)",
        f"confidence {score.confidence:.3f}; wanted: {CONFIDENCE_LIMIT:g} or more (LatentSync's cut-off)",
        f"distance {score.distance:.3f}; mode {score.mode}; {score.windows} windows of 0.2 s",
        f"picture: {clip.frames} frames at {float(clip.fps):.6g} fps = {picture_s:.3f} s, "
        f"{clip.width_px}x{clip.height_px} px resized to {SIDE_PX}x{SIDE_PX}; "
        f"sound beside it: {min(picture_s, len(clip.samples) / RATE_HZ):.3f} s",
    ]
    return "\n".join([*lines, *note_lines(result.notes)])


def verdict(score: SyncScore) -> str:
    """One line: in sync, not in sync, or that this cannot be told."""
    if not score.long_enough:
        return f"too short for a verdict: less than {SURE_S} s was scored"
    if score.passed:
        return f"in sync: {_offset_words(score.offset_ms)}"
    if not score.sure:
        return f"unclear: no alignment stands out (confidence {score.confidence:.2f})"
    return f"not in sync: {_offset_words(score.offset_ms)}"


def _offset_words(offset_ms: float) -> str:
    """Who is first, and by how much."""
    if offset_ms == 0:
        return "audio and picture coincide"
    return f"audio {'leads' if offset_ms > 0 else 'lags'} the picture by {abs(offset_ms):.0f} ms"


def plot(result: LipSyncResult) -> Tensor:
    """Mean distance over offset, with its median and least value: 1 h w 3 in [0, 1]."""
    score = result.score
    offsets_ms = [TICK_MS * float(MAX_SHIFT - index) for index in range(len(score.curve))]
    ends_ms = [offsets_ms[-1], offsets_ms[0]]
    curves = [
        Curve("mean distance", offsets_ms, score.curve.tolist(), points=True),
        Curve(f"median {score.median:.3f}", ends_ms, [score.median] * 2),
        Curve(f"least {score.distance:.3f}", ends_ms, [score.distance] * 2),
    ]
    return line_chart(
        curves,
        title=f"Lip sync, {score.mode} mode - {verdict(score)}",
        x_label="offset (ms); right of 0: the audio is early",
        y_label="distance of lips and sound",
        marks=[Mark(f"{score.offset_ms:+.0f} ms, confidence {score.confidence:.2f}", score.offset_ms)],
    )
