"""What a person is told about lip sync: a verdict in words and milliseconds, and a chart."""

from __future__ import annotations

from torch import Tensor

from ..media.chart import Curve, Mark, line_chart
from .embed import Clip
from .inputs import SIDE_PX, TICKS_PER_S
from .mfcc import RATE_HZ
from .score import CONFIDENCE_LIMIT, EARLY_LIMIT_MS, LATE_LIMIT_MS, MAX_SHIFT, SURE_S, TICK_MS, SyncReport


def offset_words(offset_ms: float) -> str:
    """Who is first, and by how much."""
    if offset_ms == 0:
        return "audio and picture coincide"
    return f"audio {'leads' if offset_ms > 0 else 'lags'} the picture by {abs(offset_ms):.0f} ms"


def verdict(report: SyncReport) -> str:
    """One line: in sync, not in sync, or that this cannot be told."""
    if not report.long_enough:
        return f"too short for a verdict: less than {SURE_S} s was scored"
    if report.passed:
        return f"in sync: {offset_words(report.offset_ms)}"
    if not report.sure:
        return f"unclear: no alignment stands out (confidence {report.confidence:.2f})"
    return f"not in sync: {offset_words(report.offset_ms)}"


def describe(report: SyncReport, clip: Clip) -> str:
    """Verdict, numbers, limits and what was measured."""
    frames, height_px, width_px, _ = clip.frames.shape
    lines = [
        verdict(report),
        f"offset {report.offset_ms:+.0f} ms ({offset_words(report.offset_ms)}); "
        f"allowed: audio up to {EARLY_LIMIT_MS} ms early or {LATE_LIMIT_MS} ms late (ITU-R BT.1359)",
        f"confidence {report.confidence:.3f}; wanted: {CONFIDENCE_LIMIT:g} or more (LatentSync's cut-off)",
        f"distance {report.distance:.3f}; mode {report.mode}; {report.windows} windows of 0.2 s",
        f"picture: {frames} frames at {float(clip.fps):.6g} fps = {float(frames / clip.fps):.3f} s, "
        f"{width_px}x{height_px} px resized to {SIDE_PX}x{SIDE_PX}; sound: {len(clip.samples) / RATE_HZ:.3f} s",
    ]
    if clip.fps != TICKS_PER_S:
        lines.append(f"note: frames were repeated or left out to make {TICKS_PER_S} fps, that of published scores")
    if not report.long_enough:
        lines.append(f"note: under {SURE_S} s offset and confidence are unsure, so the clip does not pass")
    return "\n".join(lines)


def plot(report: SyncReport) -> Tensor:
    """Mean distance over offset, with its median and least value: 1 h w 3 in [0, 1]."""
    offsets_ms = [TICK_MS * float(MAX_SHIFT - index) for index in range(len(report.curve))]
    ends_ms = [offsets_ms[-1], offsets_ms[0]]
    curves = [
        Curve("mean distance", offsets_ms, report.curve.tolist(), points=True),
        Curve(f"median {report.median:.3f}", ends_ms, [report.median] * 2),
        Curve(f"least {report.distance:.3f}", ends_ms, [report.distance] * 2),
    ]
    return line_chart(
        curves,
        title=f"Lip sync, {report.mode} mode - {verdict(report)}",
        x_label="offset (ms); right of 0: the audio is early",
        y_label="distance of lips and sound",
        marks=[Mark(f"{report.offset_ms:+.0f} ms, confidence {report.confidence:.2f}", report.offset_ms)],
    )
