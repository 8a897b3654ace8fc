"""A clip through both towers of SyncNet, a bounded number of windows at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from .inputs import audio_windows, check_length, lip_input, tick_sources, window_count
from .network import FRAMES_SEEN, SyncNet

LIP_WINDOWS_AT_ONCE = 32  # 0.45 GB of activations at the public width
AUDIO_WINDOWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Clip:
    """Face crops and their sound."""

    frames: Tensor  # f h w 3 in [0, 1]
    fps: Fraction
    samples: Tensor  # s at 16 kHz in [-1, 1]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which frame every tick shows and how many windows are scored."""

    sources: Tensor  # k, index of a frame for every 25th of a second
    windows: int  # n


def plan(clip: Clip) -> Plan:
    """Raises InputError when the clip is too short for one window."""
    sources = tick_sources(len(clip.frames), clip.fps)  # k
    check_length(len(sources), len(clip.frames), clip.fps, len(clip.samples))
    return Plan(sources, window_count(len(sources), len(clip.samples)))


def embed(
    network: SyncNet, clip: Clip, clip_plan: Plan, device: torch.device, on_window: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Embeds lips and sound of every window and tells how many of 2 n are done: (n d, n d), on the CPU."""
    count = clip_plan.windows
    lips, sounds = [], []
    for start in range(0, count, LIP_WINDOWS_AT_ONCE):
        stop = min(count, start + LIP_WINDOWS_AT_ONCE)
        shown = clip.frames[clip_plan.sources[start : stop + FRAMES_SEEN - 1].to(clip.frames.device)]  # n+4 h w 3
        lips.append(network.watch(lip_input(shown.to(device))).cpu())  # n d
        on_window(stop)
    heard = audio_windows(clip.samples, count)  # n 1 13 20
    for start in range(0, count, AUDIO_WINDOWS_AT_ONCE):
        sounds.append(network.hear(heard[start : start + AUDIO_WINDOWS_AT_ONCE].to(device)).cpu())  # n d
        on_window(count + min(count, start + AUDIO_WINDOWS_AT_ONCE))
    return torch.cat(lips), torch.cat(sounds)  # n d, n d
