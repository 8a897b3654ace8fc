"""One run over several experts equals one run over the model that they make together."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.moe.small_runs import (
    FIELDS,
    NAMES,
    SIGMA_MINS,
    SIGMAS,
    Evaluate,
    Report,
    ScalingGuider,
    Solver,
    composite,
    expert,
    experts,
    heun,
    heun_two_ahead,
    merge_hooks,
    multistep,
    run_alone,
    run_together,
    small_job,
)
from wan_core.moe import POLICIES, Expert
from wan_core.moe.setup import SetupCapture
from wan_core.moe.split import is_high


def planned(plan: str) -> Evaluate:
    """A model whose k-th evaluation is that of the expert plan[k]."""
    left = [int(index) for index in plan.replace(" ", "")]
    return lambda x, sigma: FIELDS[left.pop(0)](x, sigma)


def events(log: list[str], kind: str) -> list[str]:
    return [line.removeprefix(f"{kind} ") for line in log if line.startswith(f"{kind} ")]


# One model


PLANS = [  # by hand: the expert of every evaluation, a group for each step, under the three policies
    (2, multistep, ("0 0 0 1 1", "0 0 0 1 1", "0 0 0 1 1")),
    (2, heun, ("00 00 01 11 1", "00 00 01 11 1", "00 00 00 11 1")),
    (2, heun_two_ahead, ("000 001 011 11 1", "000 001 111 11 1", "000 000 000 11 1")),
    (3, multistep, ("0 0 1 1 2", "0 0 1 1 2", "0 0 1 1 2")),
    (3, heun, ("00 01 11 12 2", "00 01 11 12 2", "00 00 11 11 2")),
    (3, heun_two_ahead, ("001 011 112 12 2", "001 111 112 22 2", "000 000 111 11 2")),
]
MASK = torch.rand(1, 1, 3, 4, 4)
CASES = [
    (count, solve, policy, plan)
    for count, solve, plans in PLANS
    for policy, plan in zip(("strict", "latch", "per_step"), plans, strict=True)
]


@pytest.mark.parametrize(("count", "solve", "policy", "plan"), CASES)
def test_a_run_is_that_of_the_planned_model_bit_for_bit_and_loads_whenever_the_plan_changes(
    count: int, solve: Solver, policy: str, plan: str
) -> None:
    log: list[str] = []
    steps: list[int] = []
    together, tallies = run_together(experts(count, log), small_job(solve, MASK, steps), policy)
    assert torch.equal(together, run_alone(planned(plan), small_job(solve, MASK)))
    indices = plan.replace(" ", "")
    changes = [index for before, index in zip("-" + indices, indices, strict=False) if before != index]
    assert events(log, "load") == [NAMES[int(index)] for index in changes]
    counts = [(indices.count(str(index)), changes.count(str(index))) for index in range(count)]
    assert [(tally.evaluations, tally.loads) for tally in tallies] == counts
    assert steps == [0, 1, 2, 3, 4]  # progress counts those of the whole run


@pytest.mark.parametrize("count", [2, 3])
def test_what_the_sampler_adds_reaches_every_expert_and_their_own_options_stay(count: int) -> None:
    merges: list[tuple[Any, Any, Any]] = []

    def merge(own: dict[str, Any], base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        merges.append((own, base, given))
        return merge_hooks(own, base, given)

    names = NAMES[:count]
    guiders = [ScalingGuider(denoise, {"owner": name}) for denoise, name in zip(FIELDS, names, strict=False)]
    parts = [expert(name, guider.sample) for name, guider in zip(names, guiders, strict=True)]
    run_together(parts, small_job(), merge_options=merge)
    assert [guider.seen[-1] for guider in guiders] == [
        ({"owner": "high", "hooks": ["sampler"]}, 7),
        *(({"owner": name, "hooks": ["sampler"], "merged": True}, 7) for name in names[1:]),
    ]
    assert merges[-1] == ({"owner": names[-1]}, {"owner": "high"}, {"owner": "high", "hooks": ["sampler"]})


@pytest.mark.parametrize("policy", POLICIES)
def test_the_sampler_sees_the_model_of_the_outermost_guider(policy: str) -> None:
    high, low = (ScalingGuider(denoise, cfg=cfg) for denoise, cfg in zip(FIELDS, (4.0, 3.0), strict=False))
    seen: list[tuple[Any, ...]] = []

    def look(model: Any, sigmas: Tensor, extra_args: Any, on_step: Any, noise: Tensor, *rest: Any) -> Tensor:
        seen.append((model.inner_model, model.model_patcher, model.cfg))
        return model(noise, sigmas[:1], **extra_args)

    parts = [expert("high", high.sample), expert("low", low.sample)]
    run_together(parts, replace(small_job(), sampler=SimpleNamespace(sample=look)), policy)
    assert set(seen) == {(high.inner_model, high.model_patcher, 4.0)}


# Loading


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("sigmas", "sigma_mins", "used"),
    [
        (SIGMAS[3:], (0.6, 0.0), ["low"]),
        (SIGMAS[:4], (0.6, 0.0), ["high"]),  # it ends below the boundary, where no step starts
        (SIGMAS, (math.inf, 0.0), ["low"]),
        (SIGMAS, (0.0, 0.0), ["high"]),
        (SIGMAS, (0.7, 0.65, 0.0), ["high", "lowest"]),
    ],
)
def test_an_expert_without_steps_is_neither_loaded_nor_warmed(
    sigmas: Tensor, sigma_mins: tuple[float, ...], used: list[str], policy: str
) -> None:
    log: list[str] = []
    run_together(experts(len(sigma_mins), log), small_job(), policy, sigmas=sigmas, sigma_mins=sigma_mins)
    assert events(log, "load") == used
    assert events(log, "warm") == used[1:]


UP_AGAIN = [0.8, 0.2, 0.1, 0.9, 0.0]  # the high expert is loaded again but never warmed
UP_AGAIN_LOG = "load high, warm low, high 0.8, load low, low 0.2, low 0.1, load high, high 0.9"
THREE_LOG = "load high, warm low, high 1.0, high 0.8, load low, warm lowest, low 0.6, low 0.4, load lowest, lowest 0.2"


@pytest.mark.parametrize(("count", "sigmas", "log"), [(2, UP_AGAIN, UP_AGAIN_LOG), (3, SIGMAS.tolist(), THREE_LOG)])
def test_the_next_expert_is_warmed_once_and_two_steps_before_its_first(
    count: int, sigmas: list[float], log: str
) -> None:
    found: list[str] = []
    run_together(experts(count, found), small_job(), sigmas=torch.tensor(sigmas))
    assert found == log.split(", ")


def test_seconds_are_those_of_the_experts_and_of_their_loading() -> None:
    now_s = 0.0

    def spend(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def slow_expert(name: str, evaluation_s: float, load_s: float) -> Expert:
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            spend(evaluation_s)
            return x

        return expert(name, ScalingGuider(denoise).sample, lambda: spend(load_s), lambda: spend(1000.0))

    def slow(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
        spend(500.0)
        return heun_two_ahead(evaluate, report, x, sigmas)

    parts = [slow_expert("high", 2.0, 32.0), slow_expert("low", 8.0, 64.0)]
    _, (high, low) = run_together(parts, small_job(slow), clock_s=lambda: now_s)  # 000 001 011 11 1
    assert (high.evaluations, high.seconds, high.loads, high.load_seconds) == (6, 12.0, 2, 64.0)
    assert (low.evaluations, low.seconds, low.loads, low.load_seconds) == (6, 48.0, 2, 128.0)


# Wrappers


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("twice", [0, 1])
def test_a_wrapper_that_samples_twice_gets_a_whole_run_each_time(twice: int, policy: str) -> None:
    """As in the host: the second run is as good as the first, and its result counts."""
    together, job = experts(), small_job()
    inner = together[twice].sample
    results: list[Tensor] = []

    def sample(noise: Tensor, *rest: Any) -> Tensor:
        results.extend(inner(noise + more, *rest) for more in (0.0, 1.0))
        return results[-1]

    together[twice] = replace(together[twice], sample=sample)
    found, tallies = run_together(together, job, policy)
    again = job if twice else replace(job, noise=job.noise + 1.0)  # the sampler starts from the outermost one's noise
    assert torch.equal(found, run_alone(composite, again))
    assert [tally.evaluations for tally in tallies] == [6, 4]


@pytest.mark.parametrize("owners", [(), (0,), (1,), (0, 1)])
def test_each_expert_has_its_own_mask_function(owners: tuple[int, ...]) -> None:
    asked: list[tuple[int, float]] = []

    def with_mask_function(index: int) -> Expert:
        inner = experts()[index].sample

        def masked(sigma: Tensor, mask: Tensor, extra_options: Any) -> Tensor:
            asked.append((index, float(sigma)))
            return mask * (index + 2)

        def sample(noise: Tensor, latent: Tensor, capture: SetupCapture, *rest: Any) -> Tensor:
            def then(setup: Any) -> Tensor:
                setup.model_options.update({"denoise_mask_function": masked} if index in owners else {})
                return capture.then(setup)

            return inner(noise, latent, SetupCapture(then), *rest)

        return replace(experts()[index], sample=sample)

    seen: list[float] = []

    def sample_masked(model: Any, sigmas: Tensor, args: Any, on_step: Any, noise: Tensor, *rest: Any) -> Tensor:
        for sigma in sigmas[:-1]:
            mask, options = torch.ones(1), args["model_options"]
            if "denoise_mask_function" in options:
                mask = options["denoise_mask_function"](sigma.reshape(1), mask, extra_options={})
            seen.append(float(mask))
            model(noise, sigma.reshape(1), options)
        return noise

    job = replace(small_job(), sampler=SimpleNamespace(sample=sample_masked))
    run_together([with_mask_function(0), with_mask_function(1)], job)
    indices = [0 if is_high(float(sigma), SIGMA_MINS[2][0]) else 1 for sigma in SIGMAS[:-1]]
    assert seen == [index + 2.0 if index in owners else 1.0 for index in indices]
    assert [index for index, _ in asked] == [index for index in indices if index in owners]
