"""A dry run: the sampler runs once on almost nothing, to learn which evaluation belongs to which of its steps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .policy import Evaluation
from .setup import Guider, ModelOptions, Setup

POST_CFG_HOOKS = "sampler_post_cfg_function"


@dataclass(slots=True)
class DryModel:
    """Stands in for a guider: denoises everything to zero and writes down at which sigma it was asked."""

    guider: Guider
    events: list[float | None] = field(default_factory=list)  # the sigma of an evaluation, None for a report of a step

    @property
    def inner_model(self) -> Any:
        return self.guider.inner_model

    @property
    def model_patcher(self) -> Any:
        return self.guider.model_patcher

    @property
    def cfg(self) -> float:
        return self.guider.cfg

    def __call__(self, x: Tensor, sigma: Tensor, model_options: ModelOptions, seed: int | None = None) -> Tensor:
        self.events.append(float(sigma.max()))
        denoised = torch.zeros_like(x)
        for hook in model_options.get(POST_CFG_HOOKS, []):
            denoised = hook(
                {
                    "denoised": denoised,
                    "cond_denoised": denoised,
                    "uncond_denoised": denoised,
                    "input": x,
                    "sigma": sigma,
                    "model_options": model_options,
                }
            )
        return denoised


def dry_run(sampler: Any, setup: Setup) -> list[Evaluation]:
    """The evaluations that ``sampler`` will make on the schedule of ``setup``, in order.

    It runs on a latent of one position; the global random state is left as it was. A solver that chooses its own steps
    will not keep to this.
    """
    model = DryModel(setup.guider)
    corner = tuple(slice(0, size if axis == 1 else 1) for axis, size in enumerate(setup.noise.shape))  # 1 c 1 1 1
    noise = setup.noise[corner].clone()
    options = setup.model_options | {POST_CFG_HOOKS: []}
    with torch.random.fork_rng(devices=[noise.device] if noise.is_cuda else []):
        sampler.sample(
            model,
            setup.sigmas.clone(),
            setup.extra_args | {"model_options": options},
            lambda step, denoised, x, steps: model.events.append(None),
            noise,
            torch.zeros_like(noise),
            None,
            True,
        )
    return evaluations_of(model.events)


def evaluations_of(events: Sequence[float | None]) -> list[Evaluation]:
    """Each evaluation with its step: a solver reports a step (None) right after the evaluation that starts it."""
    found: list[Evaluation] = []
    step_sigma: float | None = None
    for sigma, following in itertools.pairwise([*events, math.inf]):
        if sigma is None:
            continue
        if following is None or step_sigma is None:
            step_sigma = sigma
        found.append(Evaluation(sigma, step_sigma))
    return found
