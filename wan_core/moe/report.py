"""What a sampling run over several experts did, in words and as a chart."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from ..media.chart import Curve, Mark, line_chart
from ..notes import note_lines
from .noise_level import snr_db_of, timestep_of
from .policy import expert_index
from .sampling import SampleResult
from .schedule import ExactSchedule
from .split import split_schedule

CHART_LIMIT_DB = 60.0  # pure noise is -inf dB and a finished latent +inf dB


def describe(result: SampleResult) -> str:
    """The split, the boundary and what each expert did, one line a fact."""

    def per_expert(values: Iterable[object]) -> list[str]:
        return [f"{value} {name}" for value, name in zip(values, result.names, strict=True)]

    starts = [expert_index(sigma, result.sigma_mins) for sigma in result.sigmas[:-1]]
    seconds = ", ".join(per_expert(f"{tally.seconds:.1f}" for tally in result.tallies))
    loading = ", ".join(f"{tally.load_seconds:.1f}" for tally in result.tallies)
    lines = [
        "steps: " + " + ".join(per_expert(starts.count(index) for index in range(len(result.names)))),
        *(f"boundary: {boundary_in_words(sigma)}" for sigma in result.sigma_mins[:-1]),
        "evaluations: " + ", ".join(per_expert(tally.evaluations for tally in result.tallies)),
        "loads: " + ", ".join(per_expert(tally.loads for tally in result.tallies)),
        f"seconds: {seconds} (loading {loading})",
        f"policy: {result.policy}",
        *note_lines(result.notes),
    ]
    return "\n".join(lines)


def describe_schedule(schedule: ExactSchedule) -> str:
    """The steps of each expert, the boundary and the shift."""
    return (
        f"steps: {schedule.high_steps} high + {schedule.low_steps} low\n"
        f"boundary: {boundary_in_words(schedule.boundary_sigma)}\n"
        f"shift: {schedule.shift:.4f}"
    )


def boundary_in_words(sigma: float) -> str:
    """The boundary in every unit that a user may know it by."""
    if sigma <= 0.0:
        return "none, every step lies above it"
    if sigma > 1.0:
        return "none, every step lies below it"
    return f"sigma {sigma:.4f} (timestep {timestep_of(sigma):.1f}, SNR {snr_db_of(sigma):.2f} dB)"


def plot(result: SampleResult) -> Tensor:
    """The schedule over the steps in decibels, clipped where it is infinite, as an IMAGE: 1 h w 3."""
    split = split_schedule(result.sigmas, result.sigma_mins[-2])
    levels_db = [clipped_db(sigma) for sigma in result.sigmas[:-1]]
    steps = list(range(1, len(levels_db) + 1))
    boundary_db = clipped_db(split.boundary_sigma)
    n = split.high_steps
    return line_chart(
        [
            Curve("high-noise expert", steps[:n], levels_db[:n], points=True),
            Curve("low-noise expert", steps[n:], levels_db[n:], points=True),
            Curve("boundary", [1, len(steps)], [boundary_db, boundary_db]),
        ],
        title=f"Schedule: {split.high_steps} high + {split.low_steps} low steps",
        x_label="step",
        y_label=f"SNR in dB, clipped at +-{CHART_LIMIT_DB:.0f}",
        marks=[Mark("switch", n + 0.5)] if 0 < n < len(steps) else [],
    )


def clipped_db(sigma: float) -> float:
    """The signal-to-noise ratio at ``sigma``, kept within the chart."""
    return max(-CHART_LIMIT_DB, min(CHART_LIMIT_DB, snr_db_of(sigma)))
