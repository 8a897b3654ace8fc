"""MoESampler: two Wan2.2 experts, one sampling run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.errors import InputError
from ..wan_core.moe.inputs import checked_number, require_conditioning, require_latent, require_sigmas
from ..wan_core.moe.noise_level import TIMESTEPS, sigma_of_snr_db, sigma_of_timestep
from ..wan_core.moe.report import describe, plot
from ..wan_core.moe.route import Expert, Job, sample_once
from ..wan_core.moe.split import boundary_after_step, boundary_of_model, split_schedule
from . import host
from .types import names_its_errors

SWITCHES = ("auto", "snr_db", "sigma", "timestep", "step")
LARGEST_SNR_DB = 100.0
MOST_STEPS = 10000
OTHER_SHIFT = "model_low has another shift; the schedule is that of model_high"


class MoESampler(io.ComfyNode):
    """Samples a latent with the high-noise and the low-noise expert as one run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MoESampler",
            display_name="MoE Sampler (Wan2.2)",
            category="WanCast/sampling",
            description=(
                "Samples with both Wan2.2-A14B experts as one run: one schedule, one noise, one solver history. "
                "The high-noise expert runs down to the boundary, the low-noise expert below it."
            ),
            search_aliases=["wan moe", "ksampler wan", "two experts", "high low noise"],
            inputs=[
                io.Model.Input("model_high", tooltip="The high-noise expert, with its LoRAs and patches."),
                io.Model.Input("model_low", tooltip="The low-noise expert, with its LoRAs and patches."),
                io.Conditioning.Input("positive", tooltip="What the video should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show; an expert with cfg 1 ignores it."),
                io.Latent.Input("latent_image", tooltip="The latent to denoise; its size is the size of the video."),
                io.Int.Input(
                    "seed", default=0, min=0, max=2**64 - 1, control_after_generate=True,
                    tooltip="Decides the noise: the same seed and settings give the same latent.",
                ),
                io.Int.Input(
                    "steps", default=20, min=1, max=MOST_STEPS,
                    tooltip="Steps of the whole run, both experts together; not read when sigmas is linked.",
                ),
                io.Float.Input(
                    "cfg_high", default=4.0, min=0.0, max=100.0, step=0.1, round=0.01,
                    tooltip="Classifier-free guidance of the high-noise expert. 1 halves its cost.",
                ),
                io.Float.Input(
                    "cfg_low", default=3.0, min=0.0, max=100.0, step=0.1, round=0.01,
                    tooltip="Classifier-free guidance of the low-noise expert. 1 halves its cost.",
                ),
                io.Combo.Input("sampler_name", options=host.SAMPLERS, default="euler", tooltip="The solver."),
                io.Combo.Input(
                    "scheduler", options=host.SCHEDULERS, default="simple",
                    tooltip="How the noise levels are spread; not read when sigmas is linked.",
                ),
                io.Float.Input(
                    "denoise", default=1.0, min=0.0, max=1.0, step=0.01,
                    tooltip="Below 1, the latent that comes in is kept in part; not read when sigmas is linked.",
                ),
                switch_input(),
                io.Sigmas.Input(
                    "sigmas", optional=True, tooltip="A schedule from outside, instead of scheduler, steps and denoise."
                ),
            ],
            outputs=[
                io.Latent.Output("latent", tooltip="The sampled latent."),
                io.String.Output("report", tooltip="The split, the boundary and what each expert did."),
                io.Image.Output("plot", tooltip="The schedule in decibels, with the boundary and each expert's steps."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls, model_high: host.Model, model_low: host.Model, positive: host.Conditioning, negative: host.Conditioning,
        latent_image: host.Latent, seed: int, steps: int, cfg_high: float, cfg_low: float, sampler_name: str,
        scheduler: str, denoise: float, switch: dict[str, Any] | None = None, sigmas: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        require_inputs(model_high, model_low, positive, negative, latent_image)
        if sigmas is None:
            sigmas = own_schedule(model_high, sampler_name, scheduler, steps, denoise)
        require_sigmas(sigmas)
        split = split_schedule(sigmas.tolist(), boundary_sigma(switch, model_high, sigmas.tolist()))
        job = job_of(model_high, latent_image, seed, sampler_name, sigmas)
        with (
            host.lazy_guider(model_high, positive, negative, cfg_high) as high,
            host.lazy_guider(model_low, positive, negative, cfg_low) as low,
        ):
            experts = [
                Expert("high", high.guider, split.boundary_sigma, high.load),
                Expert("low", low.guider, 0.0, low.load),
            ]
            samples, tally = sample_once(experts, job, host.with_sampler_additions)
        notes = [] if host.same_schedule(model_high, model_low) else [OTHER_SHIFT]
        latent = host.finished_latent(latent_image, samples)
        return io.NodeOutput(latent, describe(split, tally, notes), plot(split, sigmas.tolist()))


def switch_input() -> io.DynamicCombo.Input:
    """Where the high-noise expert hands over to the low-noise expert."""
    snr = io.Float.Input(
        "snr_db", default=-16.9, min=-LARGEST_SNR_DB, max=LARGEST_SNR_DB, step=0.1, round=0.01,
        tooltip="Signal-to-noise ratio at the boundary in decibels: -16.9 for text, -19.08 for image to video.",
    )
    sigma = io.Float.Input(
        "sigma", default=0.875, min=0.0, max=1.0, step=0.001, round=0.0001,
        tooltip="Noise level at the boundary: 0.875 for text, 0.9 for image to video.",
    )
    timestep = io.Float.Input(
        "timestep", default=875.0, min=0.0, max=1000.0, step=1.0, round=0.1,
        tooltip="Diffusion timestep at the boundary, 1000 is pure noise. It is not a step number.",
    )
    step = io.Int.Input(
        "step", default=10, min=0, max=MOST_STEPS, tooltip="How many steps the high-noise expert takes first."
    )
    return io.DynamicCombo.Input(
        "switch",
        options=[
            io.DynamicCombo.Option("auto", []),
            io.DynamicCombo.Option("snr_db", [snr]),
            io.DynamicCombo.Option("sigma", [sigma]),
            io.DynamicCombo.Option("timestep", [timestep]),
            io.DynamicCombo.Option("step", [step]),
        ],
        tooltip="Where the experts change: auto takes the boundary that the experts were trained with.",
    )


def boundary_sigma(switch: dict[str, Any] | None, model_high: host.Model, sigmas: Sequence[float]) -> float:
    """The sigma at and above which the high-noise expert runs."""
    match switch:
        case {"switch": "auto"}:
            size = host.wan_size(model_high, input_name="model_high")
            return boundary_of_model(size.network, size.input_channels)
        case {"switch": "snr_db", "snr_db": value}:
            return sigma_of_snr_db(checked_number(value, -LARGEST_SNR_DB, LARGEST_SNR_DB, name="switch.snr_db"))
        case {"switch": "sigma", "sigma": value}:
            return checked_number(value, 0.0, 1.0, name="switch.sigma")
        case {"switch": "timestep", "timestep": value}:
            return sigma_of_timestep(checked_number(value, 0.0, TIMESTEPS, name="switch.timestep"))
        case {"switch": "step", "step": value}:
            return boundary_after_step(sigmas, int(checked_number(value, 0, MOST_STEPS, name="switch.step")))
    raise InputError("switch", found=switch, wanted=f"one of {', '.join(SWITCHES)}", fix="Pick one in the node.")


def require_inputs(
    model_high: host.Model, model_low: host.Model, positive: host.Conditioning, negative: host.Conditioning,
    latent: host.Latent,
) -> None:
    """Raises InputError for whatever comes through the sockets and cannot be sampled."""
    text_d = require_pair(model_high, model_low)
    require_conditioning(positive, text_d, name="positive")
    require_conditioning(negative, text_d, name="negative")
    require_latent(latent)


def require_pair(model_high: host.Model, model_low: host.Model) -> int:
    """The width of the text that both experts read; raises InputError unless they are Wan experts of one family."""
    high = host.wan_size(model_high, input_name="model_high")
    low = host.wan_size(model_low, input_name="model_low")
    if high != low:
        raise InputError(
            "model_low",
            found=describe_size(low),
            wanted=f"what model_high is: {describe_size(high)}",
            fix="Load the high-noise and the low-noise file of the same Wan2.2 model.",
        )
    return high.text_d


def describe_size(size: host.WanSize) -> str:
    """A model's sizes in words."""
    return (
        f"a {size.network} of {size.blocks} blocks of width {size.width_d}, "
        f"{size.input_channels} input channels and text of width {size.text_d}"
    )


def own_schedule(model: host.Model, sampler_name: str, scheduler: str, steps: int, denoise: float) -> torch.Tensor:
    """The sigmas of the node's own widgets; raises InputError when there is nothing to denoise."""
    if denoise <= 0.0:
        raise InputError("denoise", found=denoise, wanted="more than 0", fix="Raise denoise, or leave the sampler out.")
    return host.schedule(model, sampler_name, scheduler, steps, denoise)


def job_of(model: host.Model, latent: host.Latent, seed: int, sampler_name: str, sigmas: torch.Tensor) -> Job:
    """The run of the sampler, with the noise, mask and progress that the stock KSampler would have."""
    samples = host.start_latent(model, latent)
    return Job(
        noise=host.noise_for(samples, latent, seed),
        latent_image=samples,
        sampler=host.sampler_named(sampler_name),
        sigmas=sigmas,
        denoise_mask=latent.get("noise_mask"),
        seed=seed,
        on_step=host.preview_callback(model, len(sigmas) - 1),
        disable_pbar=host.progress_bar_disabled(),
    )
