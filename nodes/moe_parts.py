"""The two experts as parts for stock samplers: as one GUIDER, as one MODEL, and their schedule."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.moe import (
    MOST_STEPS,
    POLICIES,
    SPACINGS,
    UNITS_OF_SIGMAS,
    describe_schedule,
    exact_schedule,
    switch_of,
)
from .host.guiders import StockGuider
from .host.models import expert_params, wan_experts
from .host.moe_guiders import RunSettings, moe_guider, two_in_one
from .types import MEMORY, memory_input, names_its_errors, policy_input, switch_input


class WanCastMoEGuider(io.ComfyNode):
    """Makes one guider of the guiders of the two experts."""

    NODE_ID = "WanCastMoEGuider"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast MoE Guider",
            category="WanCast/sampling",
            description=(
                "Makes one GUIDER for SamplerCustomAdvanced of two: it samples with both experts as one run. "
                "A third guider may take the first steps, for example the base model before a distilled one."
            ),
            search_aliases=["wan moe", "two experts", "high low noise", "triple ksampler"],
            inputs=[
                io.Guider.Input("guider_high", tooltip="The guider of the high-noise expert, any kind."),
                io.Guider.Input("guider_low", tooltip="The guider of the low-noise expert, any kind."),
                switch_input(),
                policy_input(),
                memory_input(),
                io.Int.Input(
                    "start_steps",
                    default=2,
                    min=0,
                    max=MOST_STEPS,
                    optional=True,
                    advanced=True,
                    tooltip="How many steps guider_start takes first; not read when it is not linked.",
                ),
                io.Guider.Input(
                    "guider_start",
                    optional=True,
                    tooltip="Takes the first start_steps steps, for example without a distilled LoRA.",
                ),
            ],
            outputs=[io.Guider.Output("guider", tooltip="The guider of all experts, for SamplerCustomAdvanced.")],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        guider_high: StockGuider,
        guider_low: StockGuider,
        switch: dict[str, Any] | None = None,
        policy: str = POLICIES[0],
        memory: str = MEMORY[0],
        start_steps: int = 2,
        guider_start: StockGuider | None = None,
    ) -> io.NodeOutput:
        given = {"guider_start": guider_start, "guider_high": guider_high, "guider_low": guider_low}
        settings = RunSettings(cls.NODE_ID, switch_of(switch), policy, memory, start_steps)
        return io.NodeOutput(moe_guider(given, settings))


class WanCastMoEModel(io.ComfyNode):
    """Makes one model of the two experts."""

    NODE_ID = "WanCastMoEModel"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast MoE Model",
            category="WanCast/sampling",
            description=(
                "Makes one MODEL of both experts, for the stock KSampler or any other sampler: it samples with both as "
                "one run. Give the experts their LoRAs and patches before this node; what comes after it reaches only "
                "the high-noise expert. Both use the sampler's cfg; CFG Override on one expert changes its own."
            ),
            search_aliases=["wan moe", "two experts", "high low noise", "merge experts"],
            inputs=[
                io.Model.Input("model_high", tooltip="The high-noise expert, with its LoRAs and patches."),
                io.Model.Input("model_low", tooltip="The low-noise expert, with its LoRAs and patches."),
                switch_input(),
                policy_input(),
                memory_input(),
            ],
            outputs=[io.Model.Output("model", tooltip="Both experts as one; its schedule is that of model_high.")],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        model_high: io.Model.Type,
        model_low: io.Model.Type,
        switch: dict[str, Any] | None = None,
        policy: str = POLICIES[0],
        memory: str = MEMORY[0],
    ) -> io.NodeOutput:
        settings = RunSettings(cls.NODE_ID, switch_of(switch), policy, memory)
        return io.NodeOutput(two_in_one(model_high, model_low, settings))


class WanCastMoESigmas(io.ComfyNode):
    """Makes a schedule with an exact number of steps for each expert."""

    NODE_ID = "WanCastMoESigmas"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast MoE Sigmas",
            category="WanCast/sampling",
            description="Makes a schedule in which each expert takes exactly as many steps as you say.",
            search_aliases=["wan moe", "sigmas", "scheduler", "shift"],
            inputs=[
                io.Model.Input("model", tooltip="One of the experts: its shift and its kind are read."),
                io.Int.Input(
                    "high_steps",
                    default=10,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="Steps of the high-noise expert. 0 starts at the boundary, to refine (aligned only).",
                ),
                io.Int.Input(
                    "low_steps",
                    default=10,
                    min=0,
                    max=MOST_STEPS,
                    tooltip="Steps of the low-noise expert. 0 ends at the boundary, with noise left (aligned only).",
                ),
                switch_input(UNITS_OF_SIGMAS),
                io.Combo.Input(
                    "spacing",
                    options=list(SPACINGS),
                    default=SPACINGS[0],
                    tooltip=(
                        "aligned: the model's shift, with a step just below the boundary. shifted: one even schedule, "
                        "whose shift is chosen so that the boundary falls where you want it."
                    ),
                ),
            ],
            outputs=[
                io.Sigmas.Output("sigmas", tooltip="The schedule, for MoE Sampler or SamplerCustomAdvanced."),
                io.Float.Output("shift", tooltip="Its shift; give it to ModelSamplingSD3 if patches count in percent."),
                io.String.Output("report", tooltip="The steps of each expert, the boundary and the shift."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        model: io.Model.Type,
        high_steps: int,
        low_steps: int,
        switch: dict[str, Any] | None = None,
        spacing: str = SPACINGS[0],
    ) -> io.NodeOutput:
        expert = expert_params(model, wan_experts({"model": model}))
        place = switch_of(switch, units=UNITS_OF_SIGMAS)
        schedule = exact_schedule(high_steps, low_steps, place, spacing, expert)
        return io.NodeOutput(torch.tensor(schedule.sigmas), schedule.shift, describe_schedule(schedule))
