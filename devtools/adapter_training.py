"""Trains one identity adapter on one expert, whatever loaded it, and writes the file that ID Lock's loader reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from wan_core.adapters.adapter import AdapterNetwork
from wan_core.training import (
    ClipSet,
    CrossClipPairs,
    FitPlan,
    FrozenExpert,
    IdentityObjective,
    LiteSize,
    ObjectivePlan,
    Supervisor,
    fit,
    lite_adapter,
    lite_file,
)

from .kept_fit import KeptFit, write_tensors


@dataclass(frozen=True, slots=True)
class AdapterTraining:
    """What is trained, how, and what becomes of it."""

    size: LiteSize  # of a new adapter
    objective: ObjectivePlan
    fit: FitPlan
    space_sha256: str  # of the recogniser whose vectors it takes
    out: Path  # its file


def fit_adapter(
    training: AdapterTraining,
    expert: FrozenExpert,
    clips: ClipSet,
    kept: KeptFit,
    *,
    device: torch.device,
    start: AdapterNetwork | None = None,
    supervisor: Supervisor | None = None,
) -> AdapterNetwork:
    """Trains a new adapter, or ``start`` further, and writes and returns it with its averaged weights.

    Raises InputError, before anything is trained, for a person with one clip alone.
    """
    pairs = CrossClipPairs(clips.persons, clips.targets)
    wan, draw = expert.wan, torch.Generator().manual_seed(training.fit.seed)
    adapter = start or lite_adapter(training.size, width_d=wan.dim, blocks=len(wan.blocks), generator=draw)
    adapter.to(device).requires_grad_(True)
    objective = IdentityObjective(expert, adapter, clips, pairs, training.objective, supervisor)
    state = fit(adapter, objective, training.fit, state=kept.read(), on_report=kept.on_report)
    adapter.load_state_dict(state.averaged)
    file = lite_file(adapter.state_dict(), space_sha256=training.space_sha256, dtype=torch.float16)
    write_tensors(training.out, *file)
    return adapter
