"""Every way to say where the experts change leads to the same place, and anything else is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest

from wan_core.errors import InputError
from wan_core.moe.split import split_schedule
from wan_core.moe.switch import LARGEST_SNR_DB, MOST_STEPS, RANGES, UNITS, Switch, boundary_at, switch_of

SIGMAS = [1.0, 0.95, 0.9, 0.8, 0.6, 0.3, 0.0]
NUMBERS = {
    "snr_db": "a number from -100 to 100",
    "sigma": "a number from 0 to 1",
    "timestep": "a number from 0 to 1000",
    "step": "a number from 0 to 10000",
}
UNITS_OF_SIGMAS = ("auto", "snr_db", "sigma", "timestep")


def choice_of(unit: str, value: Any) -> dict[str, Any]:
    """As the node has it: the values of other units may still lie beside."""
    return {"switch": unit, "sigma": 0.1, "timestep": 1.0, unit: value}


# What the node says


def test_the_units_are_those_of_the_node() -> None:
    assert UNITS == ("auto", "snr_db", "sigma", "timestep", "step")
    assert (LARGEST_SNR_DB, MOST_STEPS) == (100.0, 10000)


def test_auto_needs_no_value() -> None:
    assert switch_of({"switch": "auto"}) == Switch("auto", 0.0)
    assert switch_of({"switch": "auto", "sigma": "anything"}, units=UNITS_OF_SIGMAS) == Switch("auto", 0.0)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("snr_db", -16.9),
        ("snr_db", -100.0),
        ("snr_db", 100),
        ("sigma", 0.875),
        ("sigma", 0.0),
        ("sigma", 1),
        ("timestep", 875.0),
        ("timestep", 0),
        ("timestep", 1000.0),
        ("step", 0),
        ("step", 10),
        ("step", 10000),
    ],
)
def test_a_value_within_its_range_is_taken_as_it_is(unit: str, value: float) -> None:
    assert switch_of(choice_of(unit, value)) == Switch(unit, value)


@pytest.mark.parametrize("unit", RANGES)
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "None"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (-100.5, "-100.5"),
        (10001, "10001"),
        ("0.5", "'0.5'"),
        ([0.5], "[0.5]"),
        (1j, "1j"),
    ],
)
def test_a_value_that_is_no_number_of_its_range_is_refused(unit: str, value: Any, found: str) -> None:
    with pytest.raises(InputError) as caught:
        switch_of(choice_of(unit, value))
    assert str(caught.value) == f"switch.{unit}: found {found}; wanted {NUMBERS[unit]}. Set it in the node."


@pytest.mark.parametrize("unit", RANGES)
def test_a_unit_without_its_value_is_refused(unit: str) -> None:
    with pytest.raises(InputError) as caught:
        switch_of({"switch": unit})
    assert str(caught.value) == f"switch.{unit}: found None; wanted {NUMBERS[unit]}. Set it in the node."


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        (None, "None"),
        ("sigma", "sigma"),
        ({}, "{}"),
        ([], "[]"),
        ({"sigma": 0.5}, "{'sigma': 0.5}"),
        ({"switch": "percent"}, "{'switch': 'percent'}"),
        ({"switch": None}, "{'switch': None}"),
        ({"switch": 0.5}, "{'switch': 0.5}"),
        ({"switch": ["sigma"]}, "{'switch': ['sigma']}"),
    ],
)
def test_a_choice_that_is_no_unit_is_refused(choice: object, found: str) -> None:
    with pytest.raises(InputError) as caught:
        switch_of(choice)
    wanted = "one of auto, snr_db, sigma, timestep, step"
    assert str(caught.value) == f"switch: found {found}; wanted {wanted}. Pick one in the node."


def test_a_node_with_fewer_units_refuses_the_others() -> None:
    assert switch_of(choice_of("sigma", 0.5), units=UNITS_OF_SIGMAS) == Switch("sigma", 0.5)
    with pytest.raises(InputError) as caught:
        switch_of({"switch": "step", "step": 3}, units=UNITS_OF_SIGMAS)
    found, wanted = "{'switch': 'step', 'step': 3}", "one of auto, snr_db, sigma, timestep"
    assert str(caught.value) == f"switch: found {found}; wanted {wanted}. Pick one in the node."


# Where it is


def boundary(unit: str, value: float, network: str = "WanModel", input_channels: int = 16) -> float:
    return boundary_at(Switch(unit, value), SIGMAS, network, input_channels)


@pytest.mark.parametrize(
    ("network", "channels", "sigma"),
    [
        ("WanModel", 16, 0.875),
        ("WanModel", 36, 0.9),
        ("VaceWanModel", 16, 0.875),
        ("VaceWanModel", 36, 0.9),
    ],
)
def test_auto_is_the_boundary_of_the_training(network: str, channels: int, sigma: float) -> None:
    assert boundary("auto", 0.0, network, channels) == sigma


def test_auto_is_refused_for_a_model_without_a_known_boundary_and_other_units_are_not() -> None:
    with pytest.raises(InputError, match="switch: found 'auto' with a WanModel of 48 input channels"):
        boundary("auto", 0.0, input_channels=48)
    assert boundary("sigma", 0.7, "Anything", 48) == 0.7


@pytest.mark.parametrize("sigma", [0.01, 0.3, 0.5, 0.875, 0.9, 0.99])
def test_all_units_of_one_level_are_one_boundary(sigma: float) -> None:
    snr_db = 20.0 * math.log10((1.0 - sigma) / sigma)  # amplitude of the signal over that of the noise
    for unit, value in [("sigma", sigma), ("timestep", 1000.0 * sigma), ("snr_db", snr_db)]:
        assert boundary(unit, value) == pytest.approx(sigma, rel=1e-12)


@pytest.mark.parametrize(("snr_db", "sigma"), [(-16.9, 0.875), (-19.08, 0.9), (0.0, 0.5)])
def test_the_decibels_that_the_node_names_are_those_of_the_trained_boundaries(snr_db: float, sigma: float) -> None:
    assert boundary("snr_db", snr_db) == pytest.approx(sigma, abs=1e-4)


@pytest.mark.parametrize("step", range(9))
def test_a_switch_at_a_step_gives_so_many_steps_to_the_high_expert(step: int) -> None:
    split = split_schedule(SIGMAS, boundary("step", step))
    assert split.high_steps == min(step, 6)


def test_only_a_switch_at_a_step_reads_the_schedule() -> None:
    rising = [0.2, 0.9]
    for unit, value in [("auto", 0.0), ("sigma", 0.5), ("timestep", 500.0), ("snr_db", 0.0)]:
        assert boundary_at(Switch(unit, value), rising, "WanModel", 16) == boundary(unit, value)
    with pytest.raises(InputError) as caught:
        boundary_at(Switch("step", 1), rising, "WanModel", 16)
    wanted = "falling sigmas, because switch counts steps"
    assert str(caught.value) == (
        f"sigmas: found 0.9 after 0.2; wanted {wanted}. Use a falling schedule, or do not count steps."
    )
