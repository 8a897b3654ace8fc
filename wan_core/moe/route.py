"""One run of one sampler over several experts.

Each expert's guider sets itself up through the host's whole path, one inside the other; in the middle the real sampler
runs once and sees a router as its model. Multistep history and the noise generator therefore cross the switch, as in
Wan-Video/Wan2.2, where one solver object serves both experts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor

from ..errors import InputError
from .plan import Evaluation, choose, serving, steps_ahead
from .rehearse import rehearse
from .setup import ModelOptions, OnStep, Setup, SetupCapture
from .split import SIGMA_TOLERANCE

MASK_FUNCTION = "denoise_mask_function"  # in the host's model options
WARM_STEPS = 2  # the next expert's weights are fetched into RAM so many steps before its first


@dataclass(frozen=True, slots=True)
class Expert:
    """An expert's way to sample, the noise levels it serves, and how its weights come onto the device."""

    name: str
    sample: Callable[..., Tensor]  # of its guider: goes through the whole set-up and then calls the sampler
    sigma_min: float  # it serves this sigma and above, below it the next expert
    load: Callable[[], None]  # called each time the run comes to this expert
    warm: Callable[[], None]  # called at most once, shortly before the run comes to this expert


@dataclass(frozen=True, slots=True)
class Job:
    """What one run of the sampler is given."""

    noise: Tensor  # b c t h w
    latent_image: Tensor  # b c t h w
    sampler: Any
    sigmas: Tensor  # steps + 1
    denoise_mask: Tensor | None
    seed: int | None
    on_step: OnStep | None
    disable_pbar: bool


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run needs to know of its host."""

    merge_options: Callable[[ModelOptions, ModelOptions, ModelOptions], ModelOptions]  # own, base, given -> own + added
    clock_s: Callable[[], float]


@dataclass(slots=True)
class Tally:
    """What one expert did in a run."""

    evaluations: int = 0
    loads: int = 0
    seconds: float = 0.0  # in evaluations
    load_seconds: float = 0.0


@dataclass(slots=True)
class Router:
    """The model as the sampler sees it: every evaluation goes to the expert that serves it."""

    experts: Sequence[Expert]
    setups: Sequence[Setup]
    policy: str  # one of plan.POLICIES
    tools: Tools
    rehearsed: Sequence[Evaluation] | None  # of the policy per_step
    tallies: Sequence[Tally]
    levels: list[float] = field(default_factory=list)  # the schedule
    current: int | None = field(default=None)
    warmed: set[int] = field(default_factory=set)

    @property
    def inner_model(self) -> Any:
        return self.setups[0].guider.inner_model

    @property
    def model_patcher(self) -> Any:
        return self.setups[0].guider.model_patcher

    @property
    def cfg(self) -> float:
        return self.setups[0].guider.cfg

    def __call__(
        self, x: Tensor, sigma: Tensor, model_options: ModelOptions | None = None, seed: int | None = None
    ) -> Tensor:
        level = float(sigma.max())
        index = choose(self.policy, self.evaluation_at(level), self.current, self.sigma_mins())
        self.come_to(index)
        self.warm_ahead(level)
        setup, tally = self.setups[index], self.tallies[index]
        device = setup.noise.device
        start_s = self.tools.clock_s()
        denoised = setup.guider(x.to(device), sigma.to(device), self.options_for(index, model_options or {}), seed)
        self.require_finite(denoised, index, level)
        tally.seconds += self.tools.clock_s() - start_s
        tally.evaluations += 1
        return denoised.to(x.device)

    def sigma_mins(self) -> list[float]:
        return [expert.sigma_min for expert in self.experts]

    def evaluation_at(self, level: float) -> Evaluation:
        """The evaluation that the sampler asks for now; raises InputError when it does not keep to its rehearsal."""
        if self.rehearsed is None:
            return Evaluation(level, level)
        number = sum(tally.evaluations for tally in self.tallies)
        if number < len(self.rehearsed) and math.isclose(self.rehearsed[number].sigma, level, abs_tol=SIGMA_TOLERANCE):
            return self.rehearsed[number]
        raise InputError(
            "policy",
            found="'per_step' with a sampler that chooses its own steps",
            wanted="'strict' or 'latch' for it",
            fix="Set policy to latch, or take another sampler.",
        )

    def come_to(self, index: int) -> None:
        """Loads an expert that did not make the evaluation before."""
        if index == self.current:
            return
        tally = self.tallies[index]
        start_s = self.tools.clock_s()
        self.experts[index].load()
        tally.load_seconds += self.tools.clock_s() - start_s
        tally.loads += 1
        self.current = index
        self.warmed.add(index)

    def warm_ahead(self, level: float) -> None:
        """Starts to fetch the experts of the next steps into RAM, while this one computes."""
        coming = {serving(sigma, self.sigma_mins()) for sigma in steps_ahead(level, self.levels, WARM_STEPS)}
        for other in sorted(coming - self.warmed):
            self.warmed.add(other)
            self.experts[other].warm()

    def require_finite(self, denoised: Tensor, index: int, level: float) -> None:
        """Raises InputError when an expert returns NaN or an infinity; waits for the device."""
        lowest, highest = denoised.aminmax()  # both are NaN where any value is; one pass over the latent
        if lowest.isfinite() & highest.isfinite():
            return
        steps = len(self.levels) - 1
        step = steps - len(steps_ahead(level, self.levels, steps))
        raise InputError(
            f"{self.experts[index].name} expert",
            found=f"NaN or infinite values in step {max(step, 1)} of {steps} (sigma {level:.4f})",
            wanted="finite values",
            fix="Load it in bf16 or fp8 instead of fp16, lower its LoRAs, or take its patches off one by one.",
        )

    def start_options(self) -> ModelOptions:
        """The options that the sampler starts with: those of the first expert, and a mask that follows the experts."""
        options = dict(self.setups[0].model_options)
        options.pop(MASK_FUNCTION, None)
        if any(MASK_FUNCTION in setup.model_options for setup in self.setups):
            options[MASK_FUNCTION] = self.mask_at
        return options

    def mask_at(self, sigma: Tensor, denoise_mask: Tensor, **more: Any) -> Tensor:
        """The noise mask at this noise level, as the expert that serves it wants it."""
        own = self.setups[serving(float(sigma.max()), self.sigma_mins())].model_options
        return own[MASK_FUNCTION](sigma, denoise_mask, **more) if MASK_FUNCTION in own else denoise_mask

    def options_for(self, index: int, given: ModelOptions) -> ModelOptions:
        """The expert's own options, with what the sampler added to the options that it was handed."""
        if index == 0:
            return given
        return self.tools.merge_options(self.setups[index].model_options, self.setups[0].model_options, given)


def sample_once(experts: Sequence[Expert], job: Job, policy: str, tools: Tools) -> tuple[Tensor, list[Tally]]:
    """Runs ``job.sampler`` once over all experts, high noise first, and returns the latent and what each expert did.

    Raises InputError when an expert returns NaN, or when the sampler does not fit the policy.
    """
    tallies = [Tally() for _ in experts]
    setups: list[Setup] = []
    finished: list[Tensor] = []

    def enter(depth: int, setup: Setup) -> Tensor:
        setups[depth:] = [setup]  # a wrapper may run its guider's sampler more than once
        if depth + 1 < len(experts):
            nest(depth + 1, on_step=None)
            return finished[0]  # not what came out of the inner guider: it applied the latent format a second time
        rehearsed = rehearse(job.sampler, setups[0]) if policy == "per_step" else None
        router = Router(experts, setups, policy, tools, rehearsed, tallies, levels=setups[0].sigmas.tolist())
        finished[:] = [run_sampler(job.sampler, router, start=setups[0])]
        return finished[0]

    def nest(depth: int, on_step: OnStep | None) -> Tensor:
        return experts[depth].sample(
            job.noise,
            job.latent_image,
            SetupCapture(partial(enter, depth)),
            job.sigmas,
            job.denoise_mask,
            on_step,
            job.disable_pbar,
            job.seed,
        )

    return nest(0, job.on_step), tallies


def run_sampler(sampler: Any, model: Router, start: Setup) -> Tensor:
    """Runs the real sampler from what the outermost guider has prepared."""
    extra_args = start.extra_args | {"model_options": model.start_options()}
    return sampler.sample(
        model,
        start.sigmas,
        extra_args,
        start.callback,
        start.noise,
        start.latent_image,
        start.denoise_mask,
        start.disable_pbar,
    )
