"""MoESampler: two Wan2.2 experts, one sampling run."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..wan_core.moe import MOST_STEPS, POLICIES, SampleRequest, Schedule, describe, plot, switch_of
from .host import sampling
from .host.guiders import TWO, cfg_guiders, experts_of, sample_on_host
from .host.models import wan_experts
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
                *_sources(),
                *_run_inputs(),
                switch_input(),
                *_part_inputs(),
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
        model_high: io.Model.Type,
        model_low: io.Model.Type,
        positive: io.Conditioning.Type,
        negative: io.Conditioning.Type,
        latent_image: io.Latent.Type,
        seed: int,
        steps: int,
        cfg_high: float,
        cfg_low: float,
        sampler_name: str,
        scheduler: str,
        denoise: float,
        switch: dict[str, Any] | None = None,
        sigmas: io.Sigmas.Type | None = None,
        add_noise: bool = True,
        start_at_step: int = 0,
        end_at_step: int = MOST_STEPS,
        return_with_leftover_noise: bool = False,
        policy: str = POLICIES[0],
        memory: str = MEMORY[0],
    ) -> io.NodeOutput:
        place = switch_of(switch)
        wan = wan_experts({"model_high": model_high, "model_low": model_low})
        guiders = cfg_guiders((model_high, model_low), (cfg_high, cfg_low), positive, negative, wan)
        if sigmas is None:
            sigmas = sampling.schedule(model_high, sampler_name, scheduler, steps, denoise)
        schedule = Schedule(sigmas, start_at_step, end_at_step, return_with_leftover_noise)
        run_steps = len(schedule.part()) - 1
        job = sampling.stock_job(model_high, latent_image, seed, sampler_name, run_steps, add_noise=add_noise)
        with experts_of(guiders, TWO, wan, memory) as experts:
            result = sample_on_host(SampleRequest(experts, place, schedule, policy, job))
        return io.NodeOutput(sampling.finished_latent(latent_image, result.latent), describe(result), plot(result))


def _sources() -> list[io.Input]:
    """What is sampled, and with which experts."""
    return [
        io.Model.Input("model_high", tooltip="The high-noise expert, with its LoRAs and patches."),
        io.Model.Input("model_low", tooltip="The low-noise expert, with its LoRAs and patches."),
        io.Conditioning.Input("positive", tooltip="What the video should show."),
        io.Conditioning.Input("negative", tooltip="What it should not show; an expert with cfg 1 ignores it."),
        io.Latent.Input("latent_image", tooltip="The latent to denoise; its size is the size of the video."),
    ]


def _run_inputs() -> list[io.Input]:
    """How the run is made."""
    return [
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
    ]


def _part_inputs() -> list[io.Input]:
    """A schedule from outside, and which part of the run is left to other samplers."""
    return [
        io.Sigmas.Input(
            "sigmas", optional=True, tooltip="A schedule from outside, instead of scheduler, steps and denoise."
        ),
        io.Boolean.Input(
            "add_noise",
            default=True,
            optional=True,
            advanced=True,
            tooltip="Off: the latent that comes in has its noise already, left over by another sampler.",
        ),
        io.Int.Input(
            "start_at_step",
            default=0,
            min=0,
            max=MOST_STEPS,
            optional=True,
            advanced=True,
            tooltip="The first step to run; the steps before it are left to another sampler.",
        ),
        io.Int.Input(
            "end_at_step",
            default=MOST_STEPS,
            min=0,
            max=MOST_STEPS,
            optional=True,
            advanced=True,
            tooltip="The step to stop before; the steps from there on are left to another sampler.",
        ),
        io.Boolean.Input(
            "return_with_leftover_noise",
            default=False,
            optional=True,
            advanced=True,
            tooltip="When it stops early: on keeps the noise for another sampler, off denoises to the end.",
        ),
    ]
