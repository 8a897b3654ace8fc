"""A small random SyncNet and a small random clip."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

from wan_core.lipsync.embed import Clip
from wan_core.lipsync.network import SyncNetWidths, expected_shapes

SMALL = SyncNetWidths((2, 3, 4, 5, 6, 7), (3, 4, 5, 6, 7, 8), 9, 10, 11)


def random_weights(widths: SyncNetWidths = SMALL, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for key, shape in expected_shapes(widths).items():
        fan_in = max(1, int(torch.tensor(shape[1:]).prod()))
        weights[key] = torch.randn(shape, generator=generator) / fan_in**0.5
        if key.endswith("running_var"):
            weights[key] = torch.rand(shape, generator=generator) + 0.5
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(7)
    return weights


def clip(frames: int = 40, fps: Fraction = Fraction(25), samples: int = 25600) -> Clip:
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(frames, 32, 24, 3, generator=generator)
    return Clip(pictures, fps, torch.rand(samples, generator=generator) - 0.5)
