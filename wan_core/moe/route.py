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
from .dry_run import dry_run
from .experts import Expert, ExpertTally
from .policy import Evaluation, choose, expert_index, steps_ahead
from .setup import Job, ModelOptions, OnStep, Setup, SetupCapture
from .split import SIGMA_TOLERANCE

MASK_FUNCTION = "denoise_mask_function"  # in the host's model options
WARM_STEPS = 2  # the next expert's weights are fetched into RAM so many steps before its first

MergeOptions = Callable[[ModelOptions, ModelOptions, ModelOptions], ModelOptions]  # own, base, given -> own + added


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Which expert of a run is asked at which noise level, and how."""

    experts: tuple[Expert, ...]  # high noise first
    sigma_mins: tuple[float, ...]  # the lowest sigma of each; the last one takes the rest
    policy: str  # one of POLICIES
    merge_options: MergeOptions
    clock_s: Callable[[], float]


def sample_once(route: Route, job: Job, sigmas: Tensor) -> tuple[Tensor, tuple[ExpertTally, ...]]:
    """Runs ``job.sampler`` once over all experts of a route, and returns the latent and what each expert did.

    Raises InputError when an expert returns NaN, or when the sampler does not fit the policy.
    """
    tallies = [ExpertTally() for _ in route.experts]
    setups: list[Setup] = []
    finished: list[Tensor] = []

    def nest(depth: int, on_step: OnStep | None) -> Tensor:
        return route.experts[depth].sample(
            job.noise,
            job.latent_image,
            SetupCapture(partial(enter, depth)),
            sigmas,
            job.denoise_mask,
            on_step,
            job.disable_pbar,
            job.seed,
        )

    def enter(depth: int, setup: Setup) -> Tensor:
        setups[depth:] = [setup]  # a wrapper may run its guider's sampler more than once
        if depth + 1 < len(route.experts):
            nest(depth + 1, on_step=None)
            return finished[0]  # not what came out of the inner guider: it applied the latent format a second time
        expected = dry_run(job.sampler, setups[0]) if route.policy == "per_step" else None
        router = Router(route, setups, expected, tallies, levels=setups[0].sigmas.tolist())
        finished[:] = [run_sampler(job.sampler, router, start=setups[0])]
        return finished[0]

    return nest(0, job.on_step), tuple(tallies)


def run_sampler(sampler: Any, router: Router, start: Setup) -> Tensor:
    """Runs the real sampler from what the outermost guider has prepared."""
    return sampler.sample(
        router,
        start.sigmas,
        start.extra_args | {"model_options": router.start_options()},
        start.callback,
        start.noise,
        start.latent_image,
        start.denoise_mask,
        start.disable_pbar,
    )


@dataclass(slots=True)
class Router:
    """The model as the sampler sees it: every evaluation goes to the expert whose turn it is."""

    route: Route
    setups: Sequence[Setup]
    expected: Sequence[Evaluation] | None  # of the policy per_step: what the dry run saw
    tallies: list[ExpertTally]
    levels: list[float]  # the schedule
    done: int = 0  # evaluations
    current: int | None = None
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
        index = choose(self.route.policy, self.evaluation_at(level), self.current, self.route.sigma_mins)
        self.switch_to(index)
        self.warm_ahead(level)
        setup, options = self.setups[index], model_options or {}
        if index > 0:  # the sampler was handed the options of the first
            options = self.route.merge_options(setup.model_options, self.setups[0].model_options, options)
        device = setup.noise.device
        start_s = self.route.clock_s()
        denoised = setup.guider(x.to(device), sigma.to(device), options, seed)
        self.require_finite(denoised, index, level)
        self.tallies[index] += ExpertTally(evaluations=1, seconds=self.route.clock_s() - start_s)
        self.done += 1
        return denoised.to(x.device)

    def evaluation_at(self, level: float) -> Evaluation:
        """The evaluation that the sampler asks for now; raises InputError when it does not keep to its dry run."""
        if self.expected is None:
            return Evaluation(level, level)
        if self.done < len(self.expected):
            evaluation = self.expected[self.done]
            if math.isclose(evaluation.sigma, level, abs_tol=SIGMA_TOLERANCE):
                return evaluation
        raise InputError(
            "policy",
            found="'per_step' with a sampler that chooses its own steps",
            wanted="'strict' or 'latch' for it",
            fix="Set policy to latch, or take another sampler.",
        )

    def switch_to(self, index: int) -> None:
        """Loads an expert that did not make the evaluation before."""
        if index == self.current:
            return
        start_s = self.route.clock_s()
        self.route.experts[index].load()
        self.tallies[index] += ExpertTally(loads=1, load_seconds=self.route.clock_s() - start_s)
        self.current = index
        self.warmed.add(index)

    def warm_ahead(self, level: float) -> None:
        """Starts to fetch the experts of the next steps into RAM, while this one computes."""
        coming = {expert_index(sigma, self.route.sigma_mins) for sigma in steps_ahead(level, self.levels, WARM_STEPS)}
        for other in sorted(coming - self.warmed):
            self.warmed.add(other)
            self.route.experts[other].warm()

    def require_finite(self, denoised: Tensor, index: int, level: float) -> None:
        """Raises InputError when an expert returns NaN or an infinity; waits for the device."""
        lowest, highest = denoised.aminmax()  # both are NaN where any value is; one pass over the latent
        if lowest.isfinite() & highest.isfinite():
            return
        steps = len(self.levels) - 1
        step = steps - len(steps_ahead(level, self.levels, steps))
        raise InputError(
            f"{self.route.experts[index].name} expert",
            found=f"NaN or infinite values in step {max(step, 1)} of {steps} (sigma {level:.4f})",
            wanted="finite values",
            fix="Load it in bf16 or fp8 instead of fp16, lower its LoRAs, or take its patches off one by one.",
        )

    def start_options(self) -> ModelOptions:
        """The options that the sampler starts with: those of the first expert, and a mask that follows the experts."""
        options = dict(self.setups[0].model_options)
        if any(MASK_FUNCTION in setup.model_options for setup in self.setups):
            options[MASK_FUNCTION] = self.mask_at
        return options

    def mask_at(self, sigma: Tensor, denoise_mask: Tensor, **more: Any) -> Tensor:
        """The noise mask at this noise level, as the expert that serves it wants it."""
        own = self.setups[expert_index(float(sigma.max()), self.route.sigma_mins)].model_options
        return own[MASK_FUNCTION](sigma, denoise_mask, **more) if MASK_FUNCTION in own else denoise_mask
