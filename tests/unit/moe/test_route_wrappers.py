"""Wrappers around an expert's sampling may run it more than once, and masks may change with the noise level."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.moe.small_runs import SIGMA_MINS, TOOLS, composite, experts, job, run_alone
from wan_core.moe.route import sample_once
from wan_core.moe.setup import SetupCapture
from wan_core.moe.split import is_high


@pytest.mark.parametrize("twice", [0, 1])
def test_a_wrapper_that_samples_twice_gets_a_whole_run_each_time(twice: int) -> None:
    """As in the host: the second run is as good as the first, and its result counts."""
    together = list(experts())
    inner = together[twice].sample
    results: list[Tensor] = []

    def sample(noise: Tensor, latent: Tensor, sampler: Any, *rest: Any) -> Tensor:
        for _ in range(2):
            results.append(inner(noise, latent, sampler, *rest))
        return results[-1]

    together[twice] = replace(together[twice], sample=sample)
    found, tallies = sample_once(together, job(), "strict", TOOLS)
    assert torch.equal(found, run_alone(composite, job()))
    assert torch.equal(results[0], results[1])
    assert [tally.evaluations for tally in tallies] == [6, 4]


@pytest.mark.parametrize("owners", [(), (0,), (1,), (0, 1)])
def test_each_expert_has_its_own_mask_function(owners: tuple[int, ...]) -> None:
    asked: list[tuple[int, float]] = []

    def with_mask_function(index: int) -> Any:
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

    class MaskingSampler:
        def sample(self, model: Any, sigmas: Tensor, args: Any, on_step: Any, noise: Tensor, *rest: Any) -> Tensor:
            for sigma in sigmas[:-1]:
                mask, options = torch.ones(1), args["model_options"]
                if "denoise_mask_function" in options:
                    mask = options["denoise_mask_function"](sigma.reshape(1), mask, extra_options={})
                seen.append(float(mask))
                model(noise, sigma.reshape(1), options)
            return noise

    the_job = replace(job(), sampler=MaskingSampler())
    sample_once([with_mask_function(0), with_mask_function(1)], the_job, "strict", TOOLS)
    serving = [0 if is_high(float(sigma), SIGMA_MINS[2][0]) else 1 for sigma in the_job.sigmas[:-1]]
    assert seen == [index + 2.0 if index in owners else 1.0 for index in serving]
    assert [index for index, _ in asked] == [index for index in serving if index in owners]
