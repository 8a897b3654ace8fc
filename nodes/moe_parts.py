"""The two experts as parts for stock samplers: as one GUIDER, as one MODEL, and their schedule."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.checks import require_choice
from ..wan_core.errors import InputError, errors_of
from ..wan_core.moe.inputs import require_sigmas
from ..wan_core.moe.plan import POLICIES
from ..wan_core.moe.report import boundary_in_words
from ..wan_core.moe.route import Job
from ..wan_core.moe.schedule import aligned_sigmas, even_sigmas, shift_for_split
from ..wan_core.moe.setup import OnStep
from ..wan_core.moe.split import boundary_after_step, split_schedule
from ..wan_core.moe.switch import MOST_STEPS, UNITS, Switch, boundary_at, switch_of
from .host.guiders import TWO, LazyGuider, StockGuider, Team, lazy, sample_together, two_in_one
from .host.models import Model, WanSize, shift_of, wan_pair
from .types import MEMORY, memory_input, names_its_errors, policy_input, switch_input

SPACINGS = ("aligned", "shifted")
UNITS_OF_SIGMAS = tuple(unit for unit in UNITS if unit != "step")

log = logging.getLogger(__name__)


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
        named = {"guider_start": guider_start, "guider_high": guider_high, "guider_low": guider_low}
        given = {name: guider for name, guider in named.items() if guider is not None}
        size = require_guiders(given)
        require_choice(policy, POLICIES, name="policy")
        require_choice(memory, MEMORY, name="memory")
        names = tuple(name.removeprefix("guider_") for name in given)
        guider = MoEGuider(tuple(given.values()), names, size, switch_of(switch), start_steps, policy, memory)
        return io.NodeOutput(guider)


def require_guiders(guiders: dict[str, StockGuider]) -> WanSize:
    """The size of the guiders' models; raises InputError unless each guides one Wan expert of the same kind."""
    for name, guider in guiders.items():
        if not isinstance(guider, StockGuider):
            found = "a WanCast MoE Guider" if isinstance(guider, MoEGuider) else f"a {type(guider).__name__}"
            raise InputError(name, found=found, wanted="the guider of one model", fix="Connect a CFG Guider.")
    return wan_pair({name: guider.model_patcher for name, guider in guiders.items()})


@dataclass(frozen=True, slots=True)
class MoEGuider:
    """A GUIDER that samples with two or three guiders as one run, each on its part of the schedule."""

    guiders: tuple[StockGuider, ...]  # high noise first
    names: tuple[str, ...]
    size: WanSize
    switch: Switch
    start_steps: int  # of the first of three
    policy: str
    memory: str

    @property
    def model_patcher(self) -> Model:
        return self.guiders[0].model_patcher

    def sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: OnStep | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Samples as a stock guider does; raises InputError where the parts do not fit the schedule."""
        if len(sigmas) == 0:
            return latent_image
        own_sigmas = sigmas.clone()  # uni_pc writes into what it is given
        job = Job(noise, latent_image, sampler, own_sigmas, denoise_mask, seed, callback, disable_pbar)
        lazies = [lazy(guider) for guider in self.guiders]
        with errors_of("WanCastMoEGuider"):
            return sample_and_log(Team(lazies, self.names, self.sigma_mins(sigmas), self.policy, self.memory), job)

    def sigma_mins(self, sigmas: torch.Tensor) -> tuple[float, ...]:
        """The lowest sigma of each guider."""
        require_sigmas(sigmas)
        boundary_sigma = boundary_at(self.switch, sigmas.tolist(), self.size.network, self.size.input_channels)
        if len(self.guiders) == 2:
            return (boundary_sigma, 0.0)
        return (start_sigma(self.start_steps, sigmas.tolist(), boundary_sigma), boundary_sigma, 0.0)


def start_sigma(steps: int, sigmas: Sequence[float], boundary_sigma: float) -> float:
    """The lowest sigma of the guider of the first steps; raises InputError unless it ends before the switch."""
    high_steps = split_schedule(sigmas, boundary_sigma).high_steps
    if not 1 <= steps <= high_steps:
        raise InputError(
            "start_steps",
            found=f"{steps} with {high_steps} steps before the switch",
            wanted="at least 1, and no more than those",
            fix="Change start_steps or switch, or take guider_start off.",
        )
    return max(boundary_after_step(sigmas, steps, name="start_steps"), boundary_sigma)


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
        model_high: Model,
        model_low: Model,
        switch: dict[str, Any] | None = None,
        policy: str = POLICIES[0],
        memory: str = MEMORY[0],
    ) -> io.NodeOutput:
        size = wan_pair({"model_high": model_high, "model_low": model_low})
        require_choice(policy, POLICIES, name="policy")
        require_choice(memory, MEMORY, name="memory")
        place = switch_of(switch)

        def run(first: LazyGuider, second: LazyGuider, job: Job) -> torch.Tensor:
            with errors_of("WanCastMoEModel"):
                require_sigmas(job.sigmas)
                boundary_sigma = boundary_at(place, job.sigmas.tolist(), size.network, size.input_channels)
                return sample_and_log(Team((first, second), TWO, (boundary_sigma, 0.0), policy, memory), job)

        return io.NodeOutput(two_in_one(model_high, model_low, run))


def sample_and_log(team: Team, job: Job) -> torch.Tensor:
    """Runs the job; the report goes into the host's log, for these nodes have no output of their own for it."""
    samples, report = sample_together(team, job)
    log.info("WanCast: %s", report.in_one_line())
    return samples


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
        model: Model,
        high_steps: int,
        low_steps: int,
        switch: dict[str, Any] | None = None,
        spacing: str = SPACINGS[0],
    ) -> io.NodeOutput:
        size = wan_pair({"model": model})
        require_choice(spacing, SPACINGS, name="spacing")
        place = switch_of(switch, units=UNITS_OF_SIGMAS)
        boundary_sigma = boundary_at(place, (), size.network, size.input_channels)
        if spacing == "aligned":
            shift = shift_of(model)
            sigmas = aligned_sigmas(high_steps, low_steps, boundary_sigma, shift)
        else:
            shift = shift_for_split(high_steps, low_steps, boundary_sigma)
            sigmas = even_sigmas(high_steps + low_steps, shift)
        report = (
            f"steps: {high_steps} high + {low_steps} low\n"
            f"boundary: {boundary_in_words(boundary_sigma)}\n"
            f"shift: {shift:.4f}"
        )
        return io.NodeOutput(torch.tensor(sigmas), shift, report)
