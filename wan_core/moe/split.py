"""Which of the two experts denoises at which noise level.

The rule is that of Wan-Video/Wan2.2 (``t >= boundary * 1000`` is the high-noise expert), compared with a tolerance
because schedules are float32: float32(0.9) < 0.9.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError

SIGMA_TOLERANCE = 1e-6
TEXT_BOUNDARY, IMAGE_BOUNDARY = 0.875, 0.900
# The pairs of experts of 14B, by the host's class of their network and its input channels; those of Wan2.2-Fun are
# sampled with the boundaries in the configurations of aigc-apps/VideoX-Fun.
BOUNDARY_SIGMA = {
    ("WanModel", 16): TEXT_BOUNDARY,  # T2V
    ("WanModel", 36): IMAGE_BOUNDARY,  # I2V, Fun-InP
    ("WanModel", 52): IMAGE_BOUNDARY,  # Fun-Control
    ("CameraWanModel", 36): IMAGE_BOUNDARY,  # Fun-Control-Camera
    ("VaceWanModel", 16): TEXT_BOUNDARY,  # VACE-Fun
    ("VaceWanModel", 36): IMAGE_BOUNDARY,  # I2V with the blocks of VACE-Fun
}
PUBLISHED_PAIRS = "T2V, I2V, Fun-InP, Fun-Control, Fun-Control-Camera or VACE-Fun"
SINGLE_CHANNELS = {  # the host's class -> input channels of what comes as one model
    "WanModel": (48, 100, 148),  # TI2V-5B and Wan2.1-Fun-Control, Fun-5B-InP, Fun-5B-Control
    "CameraWanModel": (32, 100),  # Wan2.1-Fun-Control-Camera, Fun-5B-Control-Camera
}
SINGLE_NETWORKS = (  # the classes of which all do
    "WanModel_S2V",
    "AnimateWanModel",
    "HumoWanModel",
    "SCAILWanModel",
    "SCAIL2WanModel",
    "WanDancerModel",
)


@dataclass(frozen=True, slots=True)
class Split:
    """How a schedule falls into the parts of the two experts."""

    boundary_sigma: float  # the high-noise expert runs at this sigma and above
    high_steps: int  # steps that start at or above the boundary
    low_steps: int  # steps that start below it


def is_high(sigma: float, boundary_sigma: float) -> bool:
    """Whether the high-noise expert denoises at ``sigma``."""
    return sigma >= boundary_sigma - SIGMA_TOLERANCE


def split_schedule(sigmas: Sequence[float], boundary_sigma: float) -> Split:
    """Counts the steps of each expert; the last sigma of a schedule is where it ends and starts no step."""
    starts = sigmas[:-1]
    high = sum(is_high(sigma, boundary_sigma) for sigma in starts)
    return Split(boundary_sigma=boundary_sigma, high_steps=high, low_steps=len(starts) - high)


def boundary_of_model(network: str, input_channels: int) -> float:
    """The boundary that the experts were trained with; raises InputError for a model that has no known one.

    ``network`` is the host's class of the network.
    """
    if (network, input_channels) in BOUNDARY_SIGMA:
        return BOUNDARY_SIGMA[network, input_channels]
    is_single = network in SINGLE_NETWORKS or input_channels in SINGLE_CHANNELS.get(network, ())
    raise InputError(
        "switch",
        found=f"'auto' with a {network} of {input_channels} input channels",
        wanted=f"an expert of Wan2.2-A14B: {PUBLISHED_PAIRS}",
        fix="This is one model without a second expert: sample it with KSampler."
        if is_single
        else f"Set switch to sigma, {TEXT_BOUNDARY} for text and {IMAGE_BOUNDARY} for image to video.",
    )


def boundary_after_step(sigmas: Sequence[float], step: int, *, name: str = "switch") -> float:
    """A boundary that gives the first ``step`` steps of a falling schedule to the expert above it.

    ``name`` is the input that says ``step``. Raises InputError when the schedule rises anywhere.
    """
    for earlier, later in itertools.pairwise(sigmas):
        if later >= earlier:
            raise InputError(
                "sigmas",
                found=f"{later:.4g} after {earlier:.4g}",
                wanted=f"falling sigmas, because {name} counts steps",
                fix="Use a falling schedule, or do not count steps.",
            )
    if step == 0:
        return math.inf
    if step >= len(sigmas) - 1:
        return 0.0
    just_above = sigmas[step] + 10 * SIGMA_TOLERANCE  # what a solver evaluates within the last of the steps is above it
    return min(just_above, (sigmas[step - 1] + sigmas[step]) / 2.0)


def boundary_after_start(steps: int, sigmas: Sequence[float], boundary_sigma: float) -> float:
    """A boundary that gives the first ``steps`` steps to a third expert before the other two, which change at theirs.

    Raises InputError unless it has a step and ends before the switch.
    """
    high_steps = split_schedule(sigmas, boundary_sigma).high_steps
    if not 1 <= steps <= high_steps:
        raise InputError(
            "start_steps",
            found=f"{steps} with {high_steps} steps before the switch",
            wanted="at least 1, and no more than those",
            fix="Change start_steps or switch, or take guider_start off.",
        )
    return max(boundary_after_step(sigmas, steps, name="start_steps"), boundary_sigma)
