"""Where the experts change, as the user says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..checks import checked_number
from ..errors import InputError, quoted
from .experts import ExpertParams
from .noise_level import TIMESTEPS, sigma_of_snr_db, sigma_of_timestep
from .split import boundary_after_step, boundary_of_model

LARGEST_SNR_DB = 100.0
MOST_STEPS = 10000
RANGES = {  # unit -> lowest and highest value
    "snr_db": (-LARGEST_SNR_DB, LARGEST_SNR_DB),
    "sigma": (0.0, 1.0),
    "timestep": (0.0, float(TIMESTEPS)),
    "step": (0, MOST_STEPS),
}
UNITS = ("auto", *RANGES)
UNITS_OF_SIGMAS = tuple(unit for unit in UNITS if unit != "step")  # those that need no schedule


@dataclass(frozen=True, slots=True)
class Switch:
    """A place on a schedule."""

    unit: str  # one of UNITS
    value: float  # in that unit; 0 for auto


def switch_of(choice: object, *, units: Sequence[str] = UNITS) -> Switch:
    """The switch that a choice of the node stands for; raises InputError for an unknown unit or a value beside it."""
    given = choice if isinstance(choice, Mapping) else {}
    unit = given.get("switch")
    if unit == "auto":
        return Switch("auto", 0.0)
    if isinstance(unit, str) and unit in units:
        return Switch(unit, checked_number(given.get(unit), *RANGES[unit], name=f"switch.{unit}"))
    found = quoted(unit if isinstance(choice, Mapping) else choice)
    raise InputError("switch", found=found, wanted=f"one of {', '.join(units)}", fix="Pick one in the node.")


def boundary_at(switch: Switch, sigmas: Sequence[float], expert: ExpertParams) -> float:
    """The sigma at and above which the high-noise expert runs; raises InputError where there is none.

    ``sigmas`` is the whole schedule, which only a switch at a step reads; ``expert`` is either of the two.
    """
    match switch.unit:
        case "auto":
            return boundary_of_model(expert.network, expert.input_channels)
        case "snr_db":
            return sigma_of_snr_db(switch.value)
        case "timestep":
            return sigma_of_timestep(switch.value)
        case "step":
            return boundary_after_step(sigmas, int(switch.value))
    return switch.value
