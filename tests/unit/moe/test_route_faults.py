"""Whatever an expert or a solver does wrong in a run is said by name, and experts may be on several devices."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.moe.small_runs import (
    FIELDS,
    SIGMAS,
    Evaluate,
    Report,
    ScalingGuider,
    Solver,
    composite,
    expert,
    experts,
    multistep,
    run_alone,
    run_together,
    small_job,
)
from wan_core.errors import InputError
from wan_core.moe import POLICIES, Expert

NAN_FIX = "Load it in bf16 or fp8 instead of fp16, lower its LoRAs, or take its patches off one by one."


# What an expert returns


def churned(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    return evaluate(x, sigmas[0] * 1.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("solve", "sigmas", "sigma", "name", "words"),
    [
        (multistep, SIGMAS, 1.0, "high", "step 1 of 5 (sigma 1.0000)"),
        (multistep, SIGMAS, 0.6, "high", "step 3 of 5 (sigma 0.6000)"),
        (multistep, SIGMAS, 0.4, "low", "step 4 of 5 (sigma 0.4000)"),
        (multistep, SIGMAS, 0.2, "low", "step 5 of 5 (sigma 0.2000)"),
        (multistep, SIGMAS[2:], 0.6, "high", "step 1 of 3 (sigma 0.6000)"),
        (churned, SIGMAS, 1.1, "high", "step 1 of 5 (sigma 1.1000)"),  # above the schedule
    ],
)
def test_an_expert_that_breaks_is_named_with_its_step(
    solve: Solver, sigmas: Tensor, sigma: float, name: str, words: str, bad: float
) -> None:
    def breaks(x: Tensor, level: Tensor) -> Tensor:
        denoised = x.clone()
        if math.isclose(float(level), sigma, abs_tol=1e-6):
            denoised[0, 1, 2, 3, 0] = bad
        return denoised

    with pytest.raises(InputError) as caught:
        run_together(experts(fields=[breaks, breaks]), small_job(solve), sigmas=sigmas)
    found = f"NaN or infinite values in {words}"
    assert str(caught.value) == f"{name} expert: found {found}; wanted finite values. {NAN_FIX}"


# Devices


@dataclass(frozen=True)
class Located:
    """A tensor that says on which of several devices it lies."""

    value: Tensor
    device: str

    def to(self, device: str) -> Located:
        return Located(self.value, device)

    def max(self) -> Tensor:
        return self.value.max()

    def aminmax(self) -> Any:
        return self.value.aminmax()


def test_an_expert_on_another_device_gets_its_input_there_and_hands_its_result_back() -> None:
    seen: list[tuple[str, ...]] = []

    def expert_on(device: str) -> Expert:
        class PlacedGuider(ScalingGuider):
            def sample(self, noise: Tensor, latent: Tensor, sampler: Any, sigmas: Any, *rest: Any) -> Any:
                return sampler.sample(self, sigmas, {"model_options": {}}, None, Located(noise, device))

        def denoise(x: Located, sigma: Located) -> Located:
            seen.append((device, x.device, sigma.device))
            return x

        return expert(device, PlacedGuider(denoise).sample)

    returned: list[str] = []

    def look(model: Any, sigmas: Tensor, extra_args: Any, on_step: Any, noise: Located, *rest: Any) -> Located:
        for sigma in sigmas[:-1]:
            returned.append(model(noise, Located(sigma.reshape(1), noise.device), **extra_args).device)
        return noise

    job = replace(small_job(), sampler=SimpleNamespace(sample=look))
    run_together([expert_on("gpu 0"), expert_on("gpu 1")], job, sigmas=SIGMAS[2:])
    assert seen == [("gpu 0",) * 3, ("gpu 1",) * 3, ("gpu 1",) * 3]
    assert returned == ["gpu 0"] * 3


# What a solver does


def adaptive(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    """Looks a second time wherever the model does something."""
    for i in range(len(sigmas) - 1):
        denoised = evaluate(x, sigmas[i])
        report(i, denoised, x)
        x = evaluate(x, (sigmas[i] + sigmas[i + 1]) / 2) if denoised.abs().max() > 0 else denoised
    return x


def restless(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    """Begins once more at the end of the schedule, if the model does something."""
    for sigma in sigmas[:-1]:
        denoised = evaluate(x, sigma)
    return evaluate(x, sigmas[0]) if denoised.abs().max() > 0 else x


def drifting(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    """Makes as many evaluations as in its dry run, but the second at another sigma if the model does something."""
    moved = 1e-5 if evaluate(x, sigmas[0]).abs().max() > 0 else 0.0
    return evaluate(x, sigmas[1] - moved)


@pytest.mark.parametrize("solve", [adaptive, restless, drifting])
def test_per_step_refuses_a_solver_that_does_not_keep_to_its_dry_run(solve: Solver) -> None:
    for policy in ("strict", "latch"):
        run_together(experts(), small_job(solve), policy)
    with pytest.raises(InputError) as caught:
        run_together(experts(), small_job(solve), "per_step")
    assert str(caught.value) == (
        "policy: found 'per_step' with a sampler that chooses its own steps; wanted 'strict' or 'latch' for it. "
        "Set policy to latch, or take another sampler."
    )


class Interrupted(BaseException):
    """What the host raises when the user cancels is not always an Exception."""


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), Interrupted("stop")])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("at", [0.8, 0.4, None])
def test_an_error_of_an_expert_passes_through_and_leaves_nothing_behind(
    at: float | None, policy: str, error: BaseException
) -> None:
    """None: while the low-noise expert is loaded."""
    failing = [True]

    def fail(is_here: bool = True) -> None:
        if failing[0] and is_here:
            raise error

    def fails(denoise: Evaluate) -> Evaluate:
        def maybe(x: Tensor, sigma: Tensor) -> Tensor:
            fail(at is not None and math.isclose(float(sigma), at, abs_tol=1e-6))
            return denoise(x, sigma)

        return maybe

    high, low = experts(fields=[fails(denoise) for denoise in FIELDS])
    parts = [high, low if at else replace(low, load=fail)]
    job, random_state = small_job(), torch.random.get_rng_state()
    with pytest.raises(type(error)) as caught:
        run_together(parts, job, policy)
    assert caught.value is error
    assert torch.equal(torch.random.get_rng_state(), random_state)
    failing[0] = False
    again, tallies = run_together(parts, job, policy)
    assert torch.equal(again, run_alone(composite, small_job()))
    assert [(tally.evaluations, tally.loads) for tally in tallies] == [(3, 1), (2, 1)]
