"""An identity as a second term of Wan's cross-attention: out = Attn(q, text) + strength * Attn(q, identity).

It wraps one forward pass of the diffusion model. The host lets every attention call of that pass go through one
override in ``transformer_options``; ours keeps an override that is there already, and adds its term to what that
gives. Which call is which follows from their order: in each block self-attention comes first, then every call whose
keys are as many as the text tokens is a text cross-attention, until the ``double_block`` patch marks the block's end
(blocks of VACE and injected audio attend after it, with the same block index). All state lives in the one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .lynx import LynxLite

OVERRIDE = "optimized_attention_override"
BLOCK_END = "double_block"
SIGMA_TOLERANCE = 1e-6
COND = 0  # the host's mark of a row that follows the positive conditioning
IDENTITY_ROW, NULL_ROW = 0, 1  # of the token batch

Attention = Callable[..., Tensor]  # (q, k, v, heads=..., ...) -> out, each b n d
Options = dict[str, Any]  # the host's transformer_options


# Kernels


def row_sources(cond_or_uncond: list[int], rows: int) -> list[int]:
    """For each of ``rows`` batch rows, whether it takes the identity's tokens or the null identity's."""
    if not cond_or_uncond or rows % len(cond_or_uncond):
        raise InputError(
            "IDLock: model",
            found=f"a batch of {rows} rows for {len(cond_or_uncond)} conditionings",
            wanted="as many rows for each conditioning",
            fix="Take away the node that splits the batch of conditionings.",
        )
    each = rows // len(cond_or_uncond)
    return [IDENTITY_ROW if mark == COND else NULL_ROW for mark in cond_or_uncond for _ in range(each)]


# One forward pass


class CallOrder:
    """Tells text cross-attention from the other attention calls of one forward pass."""

    def __init__(self, text_tokens: int) -> None:
        self.text_tokens = text_tokens
        self.block: int | None = None
        self.in_block = False
        self.seen_self_attention = False

    def is_text_attention(self, q: Tensor, k: Tensor, block: int | None) -> bool:
        """Notes the next attention call and says whether it is cross-attention to the text."""
        if block != self.block:
            self.block, self.in_block, self.seen_self_attention = block, block is not None, False
        if not self.in_block:
            return False
        if not self.seen_self_attention:
            self.seen_self_attention = True
            return False
        return q.ndim == 3 and k.shape[1] == self.text_tokens

    def end_block(self, args: Options) -> Options:
        """The ``double_block`` patch: whatever attends before the next block is not ours."""
        self.in_block = False
        return args


@dataclass(frozen=True, slots=True, eq=False)
class PassOverride:
    """The attention override of one forward pass."""

    injection: IdentityInjection
    tokens: Tensor  # b n d, fp32, each row's own
    order: CallOrder
    earlier: Attention | None  # the override that was there before; takes the host's attention first

    def __call__(self, attention: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **call: Any) -> Tensor:
        """What the call gave without us, plus the identity's term in a text cross-attention of a chosen block."""
        if self.earlier is None:
            out = attention(q, k, v, *args, **call)
        else:
            out = self.earlier(attention, q, k, v, *args, **call)
        block = call.get("transformer_options", {}).get("block_index")
        if not self.order.is_text_attention(q, k, block) or block not in self.injection.blocks:
            return out
        identity_k, identity_v = self.injection.network.keys_values(block, self.tokens)  # b n d
        unmasked = {"heads": args[0] if args else None, **call, "mask": None}
        return out + self.injection.strength * attention(q, identity_k.to(q), identity_v.to(q), **unmasked)


# The wrapper


@dataclass(frozen=True, slots=True, eq=False)
class IdentityInjection:
    """A wrapper of the host's diffusion model that adds one identity to it."""

    network: LynxLite
    z: Tensor  # 512, fp32
    strength: float  # > 0; 1 is what the adapter was trained with
    blocks: frozenset[int]  # of the Wan model
    first_sigma: float  # it acts while last_sigma < sigma <= first_sigma
    last_sigma: float

    def __call__(
        self,
        forward: Callable[..., Tensor],
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None,
        time_dim_concat: Tensor | None,
        transformer_options: Options,
        **kwargs: Any,
    ) -> Tensor:
        """Runs ``forward`` with the identity in it."""
        if self.acts_at(transformer_options["sigmas"]):
            transformer_options = self.install(transformer_options, x, context)
        return forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)

    def acts_at(self, sigmas: Tensor) -> bool:
        """Whether the step of this pass lies in the range; a step on the last sigma belongs to the range after it."""
        sigma = sigmas.max().item()
        return self.last_sigma + SIGMA_TOLERANCE < sigma <= self.first_sigma + SIGMA_TOLERANCE

    def install(self, transformer_options: Options, x: Tensor, context: Tensor) -> Options:
        """A copy of the options whose attention override adds the identity; the one that was there stays inside."""
        sources = row_sources(transformer_options["cond_or_uncond"], len(x))
        z = self.z.to(x.device)
        order = CallOrder(text_tokens=context.shape[1])
        override = PassOverride(
            injection=self,
            tokens=self.network.tokens(torch.stack((z, torch.zeros_like(z))))[sources],
            order=order,
            earlier=transformer_options.get(OVERRIDE),
        )
        patches = dict(transformer_options.get("patches", {}))
        patches[BLOCK_END] = [*patches.get(BLOCK_END, []), order.end_block]
        return {**transformer_options, "patches": patches, OVERRIDE: override}
