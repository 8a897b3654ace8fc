"""Small experts, guiders and solvers that stand in for the host's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wan_core.moe import Conditions, Expert, ExpertParams, ExpertTally, Job
from wan_core.moe.route import Route, sample_once
from wan_core.moe.split import is_high

SIGMAS = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
SIGMA_MINS = {2: (0.6, 0.0), 3: (0.7, 0.3, 0.0)}  # of that many experts
NAMES = ("high", "low", "lowest")
PARAMS = ExpertParams("WanModel", 16, shift=8.0)
TEXTS = tuple(Conditions(name, frozenset({"cross_attn"})) for name in ("positive", "negative"))

Evaluate = Callable[[Tensor, Tensor], Tensor]
Report = Callable[[int, Tensor, Tensor], None]  # step, denoised, x
Solver = Callable[[Evaluate, Report, Tensor, Tensor], Tensor]


# Solvers


def multistep(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    """Adams-Bashforth of second order, whose history must cross the switch."""
    previous = None
    for i in range(len(sigmas) - 1):
        denoised = evaluate(x, sigmas[i])
        slope = (x - denoised) / sigmas[i]
        x = x + (sigmas[i + 1] - sigmas[i]) * (slope if previous is None else 1.5 * slope - 0.5 * previous)
        previous = slope
        report(i, denoised, x)
    return x


def heun(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor, *, ahead_steps: int = 1) -> Tensor:
    """Two evaluations a step: at its start and at its end."""
    for i in range(len(sigmas) - 1):
        denoised = evaluate(x, sigmas[i])
        report(i, denoised, x)
        slopes = [(x - denoised) / sigmas[i]]
        ahead = x
        for j in range(i + 1, min(i + 1 + ahead_steps, len(sigmas) - 1)):
            ahead = ahead + (sigmas[j] - sigmas[j - 1]) * slopes[-1]
            slopes.append((ahead - evaluate(ahead, sigmas[j])) / sigmas[j])
        x = x + (sigmas[i + 1] - sigmas[i]) * sum(slopes) / len(slopes)
    return x


def heun_two_ahead(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    """Like heunpp2: looks at the sigma after next and comes back up to take its step."""
    return heun(evaluate, report, x, sigmas, ahead_steps=2)


@dataclass(frozen=True)
class SmallSampler:
    """A sampler like the host's around a solver; it adds to the model options in a copy, as cfg_pp does."""

    solve: Solver

    def sample(
        self, model: Any, sigmas: Tensor, extra_args: dict[str, Any], on_step: Any, noise: Tensor, *rest: Any
    ) -> Tensor:
        latent, mask, _ = rest
        extra_args["model_options"] = extra_args["model_options"] | {"hooks": ["sampler"]}
        x = noise * sigmas[0] + latent
        steps = len(sigmas) - 1
        return self.solve(
            lambda x, sigma: model(x, sigma.reshape(1), **extra_args),
            lambda i, denoised, x: on_step(i, denoised, x, steps),
            x if mask is None else x * mask,
            sigmas,
        )


# Experts


FIELDS: tuple[Evaluate, ...] = (
    lambda x, sigma: 0.3 * x + sigma,
    lambda x, sigma: 0.7 * x - sigma.square(),
    lambda x, sigma: -0.4 * x + sigma.sqrt(),
)


def composite(x: Tensor, sigma: Tensor) -> Tensor:
    """The first two experts as one model."""
    return FIELDS[0 if is_high(float(sigma), SIGMA_MINS[2][0]) else 1](x, sigma)


@dataclass
class ScalingGuider:
    """A guider like the host's: it changes what goes to the sampler and what comes back, each in a way of its own."""

    denoise: Evaluate
    model_options: dict[str, Any] = field(default_factory=dict)
    scale: float = 10.0
    cfg: float = 1.0
    inner_model: object = field(default_factory=object)
    model_patcher: object = field(default_factory=object)
    seen: list[tuple[dict[str, Any], int | None]] = field(default_factory=list)  # options and seed of each evaluation

    def sample(self, noise: Tensor, latent: Tensor, sampler: Any, sigmas: Tensor, mask: Any, *rest: Any) -> Tensor:
        on_step, disable_pbar, seed = rest
        extra_args = {"model_options": dict(self.model_options), "seed": seed}
        noise, latent = noise + self.scale, latent / self.scale
        mask = None if mask is None else mask / self.scale
        return self.scale * sampler.sample(self, sigmas, extra_args, on_step, noise, latent, mask, disable_pbar)

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any], seed: int | None) -> Tensor:
        self.seen.append((model_options, seed))
        return self.denoise(x, sigma)


def expert(
    name: str,
    sample: Callable[..., Any],
    load: Callable[[], Any] = lambda: None,
    warm: Callable[[], Any] = lambda: None,
) -> Expert:
    return Expert(name, PARAMS, sample, load, warm)


def experts(count: int = 2, log: list[str] | None = None, fields: Sequence[Evaluate] = FIELDS) -> list[Expert]:
    """So many experts; they write into the log when they load, warm and evaluate."""
    lines = [] if log is None else log

    def logged(name: str, denoise: Evaluate, scale: float) -> Expert:
        def evaluate(x: Tensor, sigma: Tensor) -> Tensor:
            lines.append(f"{name} {float(sigma):.1f}")
            return denoise(x, sigma)

        sample = ScalingGuider(evaluate, {"owner": name}, scale).sample
        return expert(name, sample, lambda: lines.append(f"load {name}"), lambda: lines.append(f"warm {name}"))

    return [logged(*parts) for parts in zip(NAMES[:count], fields, (10.0, 3.0, 0.5), strict=False)]


# Runs


def merge_hooks(own: dict[str, Any], base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return own | {key: value for key, value in given.items() if key not in base} | {"merged": True}


def small_job(solve: Solver = multistep, mask: Tensor | None = None, steps: list[int] | None = None) -> Job:
    """A run of that solver; the numbers of the steps that it reports go into ``steps``."""
    generator = torch.Generator().manual_seed(0)
    reported = [] if steps is None else steps
    return Job(
        noise=torch.randn(1, 2, 3, 4, 4, generator=generator),
        latent_image=torch.randn(1, 2, 3, 4, 4, generator=generator),
        sampler=SmallSampler(solve),
        denoise_mask=mask,
        seed=7,
        on_step=lambda i, denoised, x, total: reported.append(i),
        disable_pbar=True,
    )


def run_together(
    parts: Sequence[Expert],
    job: Job,
    policy: str = "strict",
    *,
    sigmas: Tensor = SIGMAS,
    sigma_mins: Sequence[float] | None = None,
    **host: Any,
) -> tuple[Tensor, tuple[ExpertTally, ...]]:
    """What is tested: the job once over the experts."""
    callbacks = {"merge_options": merge_hooks, "clock_s": lambda: 0.0} | host
    lowest = tuple(SIGMA_MINS[len(parts)] if sigma_mins is None else sigma_mins)
    return sample_once(Route(tuple(parts), lowest, policy, **callbacks), job, sigmas)


def run_alone(denoise: Evaluate, job: Job, sigmas: Tensor = SIGMAS) -> Tensor:
    """The oracle: the same sampler on one guider, without a router."""
    given = (job.denoise_mask, job.on_step, job.disable_pbar, job.seed)
    return ScalingGuider(denoise).sample(job.noise, job.latent_image, job.sampler, sigmas, *given)
