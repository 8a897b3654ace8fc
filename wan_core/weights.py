"""What the builders of networks share: their types, and saying how a weight file differs from what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

KEYS_SHOWN = 8

StateDict = dict[str, Tensor]
Operations = ModuleType | type  # has Linear, Conv2d, ...: torch.nn, or the host's operations
Factory = torch.device | torch.dtype | str | None  # device=, dtype=


def shown(keys: Sequence[str]) -> str:
    """The first keys of a list in words, and how many more there are."""
    rest = len(keys) - KEYS_SHOWN
    return ", ".join(keys[:KEYS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def difference(found: StateDict, wanted: StateDict) -> str:
    """A file as it differs from the wanted keys and shapes, in words; empty when it does not."""
    shared = wanted.keys() & found.keys()
    problems = {
        "without": sorted(wanted.keys() - found.keys()),
        "with the unknown": sorted(found.keys() - wanted.keys()),
        "with a wrong shape of": sorted(key for key in shared if wanted[key].shape != found[key].shape),
    }
    return " and ".join(f"{problem} {shown(keys)}" for problem, keys in problems.items() if keys)
