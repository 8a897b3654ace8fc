"""A dry run tells which evaluation belongs to which step, and leaves no trace."""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from wan_core.moe.dry_run import POST_CFG_HOOKS, dry_run, evaluations_of
from wan_core.moe.policy import Evaluation
from wan_core.moe.setup import Setup

SIGMAS = [1.0, 0.75, 0.5, 0.0]  # exact in float32
Trace = list[float | None]  # the sigma of an evaluation, None for the report of a step
Options = dict[str, Any]


@dataclass
class Scripted:
    """A sampler that evaluates and reports as it is told, and remembers what it saw."""

    trace: Trace
    model: Any = None
    denoised: Tensor | None = None

    def sample(
        self, model: Any, sigmas: Tensor, extra_args: Options, on_step: Any, noise: Tensor, *rest: Any
    ) -> Tensor:
        self.model = model
        for i, sigma in enumerate(self.trace):
            if sigma is None:
                on_step(i, noise, noise, len(sigmas) - 1)
            else:
                self.denoised = model(noise, torch.full((len(noise),), sigma), **extra_args)
        return noise


def prepared(model_options: Options | None = None) -> Setup:
    """What a guider would have prepared for two videos of 16 channels, with a progress bar that must not move."""
    options = {"owner": "high"} if model_options is None else model_options

    def refuse(*_: object) -> None:
        raise AssertionError("a dry run must not report a step")

    return Setup(
        guider=SimpleNamespace(inner_model=object(), model_patcher=object(), cfg=4.0),
        sigmas=torch.tensor(SIGMAS),
        extra_args={"model_options": options, "seed": 7},
        model_options=options,
        callback=refuse,
        noise=torch.randn(2, 16, 3, 8, 6, generator=torch.Generator().manual_seed(1)),
        latent_image=torch.ones(2, 16, 3, 8, 6),
        denoise_mask=torch.ones(2, 1, 3, 8, 6),
        disable_pbar=False,
    )


def pairs(evaluations: list[Evaluation]) -> list[tuple[float, float]]:
    return [(evaluation.sigma, evaluation.step_sigma) for evaluation in evaluations]


TRACES = {  # by hand: sigmas and reports (|), and the start of the step of each evaluation
    "one evaluation a step": ("1 | .75 | .5 |", "1 .75 .5"),
    "two, the second at the end": ("1 | .75 .75 | .5 .5 |", "1 1 .75 .75 .5"),
    "two, the second midway": ("1 | .875 .75 | .625 .5 |", "1 1 .75 .75 .5"),
    "three, and back": ("1 | .75 .5 .75 | .5 .5 |", "1 1 1 .75 .75 .5"),
    "a second look at the same sigma": ("1 | 1 .75 | .75", "1 1 .75 .75"),
    "the report one step late": ("1 .75 | .5 | |", "1 .75 .5"),  # the first of all has no report of its own
    "one that never reports": ("1 .75 .5", "1 1 1"),
    "one evaluation after the last report": ("1 | .75 | 0", "1 .75 .75"),
    "a report before everything": ("| 1 | .75 |", "1 .75"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize("case", TRACES)
def test_every_evaluation_has_its_step(case: str) -> None:
    events, starts = (text.split() for text in TRACES[case])
    trace: Trace = [None if event == "|" else float(event) for event in events]
    by_hand = list(zip([sigma for sigma in trace if sigma is not None], map(float, starts), strict=True))
    assert pairs(evaluations_of(trace)) == by_hand
    assert pairs(dry_run(Scripted(trace), prepared())) == by_hand


def test_the_sampler_sees_one_position_and_the_guiders_model() -> None:
    sampler, setup = Scripted([1.0, None]), prepared()
    dry_run(sampler, setup)
    assert torch.equal(sampler.denoised, torch.zeros(1, 16, 1, 1, 1))
    assert sampler.model.inner_model is setup.guider.inner_model
    assert sampler.model.model_patcher is setup.guider.model_patcher
    assert sampler.model.cfg == 4.0


def test_a_hook_that_the_sampler_adds_is_called_with_what_the_host_gives_it() -> None:
    """As cfg_pp samplers do it: they need the unconditional part of every evaluation. The model's own do not run."""
    seen: list[Options] = []

    def hook(args: Options) -> Tensor:
        seen.append(args)
        return args["denoised"] + 1.0

    def sample(model: Any, sigmas: Tensor, extra_args: Options, on_step: Any, noise: Tensor, *rest: Any) -> Tensor:
        options = extra_args["model_options"]
        extra_args["model_options"] = options | {POST_CFG_HOOKS: [*options.get(POST_CFG_HOOKS, []), hook]}
        for sigma in sigmas[:-1]:
            denoised = model(noise, sigma.expand(len(noise)), **extra_args)
            assert torch.equal(denoised, torch.ones_like(noise))
        return noise

    own_hooks = [lambda args: pytest.fail("a hook of the model ran")]
    setup = prepared({"owner": "high", POST_CFG_HOOKS: own_hooks})
    dry_run(SimpleNamespace(sample=sample), setup)
    assert [float(args["sigma"][0]) for args in seen] == SIGMAS[:3]
    for args in seen:
        assert {"denoised", "cond_denoised", "uncond_denoised", "input", "sigma", "model_options"} == args.keys()
        assert args["model_options"]["owner"] == "high"
        assert args["input"].shape == args["cond_denoised"].shape == args["uncond_denoised"].shape == (1, 16, 1, 1, 1)
    assert setup.model_options[POST_CFG_HOOKS] is own_hooks


# No trace


def rude(model: Any, sigmas: Tensor, extra_args: Options, on_step: Any, noise: Tensor, *rest: Any) -> Tensor:
    """Seeds and draws from the global generator and writes into the arguments and options that it was given."""
    torch.manual_seed(99)
    noise.mul_(sigmas[0] + 1.0).add_(torch.randn_like(noise))
    model(noise, sigmas[:1], **extra_args)
    sigmas[-1] = 0.001  # as uni_pc does
    extra_args["denoise_mask"] = None
    extra_args["model_options"]["disable_cfg1_optimization"] = True
    extra_args["model_options"].setdefault(POST_CFG_HOOKS, []).append(lambda args: args["denoised"])
    return noise + torch.rand(5).sum()


@pytest.mark.parametrize("hooks", [{}, {POST_CFG_HOOKS: []}])
def test_the_random_state_and_the_setup_stay_as_they_were(hooks: Options) -> None:
    setup = prepared({"owner": "high"} | hooks)
    names = [each.name for each in fields(setup) if each.name not in ("guider", "callback")]
    before = copy.deepcopy({name: getattr(setup, name) for name in names})
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    dry_run(SimpleNamespace(sample=rude), setup)
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in before.items():
        now = getattr(setup, name)
        assert torch.equal(now, value) if isinstance(value, Tensor) else now == value, name
