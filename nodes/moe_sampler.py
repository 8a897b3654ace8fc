"""MoESampler: two Wan2.2 experts, one sampling run."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.checks import require_choice, require_conditioning
from ..wan_core.errors import InputError
from ..wan_core.moe.inputs import require_latent, require_sigmas
from ..wan_core.moe.plan import POLICIES
from ..wan_core.moe.report import plot
from ..wan_core.moe.route import Job
from ..wan_core.moe.schedule import steps_between
from ..wan_core.moe.split import split_schedule
from ..wan_core.moe.switch import MOST_STEPS, boundary_at, switch_of
from .host import guiders, sampling
from .host.models import Model, WanSize, wan_pair
from .host.sampling import Conditioning, Latent
from .types import MEMORY, memory_input, names_its_errors, policy_input, switch_input


class MoESampler(io.ComfyNode):
    """Samples a latent with the high-noise and the low-noise expert as one run."""

    NODE_ID = "MoESampler"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
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
                    "seed",
                    default=0,
                    min=0,
                    max=2**64 - 1,
                    control_after_generate=True,
                    tooltip="Decides the noise: the same seed and settings give the same latent.",
                ),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=MOST_STEPS,
                    tooltip="Steps of the whole run, both experts together; not read when sigmas is linked.",
                ),
                io.Float.Input(
                    "cfg_high",
                    default=4.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Classifier-free guidance of the high-noise expert. 1 halves its cost.",
                ),
                io.Float.Input(
                    "cfg_low",
                    default=3.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    round=0.01,
                    tooltip="Classifier-free guidance of the low-noise expert. 1 halves its cost.",
                ),
                io.Combo.Input("sampler_name", options=sampling.SAMPLERS, default="euler", tooltip="The solver."),
                io.Combo.Input(
                    "scheduler",
                    options=sampling.SCHEDULERS,
                    default="simple",
                    tooltip="How the noise levels are spread; not read when sigmas is linked.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1, the latent that comes in is kept in part; not read when sigmas is linked.",
                ),
                switch_input(),
                io.Sigmas.Input(
                    "sigmas", optional=True, tooltip="A schedule from outside, instead of scheduler, steps and denoise."
                ),
                io.Boolean.Input(
                    "add_noise",
                    default=True,
                    optional=True,
                    tooltip="Off: the latent that comes in has its noise already, left over by another sampler.",
                ),
                io.Int.Input(
                    "start_at_step",
                    default=0,
                    min=0,
                    max=MOST_STEPS,
                    optional=True,
                    tooltip="The first step to run; the steps before it are left to another sampler.",
                ),
                io.Int.Input(
                    "end_at_step",
                    default=MOST_STEPS,
                    min=0,
                    max=MOST_STEPS,
                    optional=True,
                    tooltip="The step to stop before; the steps from there on are left to another sampler.",
                ),
                io.Boolean.Input(
                    "return_with_leftover_noise",
                    default=False,
                    optional=True,
                    tooltip="When it stops early: on keeps the noise for another sampler, off denoises to the end.",
                ),
                policy_input(),
                memory_input(),
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
        cls,
        model_high: Model,
        model_low: Model,
        positive: Conditioning,
        negative: Conditioning,
        latent_image: Latent,
        seed: int,
        steps: int,
        cfg_high: float,
        cfg_low: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        switch: dict[str, Any] | None = None,
        sigmas: torch.Tensor | None = None,
        add_noise: bool = True,
        start_at_step: int = 0,
        end_at_step: int = MOST_STEPS,
        return_with_leftover_noise: bool = False,
        policy: str = POLICIES[0],
        memory: str = MEMORY[0],
    ) -> io.NodeOutput:
        size = require_inputs(model_high, model_low, positive, negative, latent_image)
        require_choice(policy, POLICIES, name="policy")
        require_choice(memory, MEMORY, name="memory")
        if sigmas is None:
            sigmas = own_schedule(model_high, sampler_name, scheduler, steps, denoise)
        require_sigmas(sigmas)
        boundary_sigma = boundary_at(switch_of(switch), sigmas.tolist(), size.network, size.input_channels)
        sigmas = steps_between(sigmas, start_at_step, end_at_step, leftover_noise=return_with_leftover_noise)
        experts = [
            guiders.lazy(guiders.cfg_guider(model_high, positive, negative, cfg_high)),
            guiders.lazy(guiders.cfg_guider(model_low, positive, negative, cfg_low)),
        ]
        team = guiders.Team(experts, guiders.TWO, (boundary_sigma, 0.0), policy, memory)
        job = job_of(model_high, latent_image, seed, sampler_name, sigmas, add_noise=add_noise)
        samples, report = guiders.sample_together(team, job)
        latent = sampling.finished_latent(latent_image, samples)
        split = split_schedule(sigmas.tolist(), boundary_sigma)
        return io.NodeOutput(latent, str(report), plot(split, sigmas.tolist()))


def require_inputs(
    model_high: Model, model_low: Model, positive: Conditioning, negative: Conditioning, latent: Latent
) -> WanSize:
    """The size of both models; raises InputError for whatever comes through the sockets and cannot be sampled."""
    size = wan_pair({"model_high": model_high, "model_low": model_low})
    require_conditioning(positive, size.text_d, name="positive")
    require_conditioning(negative, size.text_d, name="negative")
    require_latent(latent)
    return size


def own_schedule(model: Model, sampler_name: str, scheduler: str, steps: int, denoise: float) -> torch.Tensor:
    """The sigmas of the node's own widgets; raises InputError when there is nothing to denoise."""
    if denoise <= 0.0:
        raise InputError("denoise", found=denoise, wanted="more than 0", fix="Raise denoise, or leave the sampler out.")
    return sampling.schedule(model, sampler_name, scheduler, steps, denoise)


def job_of(model: Model, latent: Latent, seed: int, sampler_name: str, sigmas: torch.Tensor, *, add_noise: bool) -> Job:
    """The run of the sampler, with the noise, mask and progress that the stock sampler would have."""
    samples = sampling.start_latent(model, latent)
    return Job(
        noise=sampling.noise_for(samples, latent, seed, add_noise=add_noise),
        latent_image=samples,
        sampler=sampling.sampler_named(sampler_name),
        sigmas=sigmas,
        denoise_mask=latent.get("noise_mask"),
        seed=seed,
        on_step=sampling.preview_callback(model, len(sigmas) - 1),
        disable_pbar=sampling.progress_bar_disabled(),
    )
