"""What a sampling run over two experts did, in words and as a chart."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..media.chart import Curve, Mark, line_chart
from .noise_level import TIMESTEPS, snr_db_of
from .route import Tally
from .split import Split

CHART_LIMIT_DB = 60.0  # pure noise is -inf dB and a finished latent +inf dB


def describe(split: Split, tally: Tally, notes: Sequence[str] = ()) -> str:
    """The split, the boundary, what each expert did, and what the user should know."""
    return "\n".join(
        [
            f"steps: {split.high_steps} high + {split.low_steps} low",
            f"boundary: {boundary_in_words(split.boundary_sigma)}",
            f"evaluations: {tally.evaluations[0]} high, {tally.evaluations[1]} low",
            f"loads: {tally.loads[0]} high, {tally.loads[1]} low",
            *(f"note: {note}" for note in notes),
        ]
    )


def boundary_in_words(sigma: float) -> str:
    """The boundary in every unit that a user may know it by."""
    if not 0.0 < sigma <= 1.0:
        return "none, one expert takes every step"
    return f"sigma {sigma:.4f} (timestep {sigma * TIMESTEPS:.1f}, SNR {snr_db_of(sigma):.2f} dB)"


def plot(split: Split, sigmas: Sequence[float]) -> Tensor:
    """The schedule over the steps in decibels, clipped where it is infinite, as an IMAGE: 1 h w 3."""
    levels_db = [clipped_db(sigma) for sigma in sigmas[:-1]]
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
