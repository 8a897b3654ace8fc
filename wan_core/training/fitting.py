"""The loop that trains a network: AdamW (arXiv 1711.05101), warm-up and cosine, clipped gradients, averaged weights.

What a step draws comes from the seed and the number of the step alone: a fit that goes on from a state gives the bits
of one that was never interrupted.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import require_choice
from ..errors import InputError
from ..weights import StateDict
from .muon import Muon, is_matrix
from .state import FitState, Report, require_same

BETAS = (0.9, 0.99)  # of the running means of a gradient and of its square
ADAMW_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
WARM_AVERAGE = 10  # steps: the average of weights looks back over a share of the steps that there were
ADAMW, MUON = "adamw", "muon"
OPTIMISERS: dict[str, type[torch.optim.AdamW]] = {ADAMW: torch.optim.AdamW, MUON: Muon}
FP32, BF16 = PRECISIONS = ("fp32", "bf16")
TOTAL = "loss"  # the name of the sum of all losses

Losses = Tensor | Mapping[str, Tensor]  # one number, or several by name whose sum is minimised
LossOf = Callable[[int, torch.Generator], Losses]  # of a step, with what it may draw from, on the network's device


@dataclass(frozen=True, slots=True)
class FitPlan:
    """How a network is trained."""

    steps: int  # updates of the weights
    learning_rate: float  # at its highest
    warm_up_steps: int = 0  # in which the rate rises from 0
    final_share: float = 0.05  # of the learning rate, where the cosine ends
    weight_decay: float = 0.01  # of matrices and kernels; vectors have none
    clip_norm: float = 1.0  # most length of all gradients together
    accumulate: int = 1  # batches whose gradients make one update
    ema_decay: float = 0.999  # of the averaged weights, a step
    optimiser: str = ADAMW  # one of OPTIMISERS
    precision: str = BF16  # one of PRECISIONS, of what is computed; weights and their averages stay as they are
    report_every: int = 10  # steps
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for an optimiser or a precision that there is not."""
        require_choice(self.optimiser, tuple(OPTIMISERS), name="optimiser")
        require_choice(self.precision, PRECISIONS, name="precision")


# Kernels


def learning_rate(plan: FitPlan, step: int) -> float:
    """The rate of a step: a straight rise, then half a cosine down to its final share."""
    if step < plan.warm_up_steps:
        return plan.learning_rate * (step + 1) / plan.warm_up_steps
    done = (step - plan.warm_up_steps) / max(1, plan.steps - plan.warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return plan.learning_rate * (plan.final_share + (1 - plan.final_share) * cosine)


def seed_of(seed: int, step: int) -> int:
    """The seed of one step; torch's generator of the CPU looks at 32 bits of it alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:4], "big")


def average_into(averaged: StateDict, weights: StateDict, decay: float) -> None:
    """averaged = decay * averaged + (1 - decay) * weights, in place; counters are copied."""
    for key, value in weights.items():
        if value.is_floating_point():
            averaged[key].lerp_(value, 1 - decay)
        else:
            averaged[key].copy_(value)


# The loop


def fit(
    network: nn.Module,
    loss_of: LossOf,
    plan: FitPlan,
    *,
    state: FitState | None = None,
    on_report: Callable[[FitState], None] = lambda state: None,
) -> FitState:
    """Trains the parameters of a network that require gradients, and returns the last state.

    ``loss_of`` gives the loss of one batch. ``on_report`` gets the state every ``plan.report_every`` steps; its tensors
    are the ones at work, so they are to be copied or written at once. ``state`` is one to go on from. Raises InputError
    for the state of another network, and when the loss is no finite number any more.
    """
    training = _Training(network, plan)
    if state is not None:
        training.restore(state)
    while training.step < plan.steps:
        training.advance(loss_of)
        if training.step % plan.report_every == 0 or training.step == plan.steps:
            training.report()
            on_report(training.state())
    return training.state()


class _Training:
    """A network at work: its weights, their average, and the optimiser."""

    def __init__(self, network: nn.Module, plan: FitPlan) -> None:
        self.plan, self.step = plan, 0
        self.parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self.device = next(iter(self.parameters.values())).device
        frozen = {name for name, value in network.named_parameters() if not value.requires_grad}
        own = network.state_dict()
        self.weights = {key: value for key, value in own.items() if key not in frozen}  # in place, buffers too
        self.averaged = {key: value.clone() for key, value in self.weights.items()}
        matrices = [value for value in self.parameters.values() if value.ndim > 1]
        vectors = [value for value in self.parameters.values() if value.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        self.optimiser = OPTIMISERS[plan.optimiser](
            groups, lr=plan.learning_rate, betas=BETAS, weight_decay=plan.weight_decay, fused=True
        )
        self.curve: tuple[Report, ...] = ()
        self.window: dict[str, list[Tensor]] = defaultdict(list)  # losses of each batch since the last report
        self.norms: list[Tensor] = []  # of the gradients of each step since then

    def restore(self, state: FitState) -> None:
        """Goes to where another fit of the same network was, by the same optimiser."""
        require_same(state.weights, self.weights)
        known = {f"{name}.{moment}" for name, value in self.parameters.items() for moment in self._moments(value)}
        if state.optimiser.keys() - known:
            raise InputError(
                "state",
                found="the state of another optimiser",
                wanted=f"one of {self.plan.optimiser}",
                fix="Go on with the optimiser that it was begun with, or begin anew.",
            )
        self.step, self.curve = state.step, state.curve
        for key, value in self.weights.items():
            value.copy_(state.weights[key])
            self.averaged[key].copy_(state.averaged[key])
        for key, value in state.optimiser.items():
            name, _, moment = key.rpartition(".")
            self.optimiser.state[self.parameters[name]][moment] = value.clone().to(self.device)

    def _moments(self, parameter: nn.Parameter) -> tuple[str, ...]:
        """What the optimiser knows of a parameter."""
        return ("momentum",) if self.plan.optimiser == MUON and is_matrix(parameter) else ADAMW_MOMENTS

    def advance(self, loss_of: LossOf) -> None:
        """One update of the weights."""
        plan, rate = self.plan, learning_rate(self.plan, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        generator = torch.Generator(self.device).manual_seed(seed_of(plan.seed, self.step))
        for _ in range(plan.accumulate):
            self._backward(loss_of, generator)
        self.norms.append(nn.utils.clip_grad_norm_(self.parameters.values(), plan.clip_norm))
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        average_into(self.averaged, self.weights, min(plan.ema_decay, (1 + self.step) / (WARM_AVERAGE + self.step)))
        self.step += 1

    def _backward(self, loss_of: LossOf, generator: torch.Generator) -> None:
        """Adds the gradients of one batch."""
        is_bf16 = self.plan.precision == BF16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_bf16):  # noqa: TID251 - a training decides
            losses = loss_of(self.step, generator)
        parts = {TOTAL: losses} if isinstance(losses, Tensor) else dict(losses)
        total = torch.stack([part.float() for part in parts.values()]).sum()
        (total / self.plan.accumulate).backward()
        for name, part in (parts | {TOTAL: total}).items():
            self.window[name].append(part.detach())

    def report(self) -> None:
        """Puts the means since the last report into the curve; raises InputError where they are no numbers."""
        losses = {name: float(torch.stack(values).mean()) for name, values in self.window.items()}
        norm = float(torch.stack(self.norms).mean())
        if not math.isfinite(losses[TOTAL] + norm):
            raise InputError(
                "learning_rate",
                found=f"a loss of {losses[TOTAL]:g} and gradients of length {norm:g} after step {self.step}",
                wanted="finite numbers",
                fix="Lower it, or look for broken examples; what was kept before can be gone on from.",
            )
        self.curve = (*self.curve, Report(self.step, losses, learning_rate(self.plan, self.step - 1), norm))
        self.window.clear()
        self.norms.clear()

    def state(self) -> FitState:
        """Where the fit is now."""
        optimiser = {
            f"{name}.{moment}": value
            for name, parameter in self.parameters.items()
            for moment, value in self.optimiser.state[parameter].items()
        }
        return FitState(self.step, self.weights, self.averaged, optimiser, self.curve)
