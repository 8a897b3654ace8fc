"""One run over two experts equals one run over the model that they make together."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from wan_core.moe.route import Expert, Job, sample_once
from wan_core.moe.split import is_high

BOUNDARY = 0.6
SIGMAS = torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
Denoise = Callable[[Tensor, Tensor], Tensor]


def high_field(x: Tensor, sigma: Tensor) -> Tensor:
    return 0.3 * x + sigma


def low_field(x: Tensor, sigma: Tensor) -> Tensor:
    return 0.7 * x - sigma.square()


def composite_field(x: Tensor, sigma: Tensor) -> Tensor:
    return (high_field if is_high(float(sigma), BOUNDARY) else low_field)(x, sigma)


class ScalingGuider:
    """A guider like the host's: it changes what goes to the sampler and what comes back, each in a way of its own."""

    def __init__(self, denoise: Denoise, model_options: dict[str, Any], scale: float = 10.0) -> None:
        self.denoise = denoise
        self.scale = scale
        self.model_options = model_options
        self.model_patcher = object()
        self.inner_model = object()
        self.cfg = 1.0
        self.seen_options: list[dict[str, Any]] = []

    def sample(self, noise: Tensor, latent: Tensor, sampler: Any, sigmas: Tensor, mask: Any, on_step: Any,
               disable_pbar: bool, seed: int) -> Tensor:
        extra_args = {"model_options": dict(self.model_options), "seed": seed}
        noise, latent = noise + self.scale, latent / self.scale
        mask = None if mask is None else mask / self.scale
        return self.scale * sampler.sample(self, sigmas, extra_args, on_step, noise, latent, mask, disable_pbar)

    def __call__(self, x: Tensor, sigma: Tensor, model_options: dict[str, Any], seed: int | None) -> Tensor:
        self.seen_options.append(model_options)
        return self.denoise(x, sigma)


def two_step_sample(model: Any, sigmas: Tensor, extra_args: dict[str, Any], on_step: Any, noise: Tensor,
                    latent: Tensor, mask: Any, disable_pbar: bool) -> Tensor:
    """A second-order multistep solver (Adams-Bashforth), whose history must cross the switch."""
    extra_args["model_options"] = extra_args["model_options"] | {"hooks": ["sampler"]}
    x = noise * sigmas[0] + latent
    x = x if mask is None else x * mask
    previous = None
    for i in range(len(sigmas) - 1):
        denoised = model(x, sigmas[i].reshape(1), model_options=extra_args["model_options"], seed=extra_args["seed"])
        slope = (x - denoised) / sigmas[i]
        x = x + (sigmas[i + 1] - sigmas[i]) * (slope if previous is None else 1.5 * slope - 0.5 * previous)
        previous = slope
        on_step(i, denoised, x, len(sigmas) - 1)
    return x


def merge_hooks(own: dict[str, Any], base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    return own | {key: value for key, value in given.items() if key not in base} | {"merged": True}


def job(sigmas: Tensor = SIGMAS, steps: list[int] | None = None, mask: Tensor | None = None) -> Job:
    generator = torch.Generator().manual_seed(0)
    return Job(
        noise=torch.randn(1, 2, 3, 4, 4, generator=generator),
        latent_image=torch.randn(1, 2, 3, 4, 4, generator=generator),
        sampler=SimpleNamespace(sample=two_step_sample),
        sigmas=sigmas,
        denoise_mask=mask,
        seed=7,
        on_step=lambda i, denoised, x, total: (steps if steps is not None else []).append(i),
        disable_pbar=True,
    )


def two_experts(log: list[str]) -> list[Expert]:
    high = ScalingGuider(high_field, {"owner": "high"})
    low = ScalingGuider(low_field, {"owner": "low"}, scale=3.0)
    return [
        Expert("high", high, BOUNDARY, lambda: log.append("high")),
        Expert("low", low, 0.0, lambda: log.append("low")),
    ]


def run_alone(field: Denoise, the_job: Job) -> Tensor:
    """The same sampler on one guider, without a router."""
    return ScalingGuider(field, {"owner": "high"}).sample(
        the_job.noise, the_job.latent_image, the_job.sampler, the_job.sigmas, the_job.denoise_mask, the_job.on_step,
        the_job.disable_pbar, the_job.seed,
    )


@pytest.mark.parametrize("mask", [None, torch.rand(1, 1, 3, 4, 4)], ids=["whole", "masked"])
def test_two_experts_equal_their_composite_bit_for_bit(mask: Tensor | None) -> None:
    together, _ = sample_once(two_experts([]), job(mask=mask), merge_hooks)
    assert torch.equal(together, run_alone(composite_field, job(mask=mask)))


def test_a_restart_at_the_switch_would_be_seen() -> None:
    together, _ = sample_once(two_experts([]), job(), merge_hooks)
    assert not torch.allclose(together, run_alone(high_field, job()), atol=1e-3)
    assert not torch.allclose(together, run_alone(low_field, job()), atol=1e-3)


def test_each_expert_is_loaded_once_and_evaluated_as_often_as_it_has_steps() -> None:
    log: list[str] = []
    _, tally = sample_once(two_experts(log), job(), merge_hooks)
    assert log == ["high", "low"]
    assert (tally.evaluations, tally.loads) == ([3, 2], [1, 1])


@pytest.mark.parametrize(("sigmas", "loaded"), [(SIGMAS[3:], ["low"]), (SIGMAS[:3], ["high"])])
def test_an_expert_without_steps_is_never_loaded(sigmas: Tensor, loaded: list[str]) -> None:
    log: list[str] = []
    sample_once(two_experts(log), job(sigmas), merge_hooks)
    assert log == loaded


def test_a_way_back_up_loads_the_high_expert_again() -> None:
    log: list[str] = []
    sample_once(two_experts(log), job(torch.tensor([0.8, 0.4, 0.7, 0.3])), merge_hooks)
    assert log == ["high", "low", "high"]


def test_what_the_sampler_adds_reaches_both_experts_and_their_own_options_stay() -> None:
    experts = two_experts([])
    sample_once(experts, job(), merge_hooks)
    high, low = (expert.guider.seen_options[-1] for expert in experts)
    assert high == {"owner": "high", "hooks": ["sampler"]}
    assert low == {"owner": "low", "hooks": ["sampler"], "merged": True}


def test_progress_counts_the_steps_of_the_whole_run() -> None:
    steps: list[int] = []
    sample_once(two_experts([]), job(steps=steps), merge_hooks)
    assert steps == [0, 1, 2, 3, 4]


def test_nothing_that_came_in_is_changed() -> None:
    the_job = job()
    before = [the_job.noise.clone(), the_job.latent_image.clone(), the_job.sigmas.clone()]
    sample_once(two_experts([]), the_job, merge_hooks)
    for tensor, copy in zip([the_job.noise, the_job.latent_image, the_job.sigmas], before, strict=True):
        assert torch.equal(tensor, copy)
