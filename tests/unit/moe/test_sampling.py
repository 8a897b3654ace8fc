"""The front door: a request goes in; the latent, what each expert did and the notes come out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.moe.small_runs import (
    PARAMS,
    SIGMAS,
    Evaluate,
    Report,
    composite,
    experts,
    heun,
    merge_hooks,
    run_alone,
    small_job,
)
from wan_core.errors import InputError
from wan_core.moe import Expert, SampleRequest, Schedule, Switch, describe, sample
from wan_core.notes import Note


def request(parts: list[Expert] | None = None, **changes: Any) -> SampleRequest:
    """The small job over two experts that change at sigma 0.6, as a script would ask for it."""
    usual = {"switch": Switch("sigma", 0.6), "schedule": Schedule(SIGMAS), "policy": "strict", "job": small_job()}
    return SampleRequest(tuple(parts or experts()), **usual | changes)


def test_a_script_that_gives_no_callbacks_gets_the_run_of_both_experts_as_one_model() -> None:
    result = sample(request(job=small_job(heun)))
    assert torch.equal(result.latent, run_alone(composite, small_job(heun)))
    assert (result.names, result.sigma_mins, result.policy) == (("high", "low"), (0.6, 0.0), "strict")
    assert result.sigmas == tuple(SIGMAS.tolist())
    assert [(tally.evaluations, tally.loads, tally.seconds) for tally in result.tallies] == [(5, 1, 0.0), (4, 1, 0.0)]
    assert describe(result).startswith("steps: 3 high + 2 low\nboundary: sigma 0.6000 ")


@pytest.mark.parametrize("start_step", [0, 2])
def test_the_boundary_is_found_in_the_whole_schedule_and_the_part_is_run(start_step: int) -> None:
    schedule = Schedule(SIGMAS, start_step, 4, leftover_noise=True)
    result = sample(request(switch=Switch("step", 3), schedule=schedule))
    assert [tally.evaluations for tally in result.tallies] == [3 - start_step, 1]
    assert result.sigmas == tuple(SIGMAS.tolist()[start_step:5])


@pytest.mark.parametrize(("channels", "boundary_sigma"), [(16, 0.875), (36, 0.9)])
def test_auto_is_the_boundary_of_the_experts(channels: int, boundary_sigma: float) -> None:
    parts = [replace(expert, params=replace(PARAMS, input_channels=channels)) for expert in experts()]
    assert sample(request(parts, switch=Switch("auto", 0.0))).sigma_mins == (boundary_sigma, 0.0)


def test_a_third_expert_takes_the_first_steps() -> None:
    result = sample(request(experts(3), start_steps=1), merge_options=merge_hooks)
    assert [tally.evaluations for tally in result.tallies] == [1, 2, 2]
    assert result.sigma_mins == (pytest.approx(0.80001, abs=1e-6), 0.6, 0.0)
    with pytest.raises(InputError, match="^start_steps: found 4 with 3 steps before the switch"):
        sample(request(experts(3), start_steps=4))


def test_notes_are_heard_before_the_run_and_come_out_with_it() -> None:
    log: list[Any] = []
    result = sample(request(experts(log=log), switch=Switch("sigma", 0.0)), on_note=log.append)
    assert result.notes == tuple(line for line in log if isinstance(line, Note))
    assert [note.code for note in result.notes] == ["one_expert"]
    assert log[0] is result.notes[0]


def test_the_clock_and_the_merging_of_options_are_the_hosts() -> None:
    ticks, merges = iter(range(100)), []

    def merge(own: dict[str, Any], base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        merges.append(own)
        return own

    high, low = sample(request(), merge_options=merge, clock_s=lambda: float(next(ticks))).tallies
    assert (high.seconds, high.load_seconds, low.seconds, low.load_seconds) == (3.0, 1.0, 2.0, 1.0)
    assert merges == [{"owner": "low"}] * 2


def overflowing(evaluate: Evaluate, report: Report, x: Tensor, sigmas: Tensor) -> Tensor:
    return evaluate(x, sigmas[0]) * torch.inf


def test_a_sampler_that_ends_beyond_all_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="^latent_image: found NaN or infinite values"):
        sample(request(job=small_job(overflowing)))


def test_a_policy_that_is_none_is_refused_before_anything_is_loaded() -> None:
    log: list[str] = []
    with pytest.raises(InputError) as refused:
        sample(request(experts(log=log), policy="some"))
    assert str(refused.value) == ("policy: found 'some'; wanted one of strict, latch, per_step. Pick one in the node.")
    assert log == []
