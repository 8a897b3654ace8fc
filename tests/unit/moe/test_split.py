"""Schedules split where Wan2.2 splits them."""

from __future__ import annotations

import numpy as np
import pytest

from wan_core.errors import InputError
from wan_core.moe.split import (
    Split,
    boundary_after_start,
    boundary_after_step,
    boundary_of_model,
    is_high,
    split_schedule,
)


def official_schedule(steps: int, shift: float) -> list[float]:
    """The sigmas of Wan-Video/Wan2.2's solvers: evenly spaced from 0.999, then shifted."""
    return [shift * u / (1 + (shift - 1) * u) for u in (0.999 * (1 - i / steps) for i in range(steps + 1))]


DISTILLED = [1.0, 0.9375, 0.8333, 0.625, 0.0]


@pytest.mark.parametrize(
    ("channels", "sigmas", "high", "low"),
    [
        (16, official_schedule(40, 12.0), 26, 14),
        (36, official_schedule(40, 5.0), 15, 25),
        (36, official_schedule(40, 3.0), 10, 30),
        (16, DISTILLED, 2, 2),
        (36, DISTILLED, 2, 2),
    ],
)
def test_official_settings_give_the_official_split(channels: int, sigmas: list[float], high: int, low: int) -> None:
    boundary_sigma = boundary_of_model("WanModel", channels)
    assert split_schedule(sigmas, boundary_sigma) == Split(boundary_sigma, high, low)


@pytest.mark.parametrize("boundary_sigma", [0.875, 0.9, 0.947])
def test_a_node_on_the_boundary_is_high_in_float32(boundary_sigma: float) -> None:
    assert is_high(float(np.float32(boundary_sigma)), boundary_sigma)
    assert not is_high(boundary_sigma - 2e-6, boundary_sigma)
    assert float(np.float32(0.9)) < 0.9


def test_the_end_of_a_schedule_starts_no_step() -> None:
    assert split_schedule([1.0, 0.95, 0.9], 0.9) == Split(0.9, high_steps=2, low_steps=0)
    assert split_schedule([1.0, 0.8, 0.95, 0.7], 0.9) == Split(0.9, high_steps=2, low_steps=1)


@pytest.mark.parametrize("step", [*range(11), 10_000])
def test_a_switch_after_step_k_gives_k_high_steps(step: int) -> None:
    sigmas = official_schedule(10, 8.0)
    split = split_schedule(sigmas, boundary_after_step(sigmas, step))
    assert (split.high_steps, split.low_steps) == (min(step, 10), max(10 - step, 0))


@pytest.mark.parametrize("start_steps", range(1, 6))
def test_a_third_expert_takes_the_first_steps_and_leaves_the_switch_where_it_is(start_steps: int) -> None:
    sigmas = official_schedule(10, 8.0)
    boundary = sigmas[4] - 1e-4  # just below the fifth step
    start = boundary_after_start(start_steps, sigmas, boundary)
    assert split_schedule(sigmas, start).high_steps == start_steps
    assert start >= boundary


REFUSED = {
    "rises": (
        lambda: boundary_after_step([0.5, 0.9, 1.0], 1),
        "sigmas: found 0.9 after 0.5; wanted falling sigmas, because switch counts steps. "
        "Use a falling schedule, or do not count steps.",
    ),
    "stays": (lambda: boundary_after_step([1.0, 0.5, 0.5], 1), "sigmas: found 0.5 after 0.5; wanted falling sigmas"),
    "rises later": (lambda: boundary_after_step([1.0, 0.5, 0.8, 0.3, 0.0], 1), "sigmas: found 0.8 after 0.5; wanted "),
    "no known boundary": (
        lambda: boundary_of_model("CameraWanModel", 48),
        "switch: found 'auto' with a CameraWanModel of 48 input channels; wanted an expert of Wan2.2-A14B: T2V, I2V, "
        "Fun-InP, Fun-Control, Fun-Control-Camera or VACE-Fun. Set switch to sigma, 0.875 for text and 0.9 for image "
        "to video.",
    ),
    "no first step": (
        lambda: boundary_after_start(0, DISTILLED, 0.9),
        "start_steps: found 0 with 2 steps before the switch; wanted at least 1, and no more than those. "
        "Change start_steps or switch, or take guider_start off.",
    ),
    "too many first steps": (lambda: boundary_after_start(3, DISTILLED, 0.9), "start_steps: found 3 with 2 steps bef"),
    "first steps that rise": (
        lambda: boundary_after_start(1, [0.92, 0.95, 0.5], 0.9),
        "sigmas: found 0.95 after 0.92; wanted falling sigmas, because start_steps counts steps. ",
    ),
}


@pytest.mark.parametrize(
    ("network", "channels", "boundary_sigma"),
    [  # the configurations of VideoX-Fun: Fun-InP, Fun-Control, Fun-Control-Camera, VACE-Fun
        ("WanModel", 36, 0.9),
        ("WanModel", 52, 0.9),
        ("CameraWanModel", 36, 0.9),
        ("VaceWanModel", 16, 0.875),
        ("VaceWanModel", 36, 0.9),
    ],
)
def test_published_pairs_have_their_boundaries(network: str, channels: int, boundary_sigma: float) -> None:
    assert boundary_of_model(network, channels) == boundary_sigma


SINGLE = {"WanModel": (48, 100, 148), "CameraWanModel": (32, 100), "WanModel_S2V": (16,), "AnimateWanModel": (36,)}


@pytest.mark.parametrize(
    ("network", "channels"), [(name, count) for name, counts in SINGLE.items() for count in counts]
)
def test_a_single_model_is_sent_to_the_stock_sampler(network: str, channels: int) -> None:
    with pytest.raises(InputError, match="This is one model without a second expert: sample it with KSampler.$"):
        boundary_of_model(network, channels)


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_boundary_is_refused_by_name(case: str) -> None:
    ask, message = REFUSED[case]
    with pytest.raises(InputError) as caught:
        ask()
    assert str(caught.value).startswith(message)
