"""A small random SyncNet and a small random clip."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wan_core.lipsync import LipSyncRequest, Mode, SyncNet, build_syncnet
from wan_core.lipsync.network import SyncNetParams, expected_shapes

SMALL = SyncNetParams((2, 3, 4, 5, 6, 7), (3, 4, 5, 6, 7, 8), 9, 10, 11)


def random_weights(params: SyncNetParams = SMALL, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for key, shape in expected_shapes(params).items():
        fan_in = max(1, int(torch.tensor(shape[1:]).prod()))
        weights[key] = torch.randn(shape, generator=generator) / fan_in**0.5
        if key.endswith("running_var"):
            weights[key] = torch.rand(shape, generator=generator) + 0.5
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(7)
    return weights


def small_syncnet() -> SyncNet:
    return build_syncnet(random_weights(), file_name="net", operations=nn)


def talking(frames: int = 40, fps: float = 25.0, samples: int = 25600, mode: Mode = "parity") -> dict[str, Any]:
    """A clip and its sound, as they come in."""
    generator = torch.Generator().manual_seed(3)
    pictures = torch.rand(frames, 32, 24, 3, generator=generator)
    waveform = torch.rand(1, 1, samples, generator=generator) - 0.5
    audio = {"waveform": waveform, "sample_rate": 16000}
    return {"frames": pictures, "fps": fps, "audio": audio, "mode": mode}


def request(*args: Any, **changes: Any) -> LipSyncRequest:
    return LipSyncRequest.of(**talking(*args, **changes))
