"""Noise of a rectified flow on one expert's side: x = (1 - sigma) * x0 + sigma * noise, velocity = noise - x0.

A position u is uniform, and the shift that Wan2.2 is sampled with (12 for text to video) moves it to sigma. Drawn in
the range of u that an expert's sigmas come from, the density inside this range is that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..moe.noise_level import shifted, unshifted
from ..weights import LEVELS


@dataclass(frozen=True, slots=True)
class SigmaRange:
    """The noise levels that one expert is trained on, and how they are drawn."""

    lowest: float  # sigma
    highest: float  # sigma
    shift: float  # of a uniform position


def range_of(level: str | None, boundary: float, shift: float) -> SigmaRange:
    """The side of the expert "high" or "low" of a boundary in sigma, or all noise levels for None.

    Raises InputError for another level, and for a boundary or a shift that leaves an expert nothing.
    """
    if level is not None and level not in LEVELS:
        raise InputError("level", found=repr(level), wanted="high or low", fix="Say whose side it is.")
    if not 0 < boundary < 1:
        raise InputError("boundary", found=boundary, wanted="a sigma between 0 and 1", fix="Wan2.2 has 0.875 or 0.9.")
    if not 0 < shift < float("inf"):
        raise InputError("shift", found=shift, wanted="a number above 0", fix="Wan2.2 T2V is sampled with 12.")
    lowest, highest = {"high": (boundary, 1.0), "low": (0.0, boundary), None: (0.0, 1.0)}[level]
    return SigmaRange(lowest, highest, shift)


def draw_sigmas(sigmas: SigmaRange, count: int, generator: torch.Generator) -> Tensor:
    """Noise levels of a batch, b in fp32: one in each of ``count`` equal parts of the range of uniform positions."""
    first, last = (unshifted(end, sigmas.shift) for end in (sigmas.lowest, sigmas.highest))
    inside = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    parts = (torch.arange(count, device=generator.device) + inside) / count  # b in [0, 1)
    drawn = [shifted(u, sigmas.shift) for u in (first + (last - first) * parts).tolist()]
    return torch.tensor(drawn, device=generator.device)


def noised(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The latent at noise levels b, b c t h w."""
    share = sigma.view(-1, 1, 1, 1, 1)
    return (1 - share) * clean + share * noise


def clean_of(x: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """What a velocity says the latent without noise is: x - sigma * velocity, b c t h w."""
    return x - sigma.view(-1, 1, 1, 1, 1) * velocity
