"""Scaled fp8, as Wan2.2's experts are published for the host: e4m3 matrices, each with the factor that it lost.

Keys: ``LAYER.weight`` in float8_e4m3fn, ``LAYER.scale_weight`` in fp32, and one ``scaled_fp8`` of two numbers, which
tells the host to multiply in full precision.
"""

from __future__ import annotations

import torch
from torch import Tensor

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
MARK = "scaled_fp8"
LARGE = ("blocks.", "time_projection.")  # begin the names of the matrices that a file is mostly made of


def scaled_fp8(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file: the matrices of the blocks and of the time projection in scaled fp8, all else in fp16."""
    tensors = {MARK: torch.zeros(2, dtype=FP8)}
    for key, value in weights.items():
        if value.ndim == 2 and key.startswith(LARGE):
            scale = (value.abs().max().float() / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
            tensors[key] = (value.float() / scale).to(FP8)
            tensors[key.removesuffix("weight") + "scale_weight"] = scale
        else:
            tensors[key] = value.half()
    return tensors


def unscaled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in fp32 that a file of ``scaled_fp8`` stands for."""
    scales = {key: value for key, value in tensors.items() if key.endswith(".scale_weight")}
    return {
        key: value.float() * scales.get(key.removesuffix("weight") + "scale_weight", torch.tensor(1.0))
        for key, value in tensors.items()
        if key != MARK and key not in scales
    }
