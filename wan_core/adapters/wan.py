"""What identities use of the host's Wan model: its parts, and the steps of its blocks for a picture beside the video.

The modules are the live ones of the model, so that whatever was done to its weights (LoRA, fp8, offload) is in the
result. A picture goes through them at timestep 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from .tokens import Grid

# Parts that of the host's models only one has: SCAIL puts references in front, WanDancer reads no text for a picture.
OF_SCAIL, OF_DANCER = "patch_embedding_pose", "img_emb_refimage"
PATCH = 2  # rows, and columns, of a latent in one token
TOKENS_AT_ONCE = 4096  # whose rotation is computed in fp32 together

RopePosition = tuple[float, float, float]  # time, row, column
Modulation = tuple[Tensor, Tensor, Tensor]  # shift, scale and gate, 1 1 d each

# The host's model


class WanAttention(Protocol):
    """Self- or cross-attention of a block; on newer hosts ``comfy_attention.function`` is what it computes with."""

    num_heads: int
    q: nn.Module
    k: nn.Module
    v: nn.Module
    o: nn.Module
    norm_q: nn.Module
    norm_k: nn.Module


class WanBlock(Protocol):
    """A transformer block."""

    modulation: Tensor  # 1 6 d
    norm1: nn.Module
    self_attn: WanAttention
    norm3: nn.Module
    cross_attn: WanAttention
    norm2: nn.Module
    ffn: nn.Module


class PatchEmbedding(Protocol):
    """The convolution that makes tokens, b d t h w, of a latent b c t 2h 2w."""

    in_channels: int

    def __call__(self, x: Tensor) -> Tensor: ...


class WanNetwork(Protocol):
    """A WanModel of the host, or one of its relatives."""

    patch_size: tuple[int, int, int]
    freq_dim: int
    patch_embedding: PatchEmbedding
    text_embedding: nn.Module
    time_embedding: nn.Module
    time_projection: nn.Module
    rope_embedder: nn.Module
    blocks: Sequence[WanBlock]
    img_emb: nn.Module | None  # reads CLIP pictures
    ref_conv: nn.Module | None  # of Wan2.1 Fun: reads a reference picture that is put before the video
    rope_encode: Callable[..., Tensor]  # rotary positions of a video's tokens from t, h, w and more: 1 n 1 d/2 2 2


# Kernels


def rotate(x: Tensor, freqs: Tensor) -> Tensor:
    """Applies rotary positions, 2 x 2 matrices (1 n 1 d/2 2 2), to b n heads d."""
    pairs = x.to(freqs.dtype).unflatten(-1, (-1, 1, 2))  # b n heads d/2 1 2
    turned = freqs[..., 0] * pairs[..., 0] + freqs[..., 1] * pairs[..., 1]  # b n heads d/2 2
    return turned.flatten(-2).to(x)


def unrotate(x: Tensor, freqs: Tensor) -> Tensor:
    """Takes rotary positions off again, b n heads d, some tokens at a time: the inverse is the transposed matrix."""
    tokens = zip(x.split(TOKENS_AT_ONCE, dim=1), freqs.split(TOKENS_AT_ONCE, dim=1), strict=True)
    return torch.cat([rotate(part, matrices.transpose(-1, -2)) for part, matrices in tokens], dim=1)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head attention of b n d queries over b m d keys and values."""
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))  # b heads n d
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # b n d


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x * (1 + scale) + shift, as Wan modulates by the timestep."""
    return torch.addcmul(shift, x, 1 + scale)


# Steps of the model


def picture_grid(latent: Tensor) -> Grid:
    """The tokens of a picture's latent, b c 1 h w."""
    height, width = latent.shape[-2:]
    return Grid(1, -(-height // PATCH), -(-width // PATCH))


def picture_tokens(wan: WanNetwork, latent: Tensor) -> tuple[Tensor, Grid]:
    """A latent b c 1 h w, filled up with zeros to the model's input channels, as tokens b n d and their grid."""
    missing = wan.patch_embedding.in_channels - latent.shape[1]
    latent = functional.pad(latent, (0, 0, 0, 0, 0, 0, 0, missing))
    x = wan.patch_embedding(latent.float()).to(latent.dtype)  # b d 1 h w
    return x.flatten(2).transpose(1, 2), Grid(*x.shape[2:])


def rope_positions(wan: WanNetwork, grid: Grid, start: RopePosition, device: torch.device) -> Tensor:
    """Rotary positions of a grid that begins at ``start``, 1 n 1 d/2 2 2."""
    axes = [
        torch.arange(n, device=device, dtype=torch.float32) + first
        for n, first in zip((grid.latents, grid.rows, grid.columns), start, strict=True)
    ]
    ids = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 3)
    return wan.rope_embedder(ids).movedim(1, 2)


def time_modulation_at_zero(wan: WanNetwork, x: Tensor) -> Tensor:
    """The time modulation of timestep 0, 1 6 d: the sinusoids of 0 are ones (cosine), then zeros (sine)."""
    half = wan.freq_dim // 2
    sinusoids = torch.cat((x.new_ones(1, half), x.new_zeros(1, half)), dim=1)
    return wan.time_projection(wan.time_embedding(sinusoids)).unflatten(1, (6, -1))


def block_modulation(block: WanBlock, at_zero: Tensor) -> tuple[Modulation, Modulation]:
    """The modulation of a block's self-attention and of its feed-forward."""
    shift, scale, gate, *feed_forward = (block.modulation.to(at_zero) + at_zero).chunk(6, dim=1)
    return (shift, scale, gate), (feed_forward[0], feed_forward[1], feed_forward[2])


def rotated_queries_keys(attention: WanAttention, q: Tensor, k: Tensor, freqs: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys, normed and with their positions, b n d each."""
    heads = attention.num_heads
    q, k = (
        rotate(norm(x).unflatten(-1, (heads, -1)), freqs).flatten(2)
        for norm, x in ((attention.norm_q, q), (attention.norm_k, k))
    )
    return q, k


def with_feed_forward(block: WanBlock, x: Tensor, modulation: Modulation) -> Tensor:
    """The tokens after a block's feed-forward, b n d."""
    shift, scale, gate = modulation
    return torch.addcmul(x, block.ffn(modulated(block.norm2(x), shift, scale)), gate)
