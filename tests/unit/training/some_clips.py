"""Clips of nobody, small enough to train on in a test."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from wan_core.training.examples import ClipExample

PERSONS = ["a", "b", "a", "c", "b", "a", "c"]
POINTS = [[14.0, 12.0], [24.0, 12.0], [19.0, 18.0], [15.0, 24.0], [23.0, 24.0]]


def clip_of(number: int, *, channels: int = 16, frames: int = 5, text_d: int = 64) -> ClipExample:
    """A clip with numbers of its own."""
    draw = torch.Generator().manual_seed(number)
    latents = (frames - 1) // 4 + 1
    vectors = functional.normalize(torch.randn(2, 512, generator=draw), dim=-1)
    return ClipExample(
        latent=torch.randn(channels, latents, 4, 6, generator=draw),
        text=torch.randn(7, text_d, generator=draw),
        given=None,
        embedding=vectors[0],
        supervised=vectors[1],
        boxes=torch.tensor([1.0, 1.0, 3.0, 3.0]).repeat(latents, 1),
        points=torch.tensor(POINTS).repeat(frames, 1, 1),
    )


@dataclass
class SomeClips:
    """A clip set in memory; ``changes`` go into every clip."""

    persons: list[str]
    changes: dict[str, object]

    targets = range(len(PERSONS))
    empty_text = torch.full((7, 64), 9.0)

    def clip(self, number: int) -> ClipExample:
        return replace(clip_of(number), **self.changes)
