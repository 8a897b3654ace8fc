"""A clip through both towers of SyncNet, a bounded number of windows at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .clip import SIDE_PX, Clip, audio_windows, lip_pictures
from .network import FRAMES_SEEN, SyncNet

LIP_WINDOWS_AT_ONCE = 32  # 0.45 GB of activations at the public width
AUDIO_WINDOWS_AT_ONCE = 256
SHARED = FRAMES_SEEN - 1  # pictures that a window shares with the one before


def embed(
    network: SyncNet, clip: Clip, device: torch.device, on_window: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Embeds lips and sound of every window and tells how many of 2 n are done: (n d, n d), on the CPU."""
    count = clip.windows
    lips, sounds = [], []
    coming = lip_pictures(clip, device)
    seen = torch.empty(3, LIP_WINDOWS_AT_ONCE + SHARED, SIDE_PX, SIDE_PX, device=device)  # one memory for every batch
    for place in range(SHARED):
        seen[:, place] = next(coming)
    for start in range(0, count, LIP_WINDOWS_AT_ONCE):
        stop = min(count, start + LIP_WINDOWS_AT_ONCE)
        windows = stop - start
        for place in range(SHARED, SHARED + windows):
            seen[:, place] = next(coming)
        lips.append(network.watch(seen[None, :, : SHARED + windows]).cpu())  # 1 3 n+4 224 224 -> n d
        seen[:, :SHARED] = seen[:, windows : windows + SHARED].clone()
        on_window(stop)
    heard = audio_windows(clip.samples, count)  # n 1 13 20
    for start in range(0, count, AUDIO_WINDOWS_AT_ONCE):
        stop = min(count, start + AUDIO_WINDOWS_AT_ONCE)
        sounds.append(network.hear(heard[start:stop].to(device)).cpu())  # n d
        on_window(count + stop)
    return torch.cat(lips), torch.cat(sounds)  # n d, n d
