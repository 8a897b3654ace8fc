"""Fits of the miniature cast: each keeps its state in the job's folder, and ends with averaged weights."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from devtools.kept_fit import KeptFit
from wan_core.training import FitPlan, FitState, LossOf, fit

from .job import Job


def run(job: Job, network: nn.Module, loss_of: LossOf, plan: FitPlan, *, stage: str = "") -> FitState:
    """Trains a network, or goes on with it, and leaves the averaged weights in it.

    ``stage`` names one of several fits of a job; each has files of its own. The job's steps and seed go before those of
    the plan.
    """
    steps = plan.steps if job.steps is None else job.steps
    plan = replace(plan, steps=steps, seed=job.seed)
    kept = KeptFit(job.folder, f"{job.name}-{stage}" if stage else job.name, steps)
    state = fit(network, loss_of, plan, state=kept.read(), on_report=kept.on_report)
    network.load_state_dict(network.state_dict() | state.averaged)  # what is frozen stays
    return state
