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
    TOOLS,
    Evaluate,
    Report,
    ScalingGuider,
    Solver,
    ancestral,
    composite,
    experts,
    heun,
    heun_two_ahead,
    job,
    merge_hooks,
    multistep,
    run_alone,
)
from wan_core.moe.plan import POLICIES
from wan_core.moe.route import Expert, Tools, sample_once


def planned(plan: str) -> Evaluate:
    """A model whose k-th evaluation is that of the expert plan[k]."""
    left = [int(index) for index in plan.replace(" ", "")]
    return lambda x, sigma: FIELDS[left.pop(0)](x, sigma)


def events(log: list[str], kind: str) -> list[str]:
    return [line.removeprefix(f"{kind} ") for line in log if line.startswith(f"{kind} ")]


# One model


PLANS = [  # by hand: the expert of every evaluation, a group for each step
    (2, multistep, "strict", "0 0 0 1 1"),
    (2, multistep, "latch", "0 0 0 1 1"),
    (2, multistep, "per_step", "0 0 0 1 1"),
    (2, heun, "strict", "00 00 01 11 1"),
    (2, heun, "latch", "00 00 01 11 1"),
    (2, heun, "per_step", "00 00 00 11 1"),
    (2, heun_two_ahead, "strict", "000 001 011 11 1"),
    (2, heun_two_ahead, "latch", "000 001 111 11 1"),
    (2, heun_two_ahead, "per_step", "000 000 000 11 1"),
    (3, multistep, "strict", "0 0 1 1 2"),
    (3, multistep, "latch", "0 0 1 1 2"),
    (3, multistep, "per_step", "0 0 1 1 2"),
    (3, heun, "strict", "00 01 11 12 2"),
    (3, heun, "latch", "00 01 11 12 2"),
    (3, heun, "per_step", "00 00 11 11 2"),
    (3, heun_two_ahead, "strict", "001 011 112 12 2"),
    (3, heun_two_ahead, "latch", "001 111 112 22 2"),
    (3, heun_two_ahead, "per_step", "000 000 111 11 2"),
]


@pytest.mark.parametrize(("count", "solve", "policy", "plan"), PLANS)
def test_a_run_equals_that_of_the_planned_model_bit_for_bit(count: int, solve: Solver, policy: str, plan: str) -> None:
    together, tallies = sample_once(experts(SIGMA_MINS[count]), job(solve), policy, TOOLS)
    assert torch.equal(together, run_alone(planned(plan), job(solve)))
    assert [tally.evaluations for tally in tallies] == [plan.count(str(index)) for index in range(count)]


@pytest.mark.parametrize("mask", [None, torch.rand(1, 1, 3, 4, 4)], ids=["whole", "masked"])
@pytest.mark.parametrize("solve", [multistep, heun, heun_two_ahead])
def test_strict_is_one_model_of_the_noise_level(solve: Solver, mask: Tensor | None) -> None:
    together, _ = sample_once(experts(), job(solve, mask=mask), "strict", TOOLS)
    assert torch.equal(together, run_alone(composite, job(solve, mask=mask)))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_restart_at_the_switch_would_be_seen(policy: str) -> None:
    def restarting(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
        return multistep(evaluate, report, multistep(evaluate, report, x, sigmas[:4]), sigmas[3:])

    together, _ = sample_once(experts(), job(), policy, TOOLS)
    assert not torch.allclose(together, run_alone(composite, job(restarting)), atol=1e-3)


@pytest.mark.parametrize("policy", POLICIES)
def test_fresh_noise_is_drawn_as_in_one_run(policy: str) -> None:
    torch.manual_seed(3)
    together, _ = sample_once(experts(), job(ancestral), policy, TOOLS)
    torch.manual_seed(3)
    assert torch.equal(together, run_alone(composite, job(ancestral)))


@pytest.mark.parametrize("count", [2, 3])
def test_what_the_sampler_adds_reaches_every_expert_and_their_own_options_stay(count: int) -> None:
    merges: list[tuple[Any, Any, Any]] = []

    def merge(own: dict[str, Any], base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        merges.append((own, base, given))
        return merge_hooks(own, base, given)

    names = NAMES[:count]
    guiders = [ScalingGuider(denoise, {"owner": name}) for denoise, name in zip(FIELDS, names, strict=False)]
    parts = [
        Expert(name, guider.sample, sigma_min, lambda: None, lambda: None)
        for name, guider, sigma_min in zip(names, guiders, SIGMA_MINS[count], strict=True)
    ]
    sample_once(parts, job(), "strict", Tools(merge, lambda: 0.0))
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

    parts = [Expert("high", high.sample, 0.5, lambda: None, lambda: None)]
    parts += [Expert("low", low.sample, 0.0, lambda: None, lambda: None)]
    sample_once(parts, replace(job(), sampler=SimpleNamespace(sample=look)), policy, TOOLS)
    assert set(seen) == {(high.inner_model, high.model_patcher, 4.0)}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("count", [2, 3])
def test_progress_counts_the_steps_of_the_whole_run(count: int, policy: str) -> None:
    steps: list[int] = []
    sample_once(experts(SIGMA_MINS[count]), job(heun_two_ahead, steps=steps), policy, TOOLS)
    assert steps == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_that_came_in_is_changed(policy: str) -> None:
    the_job = job(heun)
    before = [the_job.noise.clone(), the_job.latent_image.clone(), the_job.sigmas.clone()]
    sample_once(experts(), the_job, policy, TOOLS)
    for tensor, copy in zip([the_job.noise, the_job.latent_image, the_job.sigmas], before, strict=True):
        assert torch.equal(tensor, copy)


# Loading


@pytest.mark.parametrize(("count", "solve", "policy", "plan"), PLANS)
def test_an_expert_is_loaded_whenever_the_plan_comes_to_it(count: int, solve: Solver, policy: str, plan: str) -> None:
    log: list[str] = []
    _, tallies = sample_once(experts(SIGMA_MINS[count], log), job(solve), policy, TOOLS)
    made = plan.replace(" ", "")
    changes = [index for before, index in zip("-" + made, made, strict=False) if before != index]
    assert events(log, "load") == [NAMES[int(index)] for index in changes]
    assert [tally.loads for tally in tallies] == [changes.count(str(index)) for index in range(count)]


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
    sample_once(experts(sigma_mins, log), job(sigmas=sigmas), policy, TOOLS)
    assert events(log, "load") == used
    assert events(log, "warm") == used[1:]


def test_a_way_back_up_loads_the_high_expert_again_but_warms_it_never() -> None:
    log: list[str] = []
    sample_once(experts(log=log), job(sigmas=torch.tensor([0.8, 0.2, 0.1, 0.9, 0.0])), "strict", TOOLS)
    assert log == [
        "load high",
        "warm low",
        "high 0.8",
        "load low",
        "low 0.2",
        "low 0.1",
        "load high",
        "high 0.9",
    ]


def test_the_next_expert_is_warmed_two_steps_before_its_first() -> None:
    log: list[str] = []
    sample_once(experts(SIGMA_MINS[3], log), job(), "strict", TOOLS)
    assert log == [
        "load high",
        "warm low",
        "high 1.0",
        "high 0.8",
        "load low",
        "warm lowest",
        "low 0.6",
        "low 0.4",
        "load lowest",
        "lowest 0.2",
    ]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("solve", [multistep, heun, heun_two_ahead])
@pytest.mark.parametrize("high_steps", range(1, 12))
def test_warming_happens_once_and_within_two_steps_of_the_first_use(
    high_steps: int, solve: Solver, policy: str
) -> None:
    log: list[str] = []
    places: list[int] = []  # for each line of the log the number of its step, by the noise level
    sigmas = torch.linspace(1.0, 0.0, 13)

    def noting(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
        def evaluate_and_note(x: Tensor, sigma: Tensor) -> Tensor:
            denoised = evaluate(x, sigma)
            places.extend([int((sigmas[:-1] >= sigma).sum())] * (len(log) - len(places)))
            return denoised

        return solve(evaluate_and_note, report, x, sigmas)

    boundary_sigma = float(sigmas[high_steps - 1 : high_steps + 1].mean())
    sample_once(experts((boundary_sigma, 0.0), log), job(noting, sigmas), policy, TOOLS)
    assert events(log, "warm") == ["low"]
    assert log.index("warm low") < log.index("load low")
    assert places[log.index("warm low")] == max(1, high_steps - 1)  # the first low step is high_steps + 1


def test_seconds_are_those_of_the_experts_and_of_their_loading() -> None:
    now_s = 0.0

    def spend(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def expert(name: str, sigma_min: float, evaluation_s: float, load_s: float) -> Expert:
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            spend(evaluation_s)
            return x

        guider = ScalingGuider(denoise)
        return Expert(name, guider.sample, sigma_min, lambda: spend(load_s), lambda: spend(1000.0))

    def slow(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
        spend(500.0)
        return heun_two_ahead(evaluate, report, x, sigmas)

    parts = [expert("high", 0.6, 2.0, 32.0), expert("low", 0.0, 8.0, 64.0)]
    _, (high, low) = sample_once(parts, job(slow), "strict", Tools(merge_hooks, lambda: now_s))  # 000 001 011 11 1
    assert (high.evaluations, high.seconds, high.loads, high.load_seconds) == (6, 12.0, 2, 64.0)
    assert (low.evaluations, low.seconds, low.loads, low.load_seconds) == (6, 48.0, 2, 128.0)
