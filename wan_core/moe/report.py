"""What a sampling run over several experts did, in words and as a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..media.chart import Curve, Mark, line_chart
from ..notes import Note, note_lines
from .noise_level import TIMESTEPS, snr_db_of
from .plan import serving
from .route import Tally
from .split import Split

CHART_LIMIT_DB = 60.0  # pure noise is -inf dB and a finished latent +inf dB


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did, in the experts' order."""

    names: tuple[str, ...]
    sigma_mins: tuple[float, ...]  # the lowest sigma of each expert; the last one takes the rest
    sigmas: tuple[float, ...]  # the schedule that was run
    policy: str
    tallies: tuple[Tally, ...]
    notes: tuple[Note, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def in_one_line(self) -> str:
        """The same for a log."""
        return "; ".join(self.lines())

    def lines(self) -> list[str]:
        """One line a fact."""
        loading = ", ".join(f"{tally.load_seconds:.1f}" for tally in self.tallies)
        return [
            "steps: " + " + ".join(self.per_expert(self.steps())),
            *(f"boundary: {boundary_in_words(sigma)}" for sigma in self.sigma_mins[:-1]),
            "evaluations: " + ", ".join(self.per_expert(tally.evaluations for tally in self.tallies)),
            "loads: " + ", ".join(self.per_expert(tally.loads for tally in self.tallies)),
            "seconds: "
            + ", ".join(self.per_expert(f"{tally.seconds:.1f}" for tally in self.tallies))
            + f" (loading {loading})",
            f"policy: {self.policy}",
            *note_lines(self.notes),
        ]

    def steps(self) -> list[int]:
        """How many steps of the schedule start in each expert's range."""
        served = [serving(sigma, self.sigma_mins) for sigma in self.sigmas[:-1]]
        return [served.count(index) for index in range(len(self.names))]

    def per_expert(self, values: Iterable[object]) -> list[str]:
        """Each value with its expert's name."""
        return [f"{value} {name}" for value, name in zip(values, self.names, strict=True)]


def boundary_in_words(sigma: float) -> str:
    """The boundary in every unit that a user may know it by."""
    if sigma <= 0.0:
        return "none, every step lies above it"
    if sigma > 1.0:
        return "none, every step lies below it"
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
