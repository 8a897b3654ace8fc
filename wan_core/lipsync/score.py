"""Offset, distance and confidence from SyncNet's embeddings: LSE-D and LSE-C of the published comparisons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .clip import TICKS_PER_S
from .network import FRAMES_SEEN

MAX_SHIFT = 15  # ticks, either way
TICK_MS = 1000 // TICKS_PER_S
DISTANCE_EPS = 1e-6  # added to every difference by the reference
EARLY_LIMIT_MS, LATE_LIMIT_MS = 45, 125  # ITU-R BT.1359: sooner, or later, than this is noticed
CONFIDENCE_LIMIT = 3.0  # what LatentSync keeps as training data
SURE_S = 2  # a shorter clip gets numbers and no verdict
SURE_WINDOWS = SURE_S * TICKS_PER_S - FRAMES_SEEN

Mode = Literal["parity", "robust"]
MODES: tuple[Mode, ...] = ("parity", "robust")


@dataclass(frozen=True, slots=True)
class SyncScore:
    """How well lips and sound agree."""

    mode: Mode  # parity: as published, with zeros beyond the ends; robust: only over windows that have both
    windows: int  # of 0.2 s, one every 40 ms
    offset_frames: int  # at 25 fps; positive: the audio is early
    confidence: float  # median distance over all shifts minus the least: 0 or more, higher is surer
    distance: float  # least mean distance: lower is better
    median: float  # median distance over all shifts
    curve: Tensor = field(repr=False)  # 31: mean distance at offsets 15 to -15; NaN if under half can be compared

    @property
    def offset_ms(self) -> float:
        return float(self.offset_frames * TICK_MS)

    @property
    def sure(self) -> bool:
        return self.confidence >= CONFIDENCE_LIMIT

    @property
    def long_enough(self) -> bool:
        return self.windows >= SURE_WINDOWS

    @property
    def passed(self) -> bool:
        in_sync = -LATE_LIMIT_MS <= self.offset_ms <= EARLY_LIMIT_MS
        return in_sync and self.sure and self.long_enough


# Kernels


def shifted_distances(lips: Tensor, sounds: Tensor, shift: int) -> Tensor:
    """Distance of every lip window from the sound window ``shift`` later, zeros beyond the ends: n d, n d -> n."""
    moved = torch.zeros_like(sounds)  # n d
    first, last = max(0, -shift), min(len(sounds), len(sounds) - shift)
    if first < last:
        moved[first:last] = sounds[first + shift : last + shift]
    return torch.linalg.vector_norm(lips - moved + DISTANCE_EPS, dim=1)  # n


def mean_distance(lips: Tensor, sounds: Tensor, shift: int, mode: Mode) -> Tensor:
    """Mean over all windows (parity) or over those that have sound at this shift (robust; NaN if under half have)."""
    distances = shifted_distances(lips, sounds, shift)  # n
    if mode == "parity":
        return distances.mean()
    if 2 * abs(shift) > len(distances):
        return distances.new_tensor(torch.nan)
    return distances[max(0, -shift) : len(distances) - max(0, shift)].mean()


# Score


def score(lips: Tensor, sounds: Tensor, mode: Mode) -> SyncScore:
    """Finds the shift at which lips and sound agree best: n d, n d -> score."""
    if not (torch.isfinite(lips).all() and torch.isfinite(sounds).all()):
        raise InputError(
            "weights",
            found="embeddings that are not finite",
            wanted="finite numbers",
            fix="The weight file is damaged: copy it again.",
        )
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    curve = torch.stack([mean_distance(lips, sounds, shift, mode) for shift in shifts])  # 31
    usable = curve[~torch.isnan(curve)]  # 31 or fewer
    least, median = float(usable.min()), float(usable.median())
    return SyncScore(
        mode=mode,
        windows=len(lips),
        offset_frames=MAX_SHIFT - int(torch.nan_to_num(curve, nan=torch.inf).argmin()),
        confidence=median - least,
        distance=least,
        median=median,
        curve=curve,
    )
