"""What a training of the miniature cast is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Job:
    """One training: which one, where it keeps its state, and where its weights go."""

    name: str  # of the training, as on the command line
    folder: Path  # of states, curves and what is made once
    out: Path  # the folder of finished weight files
    device: torch.device
    steps: int | None  # None: as many as the training itself wants
    seed: int
