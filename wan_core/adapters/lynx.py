"""Lynx-lite (arXiv 2509.15496, bytedance/lynx): identity tokens as decoupled cross-attention in some blocks of Wan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..weights import Factory, Operations
from .resampler import Resampler, ResamplerShape

KEY_EPS = 1e-5


@dataclass(frozen=True, slots=True)
class LynxShape:
    """The sizes of a Lynx-lite adapter."""

    width_d: int  # of the Wan model
    blocks: tuple[int, ...]  # of the Wan model, ascending
    resampler: ResamplerShape


@dataclass(frozen=True, slots=True, eq=False)
class LynxAdapter:
    """A loaded Lynx-lite adapter."""

    network: LynxLite
    patcher: Any  # how the host loads the network; the host must find it alive as long as the network is
    shape: LynxShape
    ip_layers_name: str  # weight file, as the user picked it
    resampler_name: str  # weight file, as the user picked it
    space_sha256: str | None  # weight file of the recogniser that it was trained with; None when its files do not say

    @property
    def width_d(self) -> int:
        """Width of the Wan model that it fits."""
        return self.shape.width_d

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks of the Wan model that it has weights for, ascending."""
        return self.shape.blocks


# Kernels


def rms_normalise(x: Tensor, eps: float) -> Tensor:
    """Divides by the root mean square over the last axis, without a weight."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


# Layers


class IpLayer(nn.Module):
    """Keys and values of one block, b n d each, from identity tokens b n d."""

    def __init__(self, token_d: int, width_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(token_d, width_d, bias=False, **factory)
        self.to_v_ip = operations.Linear(token_d, width_d, bias=False, **factory)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return rms_normalise(self.to_k_ip(tokens), KEY_EPS), self.to_v_ip(tokens)


# Model


class LynxLite(nn.Module):
    """The resampler, and the key and value layers of every block that the adapter has, keyed by block."""

    def __init__(self, shape: LynxShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        token_d = shape.resampler.token_d
        self.resampler = Resampler(shape.resampler, operations=operations, **factory)
        self.ip_layers = nn.ModuleDict(
            {
                str(block): IpLayer(token_d, shape.width_d, operations=operations, **factory)
                for block in shape.blocks
            }
        )

    def tokens(self, embeddings: Tensor) -> Tensor:
        """Tokens of face embeddings, b 512 -> b n d, fp32."""
        return self.resampler(embeddings[:, None].float())

    def keys_values(self, block: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of one block of the Wan model, b n d each."""
        return self.ip_layers[str(block)](tokens)
