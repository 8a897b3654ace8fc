"""What a weight file holds, as a table of names to shapes and noise levels; and the noise itself."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of a weight file: normal noise of ``std`` around ``centre``."""

    shape: tuple[int, ...]
    std: float = 0.0
    centre: float | Tensor = 0.0  # a tensor broadcasts to the shape
    dtype: torch.dtype = torch.float32
    zero_sum: bool = False  # every output's weights sum to nothing, so that a constant input is not passed on
    blur: float = 0.0  # share of a convolution's kernel that is the same at every tap, 0..1


Table = dict[str, Entry]

BIAS_STD = 0.02
NORM_STD = 0.02


# Noise


def seed_of(name: str) -> int:
    """A 63-bit seed made from a name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def fill(table: Table, name: str) -> dict[str, Tensor]:
    """The state dict of a table; the numbers depend only on ``name`` and on the order of the table."""
    generator = torch.Generator().manual_seed(seed_of(name))
    return {key: _noise(entry, generator) for key, entry in table.items()}


def _noise(entry: Entry, generator: torch.Generator) -> Tensor:
    noise = torch.randn(entry.shape, generator=generator) * entry.std
    if entry.blur:
        noise = noise.lerp(noise.mean(tuple(range(2, noise.ndim)), keepdim=True), entry.blur)
    if entry.zero_sum:
        noise = noise - noise.flatten(1).mean(1).reshape(-1, *[1] * (noise.ndim - 1))
    return (noise + entry.centre).to(entry.dtype)


# Layers


def prefixed(prefix: str, table: Table) -> Table:
    """The same entries under ``prefix``."""
    return {f"{prefix}{key}": entry for key, entry in table.items()}


def joined(parts: dict[str, Table]) -> Table:
    """Several tables as one, each under its prefix."""
    return {f"{prefix}{key}": entry for prefix, part in parts.items() for key, entry in part.items()}


def weight(outputs: int, inputs: int, *kernel: int, gain: float = 1.0, centre: float | Tensor = 0.0) -> Entry:
    """A weight whose outputs keep the size of its inputs when ``gain`` is 1."""
    return Entry((outputs, inputs, *kernel), std=gain / math.sqrt(inputs * math.prod(kernel)), centre=centre)


def layer(
    inputs: int, outputs: int, *kernel: int, bias: bool = True, gain: float = 1.0, centre: float | Tensor = 0.0
) -> Table:
    """A linear layer, or with kernel sizes a convolution."""
    table = {"weight": weight(outputs, inputs, *kernel, gain=gain, centre=centre)}
    return table | {"bias": Entry((outputs,), std=BIAS_STD)} if bias else table


def norm(width: int, *, bias: bool = True, centre: float = 1.0) -> Table:
    """A normalisation that a checkpoint scales (and shifts)."""
    table = {"weight": Entry((width,), std=NORM_STD * centre, centre=centre)}
    return table | {"bias": Entry((width,), std=BIAS_STD)} if bias else table


def batch_norm(width: int) -> Table:
    """A batch normalisation with the statistics of unit noise."""
    return norm(width) | {
        "running_mean": Entry((width,), std=BIAS_STD),
        "running_var": Entry((width,), centre=1.0),
        "num_batches_tracked": Entry((), centre=1.0, dtype=torch.int64),
    }
