"""The Perceiver resampler that turns face embeddings into tokens (Lynx, arXiv 2509.15496; IP-Adapter's design).

Not in the shapes, and therefore fixed here: a head is 64 wide. It computes in fp32 whatever its weights are stored in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..weights import Factory, Operations

HEAD_D = 64


@dataclass(frozen=True, slots=True)
class ResamplerParams:
    """The sizes of a resampler."""

    width_d: int  # of the latents
    depth: int  # layers
    inner_d: int  # of all heads together, a multiple of 64
    feed_forward_d: int
    tokens: int  # that come out
    embedding_d: int  # of a face embedding
    token_d: int  # of a token that comes out


# Kernels


def attention_fp32(q: Tensor, k: Tensor, v: Tensor, head_d: int) -> Tensor:
    """Multi-head attention of b n d queries over b m d keys and values, softmax in fp32."""
    q, k, v = (x.unflatten(-1, (-1, head_d)).transpose(1, 2) for x in (q, k, v))  # b heads n d
    weights = torch.softmax(q.float() @ k.float().transpose(-2, -1) * head_d**-0.5, dim=-1)  # b heads n m
    return (weights @ v.float()).transpose(1, 2).flatten(2)  # b n d


# Layers


class PerceiverAttention(nn.Module):
    """Latents b n d attend to the embeddings b m d and to themselves."""

    def __init__(self, width_d: int, inner_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.norm1 = operations.LayerNorm(width_d, **factory)
        self.norm2 = operations.LayerNorm(width_d, **factory)
        self.to_q = operations.Linear(width_d, inner_d, bias=False, **factory)
        self.to_kv = operations.Linear(width_d, 2 * inner_d, bias=False, **factory)
        self.to_out = operations.Linear(inner_d, width_d, bias=False, **factory)

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        latents = self.norm2(latents)
        k, v = self.to_kv(torch.cat((self.norm1(x), latents), dim=1)).chunk(2, dim=-1)  # b m+n d
        return self.to_out(attention_fp32(self.to_q(latents), k, v, HEAD_D))


def feed_forward(width_d: int, inner_d: int, *, operations: Operations, **factory: Factory) -> nn.Sequential:
    """LayerNorm, two linear layers without bias, GELU between."""
    return nn.Sequential(
        operations.LayerNorm(width_d, **factory),
        operations.Linear(width_d, inner_d, bias=False, **factory),
        nn.GELU(),
        operations.Linear(inner_d, width_d, bias=False, **factory),
    )


class PerceiverLayer(nn.ModuleList):
    """Attention and feed-forward, each beside a way around it; keys name the two by their numbers."""

    def __init__(self, params: ResamplerParams, *, operations: Operations, **factory: Factory) -> None:
        attention = PerceiverAttention(params.width_d, params.inner_d, operations=operations, **factory)
        super().__init__(
            (attention, feed_forward(params.width_d, params.feed_forward_d, operations=operations, **factory))
        )

    def forward(self, x: Tensor, latents: Tensor) -> Tensor:
        attention, feed = self
        latents = latents + attention(x, latents)
        return latents + feed(latents)


# Model


class Resampler(nn.Module):
    """Face embeddings b k 512, fp32 -> tokens b n d, fp32."""

    def __init__(self, params: ResamplerParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        width_d = params.width_d
        self.latents = nn.Parameter(torch.empty(1, params.tokens, width_d, **factory))
        self.proj_in = operations.Linear(params.embedding_d, width_d, **factory)
        self.layers = nn.ModuleList(
            PerceiverLayer(params, operations=operations, **factory) for _ in range(params.depth)
        )
        self.proj_out = operations.Linear(width_d, params.token_d, **factory)
        self.norm_out = operations.LayerNorm(params.token_d, **factory)

    def forward(self, embeddings: Tensor) -> Tensor:
        x = self.proj_in(embeddings)  # b k d
        latents = self.latents.to(x).expand(len(x), -1, -1)  # b n d
        for layer in self.layers:
            latents = layer(x, latents)
        return self.norm_out(self.proj_out(latents))
