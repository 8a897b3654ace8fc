"""Lynx (arXiv 2509.15496, bytedance/lynx): terms beside attention, of identity tokens and of a reference picture.

Identity tokens, which a resampler makes of face vectors, have a term beside cross-attention. The face crop goes through
whole blocks of the model, text included; what each self-attention reads of it has a term beside that self-attention. A
negative prompt gets the same of the null identity: the tokens of zero vectors, and a grey picture.

The lite and the full version share the layers. Lite normalises the keys of identity tokens by their own root mean
square; full by the norm of the Wan model's cross-attention, and it adds tokens of its own, the registers.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..weights import Factory, Operations
from .kv_cache import KeysValues, to_device
from .passes import PassContext
from .resampler import Resampler
from .settings import AUTO, BOTH, POSITIVE
from .wan import (
    WanNetwork,
    attend,
    block_modulation,
    modulated,
    picture_tokens,
    rope_positions,
    rotated_queries_keys,
    time_modulation_at_zero,
    with_feed_forward,
)

KEY_EPS = 1e-5
IDENTITY, NULL_IDENTITY = 0, 1  # of two sets of keys and values
GREY = 0.5  # the picture of the null identity

# Layers


@dataclass(frozen=True, slots=True)
class LynxIpParams:
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
class LynxRefParams:
    """The sizes of Lynx's reference layers."""

    width_d: int  # of the Wan model
    blocks: tuple[int, ...]  # of the Wan model, ascending


class IpLayer(nn.Module):
    """Keys before any norm and values of one block, b n+r d each, from tokens b n d and the block's own r registers."""

    def __init__(self, params: LynxIpParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(params.token_d, params.width_d, bias=params.is_full, **factory)
        self.to_v_ip = operations.Linear(params.token_d, params.width_d, bias=params.is_full, **factory)
        self.registers = (
            nn.Parameter(torch.empty(1, params.registers, params.token_d, **factory)) if params.is_full else None
        )

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.registers is not None:
            registers = self.registers.to(tokens).expand(len(tokens), -1, -1)  # b r d
            tokens = torch.cat((tokens, registers), dim=1)  # b n+r d
        return self.to_k_ip(tokens), self.to_v_ip(tokens)


class RefLayer(nn.Module):
    """Keys before any norm and values of one block, b n d each, from the features of a reference picture b n d."""

    def __init__(self, width_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.to_k_ref = operations.Linear(width_d, width_d, **factory)
        self.to_v_ref = operations.Linear(width_d, width_d, **factory)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.to_k_ref(features), self.to_v_ref(features)


class LynxIp(nn.Module):
    """The IP layers of every block that the file has, keyed by block."""

    def __init__(self, params: LynxIpParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = params.blocks
        self.is_full = params.is_full
        self.layers = nn.ModuleDict(
            {str(block): IpLayer(params, operations=operations, **factory) for block in params.blocks}
        )


class LynxRef(nn.Module):
    """The reference layers of every block that the file has, keyed by block."""

    def __init__(self, params: LynxRefParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = params.blocks
        self.layers = nn.ModuleDict(
            {str(block): RefLayer(params.width_d, operations=operations, **factory) for block in params.blocks}
        )


# Identity tokens


@dataclass(frozen=True, slots=True, eq=False)
class IpTerm:
    """Identity tokens of Lynx: a term of cross-attention."""

    # of the identity and of the null identity, 2 n d each in fp32 and in RAM, keys before the norm
    unnormed: KeysValues = field(repr=False)
    is_normed_by_model: bool  # by the block's own norm of keys; else by their root mean square

    @classmethod
    def of(cls, ip: LynxIp, resampler: Resampler, embeddings: Tensor, device: torch.device) -> IpTerm:
        """The term of face vectors m 512, computed on a device; the layers stay where they rest, and are cast there."""
        vectors = embeddings.to(device, torch.float32)  # m 512
        unnormed = unnormed_keys_values(ip, resampler, torch.stack((vectors, torch.zeros_like(vectors))))
        return cls(to_device(unnormed, torch.device("cpu")), is_normed_by_model=ip.is_full)

    def key(self, context: PassContext) -> tuple[Hashable, ...]:
        """What keys and values in this pass depend on, beside what the lock is made of."""
        return "ip", context.weights_key, context.like.dtype

    def keys_values(self, context: PassContext) -> KeysValues:
        """Normed keys and values, 2 n d, in the type of the pass and on its device."""
        return normed_keys_values(self.unnormed, context.wan, context.like, is_normed_by_model=self.is_normed_by_model)


def unnormed_keys_values(ip: LynxIp, resampler: Resampler, embeddings: Tensor) -> KeysValues:
    """Keys before the norm and values in every block that has a layer, b n d each in fp32, of face vectors b m 512."""
    tokens = resampler(embeddings)  # b n d
    return {block: ip.layers[str(block)](tokens) for block in ip.blocks}


def normed_keys_values(unnormed: KeysValues, wan: WanNetwork, like: Tensor, *, is_normed_by_model: bool) -> KeysValues:
    """Normed keys and values, b n d, in the type of the model's input and on its device."""
    found: KeysValues = {}
    for index, (k, v) in unnormed.items():
        k = k.to(like.device)
        k = wan.blocks[index].cross_attn.norm_k(k) if is_normed_by_model else rms_normalise(k)
        found[index] = k.to(like), v.to(like)
    return found


def rms_normalise(x: Tensor, eps: float = KEY_EPS) -> Tensor:
    """Divides by the root mean square over the last axis, without a weight."""
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


# The reference picture


@dataclass(frozen=True, slots=True, eq=False)
class RefTerm:
    """The reference picture of Lynx: a term of self-attention."""

    network: LynxRef = field(repr=False)
    latents: Tensor = field(repr=False)  # 2 c 1 h w: of the face crop, and of a grey picture for the null identity
    text: Tensor = field(repr=False)  # 1 n d, the embedded text that describes both

    def key(self, context: PassContext) -> tuple[Hashable, ...]:
        """What keys and values in this pass depend on, beside what the lock is made of."""
        return "ref", context.weights_key, context.like.dtype

    def keys_values(self, context: PassContext) -> KeysValues:
        """Keys and values of both pictures in each block, 2 n d: one pass of them through the model."""
        wan, lynx, like = context.wan, self.network, context.like
        if wan.img_emb is not None:
            raise InputError(
                "model",
                found="a model that reads CLIP pictures (image to video of Wan2.1)",
                wanted="a model whose cross-attention reads text alone, for reference layers",
                fix="Use Wan2.2, or leave the reference layers out.",
            )
        found: KeysValues = {}
        latents, text = self.latents.to(like), self.text.to(like)
        for index, features in enumerate(_features(wan, latents, text, blocks=max(lynx.blocks) + 1)):
            if index in lynx.blocks:
                k, v = lynx.layers[str(index)](features)
                found[index] = wan.blocks[index].self_attn.norm_k(k), v
        return found


def _features(wan: WanNetwork, latents: Tensor, text: Tensor, *, blocks: int) -> Iterator[Tensor]:
    """What the self-attention of each of the first blocks reads of pictures (b c 1 h w) and a text (1 n d), b n d.

    The block's own layers alone attend: what other nodes put around them is for the video.
    """
    x, grid = picture_tokens(wan, latents)
    context = wan.text_embedding(text.to(x)).expand(len(x), -1, -1)
    at_zero, freqs = time_modulation_at_zero(wan, x), rope_positions(wan, grid, (0, 0, 0), x.device)
    for block in wan.blocks[:blocks]:
        (shift, scale, gate), feed_forward = block_modulation(block, at_zero)
        h = modulated(block.norm1(x), shift, scale)
        yield h
        own, cross = block.self_attn, block.cross_attn
        q, k = rotated_queries_keys(own, own.q(h), own.k(h), freqs)
        x = torch.addcmul(x, own.o(attend(q, k, own.v(h), own.num_heads)), gate)
        q, k = cross.norm_q(cross.q(block.norm3(x))), cross.norm_k(cross.k(context))
        x = x + cross.o(attend(q, k, cross.v(context), cross.num_heads))
        x = with_feed_forward(block, x, feed_forward)


# Rows of a batch


def term_sources(apply_to: str, is_negative: Sequence[bool]) -> tuple[int | None, ...]:
    """For each row whose keys and values a term reads: IDENTITY's, NULL_IDENTITY's, or None for no term at all."""
    of_negative = {AUTO: NULL_IDENTITY, BOTH: IDENTITY, POSITIVE: None}[apply_to]
    return tuple(of_negative if negative else IDENTITY for negative in is_negative)
