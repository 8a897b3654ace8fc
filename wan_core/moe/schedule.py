"""Schedules with a wanted split between the experts, and the part of a schedule that a run takes.

A schedule is its falling sigmas, one more than it has steps. Even means even in the position u of ``noise_level``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ..checks import require_choice
from ..errors import InputError
from .experts import ExpertParams
from .inputs import require_run, require_sigmas
from .noise_level import shifted, unshifted
from .split import SIGMA_TOLERANCE
from .switch import Switch, boundary_at

SPACINGS = ("aligned", "shifted")
BOUNDARY_GAP = 10 * SIGMA_TOLERANCE  # a node this far below the boundary is a low step, in float32 too
BOUNDARY_MARGIN = 1e-3  # nearer to the ends, nodes of float32 are no longer told apart
STEPS_FIX = "Set high_steps and low_steps to how many steps each expert takes."


# The part that a run takes


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """The noise levels of a whole run, and which of its steps are made; raises InputError for what is no SIGMAS."""

    sigmas: Tensor  # steps + 1, from 0 to 1
    start_step: int = 0
    end_step: int | None = None  # the step to stop before; None for the end
    leftover_noise: bool = False  # whether a part that ends early keeps its noise

    def __post_init__(self) -> None:
        require_sigmas(self.sigmas)

    def part(self) -> Tensor:
        """The sigmas of the steps that are made, cut as the stock KSamplerAdvanced cuts them, in a tensor of their own.

        A part that ends early runs to sigma 0 all the same, unless it keeps its noise. Raises InputError when no step
        is left, and when one starts at sigma 0 or the last ends at sigma 1.
        """
        whole_steps = len(self.sigmas) - 1
        end_step = whole_steps if self.end_step is None else self.end_step
        steps = min(max(end_step, 0), whole_steps)
        if not 0 <= self.start_step < steps:
            raise InputError(
                "start_at_step",
                found=f"{self.start_step} of {steps} steps",
                wanted="at least one step before end_at_step",
                fix="Lower start_at_step, or raise end_at_step or the steps of the schedule.",
            )
        part = self.sigmas[self.start_step : steps + 1].clone()
        if end_step < whole_steps and not self.leftover_noise:
            part[-1] = 0.0
        require_run(part.tolist())
        return part


# Schedules with a wanted split


@dataclass(frozen=True, slots=True)
class ExactSchedule:
    """A schedule in which each expert takes exactly so many steps."""

    sigmas: tuple[float, ...]
    high_steps: int
    low_steps: int
    boundary_sigma: float
    shift: float


def exact_schedule(
    high_steps: int, low_steps: int, switch: Switch, spacing: str, expert: ExpertParams
) -> ExactSchedule:
    """A schedule for experts as ``expert``, with its own shift (aligned) or with one that gives this split (shifted).

    Raises InputError for numbers that make no such schedule.
    """
    require_choice(spacing, SPACINGS, name="spacing")
    boundary_sigma = boundary_at(switch, (), expert)
    if spacing == "aligned":
        shift = expert.shift
        sigmas = aligned_sigmas(high_steps, low_steps, boundary_sigma, shift)
    else:
        shift = shift_for_split(high_steps, low_steps, boundary_sigma)
        sigmas = even_sigmas(high_steps + low_steps, shift)
    return ExactSchedule(tuple(sigmas), high_steps, low_steps, boundary_sigma, shift)


def even_sigmas(steps: int, shift: float) -> list[float]:
    """``steps`` + 1 sigmas from 1 to 0, even in u; raises InputError without a step or a positive shift."""
    if steps < 1:
        raise InputError("steps", found=steps, wanted="at least 1", fix="Raise steps.")
    _require_shift(shift)
    return [shifted((steps - i) / steps, shift) for i in range(steps + 1)]


def aligned_sigmas(high_steps: int, low_steps: int, boundary_sigma: float, shift: float) -> list[float]:
    """``high_steps`` + ``low_steps`` + 1 sigmas, even in u on both sides of a node just below the boundary.

    The low expert takes the step from that node. Without high steps the schedule starts there; without low steps it
    ends there, with noise left. Raises InputError for numbers that make no such schedule.
    """
    _require_counts(high_steps, low_steps)
    _require_boundary(boundary_sigma)
    _require_shift(shift)
    switch_sigma = boundary_sigma - BOUNDARY_GAP
    high_u = 1.0 - unshifted(boundary_sigma, shift)  # the length of the high part
    low_u = unshifted(switch_sigma, shift)  # the length of the low part
    return [
        *(shifted(1.0 - high_u * i / high_steps, shift) for i in range(high_steps)),
        switch_sigma,
        *(shifted(low_u * (low_steps - i) / low_steps, shift) for i in range(1, low_steps + 1)),
    ]


def shift_for_split(high_steps: int, low_steps: int, boundary_sigma: float) -> float:
    """The shift with which ``even_sigmas`` gives this split, its boundary midway in u between the two experts.

    Raises InputError without a high step: an even schedule starts at sigma 1, which is the high expert's.
    """
    _require_counts(high_steps, low_steps)
    _require_boundary(boundary_sigma)
    if high_steps == 0:
        raise InputError(
            "high_steps",
            found=high_steps,
            wanted="at least 1, because an even schedule starts at pure noise",
            fix="Raise high_steps, or set spacing to aligned.",
        )
    u = 1.0 - (high_steps - 0.5) / (high_steps + low_steps)
    return boundary_sigma * (1.0 - u) / (u * (1.0 - boundary_sigma))


def _require_counts(high_steps: int, low_steps: int) -> None:
    for name, steps in (("high_steps", high_steps), ("low_steps", low_steps)):
        if steps < 0:
            raise InputError(name, found=steps, wanted="0 or more", fix=STEPS_FIX)
    if high_steps + low_steps == 0:
        raise InputError("high_steps", found="0 with low_steps 0", wanted="at least one step", fix=STEPS_FIX)


def _require_boundary(boundary_sigma: float) -> None:
    if not BOUNDARY_MARGIN <= boundary_sigma <= 1.0 - BOUNDARY_MARGIN:
        raise InputError(
            "switch",
            found=f"a boundary at sigma {boundary_sigma:.6g}",
            wanted=f"a sigma from {BOUNDARY_MARGIN:g} to {1.0 - BOUNDARY_MARGIN:g}",
            fix="The trained boundaries are 0.875 for text and 0.9 for image to video.",
        )


def _require_shift(shift: float) -> None:
    if not 0.0 < shift < math.inf:
        raise InputError(
            "shift", found=shift, wanted="a number above 0", fix="Set the shift of the model, 5 to 12 is usual."
        )
