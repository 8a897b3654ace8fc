"""A picture as a second stream through the blocks of a Wan model, beside the video.

Stand-In (arXiv 2508.07901) sends the portrait through self-attention and feed-forward alone, with its own low-rank
terms on query, key and value, and gives the video its keys and values. Lynx (arXiv 2509.15496) sends the face crop
through the whole block, text included, and reads the input of each self-attention. Both at timestep 0. The modules are
the live ones of the model, so that whatever was done to its weights (LoRA, fp8, offload) is in the result.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from .kv_cache import KeysValues
from .lynx import LynxRef
from .stand_in import StandIn
from .tokens import Grid

TOKENS_AT_ONCE = 4096  # whose rotation is computed in fp32 together

Place = tuple[float, float, float]  # rotary position: time, row, column

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


# Parts of the model


def picture_tokens(wan: nn.Module, latent: Tensor) -> tuple[Tensor, Grid]:
    """A latent b c 1 h w, filled up with zeros to the model's input channels, as tokens b n d and their grid."""
    missing = wan.patch_embedding.in_channels - latent.shape[1]
    latent = functional.pad(latent, (0, 0, 0, 0, 0, 0, 0, missing))
    x = wan.patch_embedding(latent.float()).to(latent.dtype)  # b d 1 h w
    return x.flatten(2).transpose(1, 2), Grid(*x.shape[2:])


def modulation_at_zero(wan: nn.Module, x: Tensor) -> Tensor:
    """The time modulation of timestep 0, 1 6 d: the sinusoids of 0 are ones (cosine), then zeros (sine)."""
    half = wan.freq_dim // 2
    sinusoids = torch.cat((x.new_ones(1, half), x.new_zeros(1, half)), dim=1)
    return wan.time_projection(wan.time_embedding(sinusoids)).unflatten(1, (6, -1))


def positions(wan: nn.Module, grid: Grid, start: Place, device: torch.device) -> Tensor:
    """Rotary positions of a grid that begins at ``start`` (time, row, column), 1 n 1 d/2 2 2."""
    axes = [
        torch.arange(n, device=device, dtype=torch.float32) + first
        for n, first in zip((grid.latents, grid.rows, grid.columns), start, strict=True)
    ]
    ids = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 3)
    return wan.rope_embedder(ids).movedim(1, 2)


def block_modulation(block: nn.Module, at_zero: Tensor) -> tuple[Tensor, ...]:
    """Shift, scale and gate of self-attention and of feed-forward, 1 1 d each."""
    return (block.modulation.to(at_zero) + at_zero).chunk(6, dim=1)


# Stand-In


def stand_in_keys_values(wan: nn.Module, stand_in: StandIn, latent: Tensor, start: Place) -> KeysValues:
    """Keys (rotated to a grid from ``start``) and values of a portrait (1 c 1 h w) in each block, 1 n d."""
    x, grid = picture_tokens(wan, latent)
    at_zero, freqs = modulation_at_zero(wan, x), positions(wan, grid, start, x.device)
    found: KeysValues = {}
    for index, block in enumerate(wan.blocks[: max(stand_in.blocks) + 1]):
        shift, scale, gate, *feed = block_modulation(block, at_zero)
        q, k, v = _stand_in_qkv(block.self_attn, stand_in, index, modulated(block.norm1(x), shift, scale), freqs)
        if index in stand_in.blocks:
            found[index] = k, v
        x = torch.addcmul(x, block.self_attn.o(attend(q, k, v, block.self_attn.num_heads)), gate)
        x = _feed_forward(block, x, feed)
    return found


def _stand_in_qkv(
    attention: nn.Module, stand_in: StandIn, block: int, h: Tensor, freqs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    q, k, v = attention.q(h), attention.k(h), attention.v(h)
    if block in stand_in.blocks:
        low_rank = {layer: stand_in.delta(block, layer, h.float()).to(h) for layer in ("q", "k", "v")}
        q, k, v = q + low_rank["q"], k + low_rank["k"], v + low_rank["v"]
    return *_rotated(attention, q, k, freqs), v


def _rotated(attention: nn.Module, q: Tensor, k: Tensor, freqs: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys, normed and with their positions, b n d each."""
    heads = attention.num_heads
    q, k = (
        rotate(norm(x).unflatten(-1, (heads, -1)), freqs).flatten(2)
        for norm, x in ((attention.norm_q, q), (attention.norm_k, k))
    )
    return q, k


def _feed_forward(block: nn.Module, x: Tensor, feed: list[Tensor]) -> Tensor:
    shift, scale, gate = feed
    return torch.addcmul(x, block.ffn(modulated(block.norm2(x), shift, scale)), gate)


# Lynx


def reference_keys_values(wan: nn.Module, lynx: LynxRef, latent: Tensor, text: Tensor) -> KeysValues:
    """Keys and values of face crops in each block, b n d, for latents b c 1 h w and one text 1 n d of the model's."""
    if wan.img_emb is not None:
        raise InputError(
            "model",
            found="a model that reads CLIP pictures (image to video of Wan2.1)",
            wanted="a model whose cross-attention reads text alone, for reference layers",
            fix="Use Wan2.2, or leave the reference layers out.",
        )
    found: KeysValues = {}
    for block, features in _features(wan, latent, text, last_block=max(lynx.blocks)):
        if block in lynx.blocks:
            k, v = lynx.keys_values(block, features)
            found[block] = wan.blocks[block].self_attn.norm_k(k), v
    return found


def _features(wan: nn.Module, latent: Tensor, text: Tensor, *, last_block: int) -> Iterator[tuple[int, Tensor]]:
    """What each block's self-attention reads, b n d."""
    x, grid = picture_tokens(wan, latent)
    context = wan.text_embedding(text.to(x)).expand(len(x), -1, -1)
    at_zero, freqs = modulation_at_zero(wan, x), positions(wan, grid, (0, 0, 0), x.device)
    for index, block in enumerate(wan.blocks[: last_block + 1]):
        shift, scale, gate, *feed = block_modulation(block, at_zero)
        h = modulated(block.norm1(x), shift, scale)
        yield index, h
        x = torch.addcmul(x, _self_attention(block.self_attn, h, freqs), gate)
        x = x + _text_attention(block.cross_attn, block.norm3(x), context)
        x = _feed_forward(block, x, feed)


def _self_attention(attention: nn.Module, h: Tensor, freqs: Tensor) -> Tensor:
    """A block's self-attention by its layers alone: what other nodes put around it is for the video."""
    heads = attention.num_heads
    return attention.o(attend(*_rotated(attention, attention.q(h), attention.k(h), freqs), attention.v(h), heads))


def _text_attention(attention: nn.Module, h: Tensor, context: Tensor) -> Tensor:
    q, k = attention.norm_q(attention.q(h)), attention.norm_k(attention.k(context))
    return attention.o(attend(q, k, attention.v(context), attention.num_heads))
