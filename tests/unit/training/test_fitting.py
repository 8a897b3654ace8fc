"""The loop: bits of a resumed fit, AdamW and averages against their formulas, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from wan_core.errors import InputError
from wan_core.training import FitPlan, FitState, fit
from wan_core.training.fitting import learning_rate, seed_of

PLAN = FitPlan(steps=12, learning_rate=1e-2, warm_up_steps=3, precision="fp32", report_every=2, seed=5)
Loss = Callable[[int, torch.Generator], Any]


def small_network(seed: int = 0) -> nn.Module:
    """With a buffer that counts, buffers that average, a frozen layer and a trained one."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2))
    network[0].requires_grad_(False)
    return network


def loss_on(network: nn.Module) -> Loss:
    def loss(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = torch.randn(16, 6, generator=generator)
        return {"far": (network(x)[:, 0] - x.sum(dim=1)).square().mean(), "large": network(x).abs().mean()}

    return loss


def through_a_file(state: FitState) -> FitState:
    """What is read of the file that a state was written to."""
    content = safetensors.torch.save(state.tensors(), state.metadata())
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return FitState.of_file(safetensors.torch.load(content), header["__metadata__"])


def assert_same(one: FitState, other: FitState) -> None:
    assert (one.step, one.curve) == (other.step, other.curve)
    a, b = one.tensors(), other.tensors()
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(("precision", "optimiser"), [("fp32", "adamw"), ("bf16", "adamw"), ("fp32", "muon")])
def test_a_fit_that_goes_on_gives_the_bits_of_one_that_was_never_interrupted(precision: str, optimiser: str) -> None:
    plan = replace(PLAN, accumulate=2, precision=precision, optimiser=optimiser)
    whole_network = small_network()
    whole = fit(whole_network, loss_on(whole_network), plan)
    kept: dict[int, FitState] = {}
    first = small_network()
    fit(first, loss_on(first), plan, on_report=lambda state: kept.setdefault(state.step, through_a_file(state)))
    for step in (2, 6):
        other = small_network(seed=1)
        other[0].load_state_dict(first[0].state_dict())  # what is frozen is nobody's state
        assert_same(fit(other, loss_on(other), plan, state=kept[step]), whole)
    assert_same(fit(first, loss_on(first), plan, state=kept[12]), whole)  # nothing is left to do
    assert seed_of(1, 2) != seed_of(2, 1) and seed_of(0, 1) != seed_of(1, 1)


def test_what_is_frozen_is_neither_trained_nor_kept() -> None:
    network = small_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = fit(network, loss_on(network), PLAN)
    kept = {"1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked", "3.weight", "3.bias"}
    assert state.weights.keys() == state.averaged.keys() == kept
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == kept


def test_weights_and_averages_follow_the_formulas() -> None:
    """AdamW as in arXiv 1711.05101 with clipped gradients, and the average of weights, both in float64 by hand."""
    plan = replace(PLAN, clip_norm=0.5, weight_decay=0.1, ema_decay=0.6)
    network = nn.Linear(3, 1)
    matrix, vector = (value.detach().double().clone() for value in network.parameters())
    inputs = torch.randn(12, 5, 3, generator=torch.Generator().manual_seed(0))
    state = fit(network, lambda step, _: network(inputs[step]).square().mean(), plan)
    means = [[torch.zeros_like(value), torch.zeros_like(value)] for value in (matrix, vector)]
    averages = [matrix.clone(), vector.clone()]
    for step in range(12):
        x = inputs[step].double()
        y = x @ matrix.T + vector
        gradients = [(2 * y / 5).T @ x, (2 * y / 5).sum(0)]
        length = math.sqrt(sum(float(g.square().sum()) for g in gradients))
        rate, decay = learning_rate(plan, step), min(0.6, (1 + step) / (10 + step))
        for number, (value, gradient) in enumerate(zip((matrix, vector), gradients, strict=True)):
            gradient = gradient * min(1, 0.5 / (length + 1e-6))
            first, second = means[number]
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.99).add_(gradient.square(), alpha=0.01)
            unbiased = (first / (1 - 0.9 ** (step + 1)), second / (1 - 0.99 ** (step + 1)))
            value.mul_(1 - rate * (0.1 if number == 0 else 0)).sub_(rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8))
            averages[number] = decay * averages[number] + (1 - decay) * value
    for key, value, average in zip(("weight", "bias"), (matrix, vector), averages, strict=True):
        torch.testing.assert_close(state.weights[key].double(), value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(state.averaged[key].double(), average, rtol=1e-4, atol=1e-6)


def test_the_rate_rises_and_falls() -> None:
    plan = replace(PLAN, steps=103, learning_rate=2.0, warm_up_steps=3, final_share=0.1)
    rates = [learning_rate(plan, step) for step in range(103)]
    assert rates[:4] == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0])
    assert rates[53] == pytest.approx(2 * (0.1 + 0.9 * 0.5)) and rates == [*rates[:3], *sorted(rates[3:])[::-1]]
    assert learning_rate(plan, 103) == pytest.approx(0.2)


def test_several_batches_make_the_step_of_one_that_holds_them_all() -> None:
    inputs = torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(0))
    states = []
    for parts in (1, 4):
        torch.manual_seed(0)
        network = nn.Linear(3, 1)
        given = iter(inputs.reshape(parts, -1, 3))
        plan = replace(PLAN, steps=1, accumulate=parts, warm_up_steps=0)
        states.append(fit(network, lambda *_, n=network, x=given: n(next(x)).square().mean(), plan))
    torch.testing.assert_close(states[0].weights["weight"], states[1].weights["weight"])
    one, four = (state.curve[0] for state in states)
    assert (one.losses["loss"], one.gradient_norm) == pytest.approx((four.losses["loss"], four.gradient_norm))


def test_the_curve_holds_means_of_every_loss() -> None:
    network = nn.Linear(1, 1)
    zero = network.weight.sum() * 0
    state = fit(network, lambda step, _: {"a": network.weight.sum() * 0 + step, "b": zero.detach() + 1}, PLAN)
    assert [report.losses for report in state.curve[:2]] == [
        {"a": 0.5, "b": 1.0, "loss": 1.5},
        {"a": 2.5, "b": 1.0, "loss": 3.5},
    ]
    assert [report.step for report in state.curve] == [2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_what_is_computed_in(precision: str) -> None:
    network, seen = nn.Linear(4, 4), set()

    def loss(step: int, generator: torch.Generator) -> Tensor:
        out = network(torch.ones(2, 4))
        seen.add(out.dtype)
        return out.square().mean()

    state = fit(network, loss, replace(PLAN, precision=precision))
    assert seen == {{"fp32": torch.float32, "bf16": torch.bfloat16}[precision]}
    assert {value.dtype for value in state.weights.values()} == {torch.float32}


def test_what_cannot_go_on_is_refused() -> None:
    network = small_network()
    state = fit(network, loss_on(network), PLAN)
    other = nn.Linear(2, 1)
    with pytest.raises(InputError, match="state: found the state of another network"):
        fit(other, loss_on(other), PLAN, state=state)
    with pytest.raises(InputError, match="state: found a file that is not the state of a training"):
        FitState.of_file({"blocks.0.weight": torch.ones(1)}, state.metadata())
    with pytest.raises(InputError, match="state: found a file that is not the state of a training"):
        FitState.of_file(state.tensors(), {})
    for own, wanted in (("adamw", "muon"), ("muon", "adamw")):
        state = fit(network, loss_on(network), replace(PLAN, optimiser=own))
        with pytest.raises(InputError, match=f"state: found the state of another optimiser; wanted one of {wanted}"):
            fit(network, loss_on(network), replace(PLAN, optimiser=wanted), state=state)
    for name in ("optimiser", "precision"):
        with pytest.raises(InputError, match=f"{name}: found 'other'; wanted one of"):
            replace(PLAN, **{name: "other"})
    nan = torch.tensor(float("nan"))
    with pytest.raises(InputError, match="learning_rate: found a loss of nan and gradients of length nan after step 2"):
        fit(network, lambda *_: network[3].weight.sum() * nan, PLAN)
