"""Every way to say where the experts change leads to the same place, and anything else is refused by name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.moe.small_runs import PARAMS
from wan_core.errors import InputError, quoted
from wan_core.moe import MOST_STEPS, UNITS_OF_SIGMAS, ExpertParams, Switch, switch_of
from wan_core.moe.split import split_schedule
from wan_core.moe.switch import LARGEST_SNR_DB, RANGES, UNITS, boundary_at

SIGMAS = [1.0, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0]
NUMBERS = {
    "snr_db": "a number from -100 to 100",
    "sigma": "a number from 0 to 1",
    "timestep": "a number from 0 to 1000",
    "step": "a number from 0 to 10000",
}


def choice_of(unit: str, value: Any) -> dict[str, Any]:
    """As the node has it: the values of other units may still lie beside."""
    return {"switch": unit, "sigma": 0.1, "timestep": 1.0, unit: value}


# What the node says


def test_the_units_are_those_of_the_nodes() -> None:
    assert UNITS == ("auto", "snr_db", "sigma", "timestep", "step")
    assert UNITS_OF_SIGMAS == ("auto", "snr_db", "sigma", "timestep")
    assert (LARGEST_SNR_DB, MOST_STEPS) == (100.0, 10000)


VALUES = {"snr_db": [-16.9, -100.0, 100], "sigma": [0.875, 0.0, 1], "timestep": [875.0, 0, 1000.0], "step": [0, 10000]}


def test_auto_needs_no_value_and_a_value_within_its_range_is_taken_as_it_is() -> None:
    assert switch_of({"switch": "auto", "sigma": "anything"}, units=UNITS_OF_SIGMAS) == Switch("auto", 0.0)
    for unit, values in VALUES.items():
        assert [switch_of(choice_of(unit, value)) for value in values] == [Switch(unit, value) for value in values]


@pytest.mark.parametrize("unit", RANGES)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, -100.5, 10001, "0.5", [0.5], 1j])
def test_a_value_that_is_no_number_of_its_range_is_refused(unit: str, value: Any) -> None:
    choices = [choice_of(unit, value), *([{"switch": unit}] if value is None else [])]
    for choice in choices:
        with pytest.raises(InputError) as caught:
            switch_of(choice)
        assert str(caught.value) == f"switch.{unit}: found {quoted(value)}; wanted {NUMBERS[unit]}. Set it in the node."


NO_UNITS = [None, "sigma", [], *({"switch": unit} for unit in ("percent", "k" * 999, None, 0.5, ["sigma"]))]


@pytest.mark.parametrize(
    ("choice", "units"), [*((choice, UNITS) for choice in NO_UNITS), ({"switch": "step", "step": 3}, UNITS_OF_SIGMAS)]
)
def test_a_choice_that_is_no_unit_of_the_node_is_refused(choice: object, units: tuple[str, ...]) -> None:
    assert switch_of(choice_of("sigma", 0.5), units=units) == Switch("sigma", 0.5)
    with pytest.raises(InputError) as caught:
        switch_of(choice, units=units)
    found = quoted(choice["switch"] if isinstance(choice, dict) and "switch" in choice else choice)
    assert str(caught.value) == f"switch: found {found}; wanted one of {', '.join(units)}. Pick one in the node."


# Where it is


def boundary(unit: str, value: float, expert: ExpertParams = PARAMS) -> float:
    return boundary_at(Switch(unit, value), SIGMAS, expert)


def test_auto_is_refused_for_a_model_without_a_known_boundary_and_other_units_are_not() -> None:
    with pytest.raises(InputError, match="switch: found 'auto' with a WanModel of 48 input channels"):
        boundary("auto", 0.0, replace(PARAMS, input_channels=48))
    assert boundary("sigma", 0.7, ExpertParams("Anything", 48, 8.0)) == 0.7


@pytest.mark.parametrize("sigma", [0.01, 0.3, 0.5, 0.875, 0.9, 0.99])
def test_all_units_of_one_level_are_one_boundary(sigma: float) -> None:
    snr_db = 20.0 * math.log10((1.0 - sigma) / sigma)  # amplitude of the signal over that of the noise
    for unit, value in [("sigma", sigma), ("timestep", 1000.0 * sigma), ("snr_db", snr_db)]:
        assert boundary(unit, value) == pytest.approx(sigma, rel=1e-12)


@pytest.mark.parametrize(("snr_db", "sigma"), [(-16.9, 0.875), (-19.08, 0.9), (0.0, 0.5)])
def test_the_decibels_that_the_node_names_are_those_of_the_trained_boundaries(snr_db: float, sigma: float) -> None:
    assert boundary("snr_db", snr_db) == pytest.approx(sigma, abs=1e-4)


def test_only_a_switch_at_a_step_reads_the_schedule() -> None:
    rising = [0.2, 0.9]
    for unit, value in [("auto", 0.0), ("sigma", 0.5), ("timestep", 500.0), ("snr_db", 0.0)]:
        assert boundary_at(Switch(unit, value), rising, PARAMS) == boundary(unit, value)
    assert split_schedule(SIGMAS, boundary("step", 4)).high_steps == 4
    with pytest.raises(InputError, match="because switch counts steps"):
        boundary_at(Switch("step", 1), rising, PARAMS)
