"""Sockets and inputs that several nodes share, and what every node does with an error."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from comfy_api.latest import io

from ..wan_core.errors import errors_of
from ..wan_core.moe.policy import POLICIES
from ..wan_core.moe.switch import LARGEST_SNR_DB, MOST_STEPS, UNITS
from ..wan_core.vae.plan import MOST_TILES_EACH_WAY
from .inputs import given_inputs, require_inputs

WanIdentity = io.Custom("WAN_IDENTITY")  # wan_core.identity.record.Identity
WanIdAdapter = io.Custom("WAN_ID_ADAPTER")  # wan_core.adapters.adapter.Adapter
WanAudioFeatures = io.Custom("WAN_AUDIO_FEATURES")  # wan_core.audio.tracks.TrackSet

Execute = TypeVar("Execute", bound=Callable[..., io.NodeOutput])


def names_its_errors(execute: Execute) -> Execute:
    """Checks the inputs of an ``execute``, and puts the node's name in front of the errors that it raises."""

    @functools.wraps(execute)
    def named(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> io.NodeOutput:
        with errors_of(cls.NODE_ID):
            schema = cls.SCHEMA or cls.GET_SCHEMA()
            given = given_inputs(schema, kwargs)
            require_inputs(schema, given)
            return execute(cls, *args, **given)

    return named


# Inputs of the nodes that sample with two experts


def switch_input(units: Sequence[str] = UNITS) -> io.DynamicCombo.Input:
    """Where the high-noise expert hands over to the low-noise expert, in one of these units."""
    values = {
        "auto": [],
        "snr_db": [
            io.Float.Input(
                "snr_db",
                default=-16.9,
                min=-LARGEST_SNR_DB,
                max=LARGEST_SNR_DB,
                step=0.1,
                round=0.01,
                tooltip="Signal-to-noise ratio at the boundary in decibels: -16.9 for text, -19.08 for image to video.",
            )
        ],
        "sigma": [
            io.Float.Input(
                "sigma",
                default=0.875,
                min=0.0,
                max=1.0,
                step=0.001,
                round=0.0001,
                tooltip="Noise level at the boundary: 0.875 for text, 0.9 for image to video.",
            )
        ],
        "timestep": [
            io.Float.Input(
                "timestep",
                default=875.0,
                min=0.0,
                max=1000.0,
                step=1.0,
                round=0.1,
                tooltip="Diffusion timestep at the boundary, 1000 is pure noise. It is not a step number.",
            )
        ],
        "step": [
            io.Int.Input(
                "step",
                default=10,
                min=0,
                max=MOST_STEPS,
                tooltip="How many steps come before the low-noise expert, counted in the whole schedule.",
            )
        ],
    }
    return io.DynamicCombo.Input(
        "switch",
        options=[io.DynamicCombo.Option(unit, values[unit]) for unit in units],
        tooltip="Where the experts change: auto takes the boundary that the experts were trained with.",
    )


def policy_input() -> io.Combo.Input:
    """How a solver of several evaluations a step crosses the switch."""
    return io.Combo.Input(
        "policy",
        options=list(POLICIES),
        default=POLICIES[0],
        optional=True,
        advanced=True,
        tooltip=(
            "For solvers of several evaluations a step. strict: each by its noise level, as if both experts were one. "
            "latch: never back to the high-noise expert. per_step: as two samplers in a row."
        ),
    )


MEMORY = ("auto", "one_expert")


def memory_input() -> io.Combo.Input:
    """How many experts may be on a device at once."""
    return io.Combo.Input(
        "memory",
        options=list(MEMORY),
        default=MEMORY[0],
        optional=True,
        advanced=True,
        tooltip="auto: the experts stay on the device if they fit. one_expert: the others always leave first.",
    )


# Inputs of the nodes that decode video


def tiling_input() -> io.DynamicCombo.Input:
    """How the picture is cut for decoding."""
    columns, rows = (
        io.Int.Input(name, default=default, min=1, max=MOST_TILES_EACH_WAY, tooltip=f"Tiles {way}.")
        for name, default, way in (("columns", 2, "side by side"), ("rows", 1, "one below the other"))
    )
    return io.DynamicCombo.Input(
        "tiling",
        options=[
            io.DynamicCombo.Option("auto", []),
            io.DynamicCombo.Option("whole frame", []),
            io.DynamicCombo.Option("tiles", [columns, rows]),
        ],
        optional=True,
        tooltip=(
            "auto: the fastest way that fits into memory. whole frame: as VAE Decode, bit for bit, where that fits. "
            "tiles: exact, as they overlap as far as a pixel sees; less memory, more time. All differ by rounding only."
        ),
    )
