"""Schedules split where Wan2.2 splits them."""

from __future__ import annotations

import numpy as np
import pytest

from wan_core.errors import InputError
from wan_core.moe.split import Split, boundary_after_step, boundary_of_model, is_high, split_schedule


def shifted_schedule(steps: int, shift: float) -> list[float]:
    """The sigmas of Wan-Video/Wan2.2's solvers: evenly spaced from 0.999, then shifted."""
    return [shift * u / (1 + (shift - 1) * u) for u in (0.999 * (1 - i / steps) for i in range(steps + 1))]


@pytest.mark.parametrize(
    ("channels", "shift", "high", "low"), [(16, 12.0, 26, 14), (36, 5.0, 15, 25), (36, 3.0, 10, 30)]
)
def test_official_settings_give_the_official_split(channels: int, shift: float, high: int, low: int) -> None:
    split = split_schedule(shifted_schedule(40, shift), boundary_of_model("WanModel", channels))
    assert (split.high_steps, split.low_steps) == (high, low)


def test_a_distilled_four_step_schedule_gives_two_and_two() -> None:
    sigmas = [1.0, 0.9375, 0.8333, 0.625, 0.0]
    for channels in (16, 36):
        split = split_schedule(sigmas, boundary_of_model("WanModel", channels))
        assert (split.high_steps, split.low_steps) == (2, 2)


@pytest.mark.parametrize("boundary_sigma", [0.875, 0.9, 0.947])
def test_a_node_on_the_boundary_is_high_in_float32(boundary_sigma: float) -> None:
    assert is_high(float(np.float32(boundary_sigma)), boundary_sigma)
    assert not is_high(boundary_sigma - 2e-6, boundary_sigma)
    assert float(np.float32(0.9)) < 0.9


def test_the_end_of_a_schedule_starts_no_step() -> None:
    assert split_schedule([1.0, 0.95, 0.9], 0.9) == Split(0.9, high_steps=2, low_steps=0)
    assert split_schedule([1.0, 0.8, 0.95, 0.7], 0.9) == Split(0.9, high_steps=2, low_steps=1)


@pytest.mark.parametrize("step", range(11))
def test_a_switch_after_step_k_gives_k_high_steps(step: int) -> None:
    sigmas = shifted_schedule(10, 8.0)
    split = split_schedule(sigmas, boundary_after_step(sigmas, step))
    assert (split.high_steps, split.low_steps) == (step, 10 - step)


@pytest.mark.parametrize("step", [11, 10_000])
def test_a_switch_past_the_end_leaves_every_step_to_the_high_expert(step: int) -> None:
    sigmas = shifted_schedule(10, 8.0)
    assert split_schedule(sigmas, boundary_after_step(sigmas, step)).low_steps == 0


@pytest.mark.parametrize(
    ("sigmas", "found"), [([0.5, 0.9, 1.0], "0.9 after 0.5"), ([1.0, 0.5, 0.8, 0.3, 0.0], "0.8 after 0.5")]
)
def test_a_schedule_that_rises_anywhere_cannot_switch_at_a_step(sigmas: list[float], found: str) -> None:
    with pytest.raises(InputError, match=f"sigmas: found {found}"):
        boundary_after_step(sigmas, 1)


def test_the_input_that_counts_steps_is_named() -> None:
    with pytest.raises(InputError, match="wanted falling sigmas, because start_steps counts steps"):
        boundary_after_step([0.5, 0.9], 1, name="start_steps")


@pytest.mark.parametrize(("network", "channels"), [("WanModel", 48), ("WanModel_S2V", 16), ("AnimateWanModel", 36)])
def test_a_model_without_a_known_boundary_is_refused(network: str, channels: int) -> None:
    with pytest.raises(InputError, match=f"switch: found 'auto' with a {network} of {channels} input channels"):
        boundary_of_model(network, channels)
