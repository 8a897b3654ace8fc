"""Lynx (arXiv 2509.15496, bytedance/lynx): keys and values of identity tokens and of a reference picture's features.

The lite and the full version share the layers. Lite normalises the identity's keys by their own root mean square;
full by the norm of the Wan model's cross-attention, and it adds tokens of its own, the registers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..weights import Factory, Operations

KEY_EPS = 1e-5
RMS, MODEL = "rms", "model"


@dataclass(frozen=True, slots=True)
class LynxIpShape:
    """The sizes of Lynx's IP layers."""

    width_d: int  # of the Wan model
    token_d: int  # of an identity token
    blocks: tuple[int, ...]  # of the Wan model, ascending
    registers: int  # tokens of its own that each block adds; 0 for lite

    @property
    def is_full(self) -> bool:
        """Whether it is the full version: registers, biases and the model's own norm of keys."""
        return self.registers > 0


@dataclass(frozen=True, slots=True)
class LynxRefShape:
    """The sizes of Lynx's reference layers."""

    width_d: int  # of the Wan model
    blocks: tuple[int, ...]  # of the Wan model, ascending


# Kernels


def rms_normalise(x: Tensor, eps: float = KEY_EPS) -> Tensor:
    """Divides by the root mean square over the last axis, without a weight."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


# Layers


class IpLayer(nn.Module):
    """Keys and values of one block, b n+r d each, from identity tokens b n d and the block's own r registers."""

    def __init__(self, shape: LynxIpShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(shape.token_d, shape.width_d, bias=shape.is_full, **factory)
        self.to_v_ip = operations.Linear(shape.token_d, shape.width_d, bias=shape.is_full, **factory)
        self.registers = (
            nn.Parameter(torch.empty(1, shape.registers, shape.token_d, **factory)) if shape.is_full else None
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.registers is not None:
            registers = self.registers.to(tokens).expand(len(tokens), -1, -1)  # b r d
            tokens = torch.cat((tokens, registers), dim=1)  # b n+r d
        return self.to_k_ip(tokens), self.to_v_ip(tokens)


class RefLayer(nn.Module):
    """Keys and values of one block, b n d each, from the features of a reference picture b n d."""

    def __init__(self, width_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.to_k_ref = operations.Linear(width_d, width_d, **factory)
        self.to_v_ref = operations.Linear(width_d, width_d, **factory)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_k_ref(features), self.to_v_ref(features)


# Models


class LynxIp(nn.Module):
    """The IP layers of every block that the file has, keyed by block."""

    def __init__(self, shape: LynxIpShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = shape.blocks
        self.key_norm = MODEL if shape.is_full else RMS  # what the caller normalises the keys by
        self.layers = nn.ModuleDict(
            {str(block): IpLayer(shape, operations=operations, **factory) for block in shape.blocks}
        )

    def keys_values(self, block: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys before any norm and values of one block, b m d each, from identity tokens b n d; m counts registers."""
        return self.layers[str(block)](tokens)


class LynxRef(nn.Module):
    """The reference layers of every block that the file has, keyed by block."""

    def __init__(self, shape: LynxRefShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = shape.blocks
        self.layers = nn.ModuleDict(
            {str(block): RefLayer(shape.width_d, operations=operations, **factory) for block in shape.blocks}
        )

    def keys_values(self, block: int, features: Tensor) -> tuple[Tensor, Tensor]:
        """Keys before the self-attention's norm and values of one block, b n d each, from features b n d."""
        return self.layers[str(block)](features)
