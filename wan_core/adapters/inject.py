"""An identity as a second term of Wan's cross-attention: out = Attn(q, text) + strength * Attn(q, identity).

It wraps one forward pass of the diffusion model. The host lets every attention call of that pass go through one
override in ``transformer_options``; ours keeps an override that is there already, and adds its term to what that
gives. Which call is which follows from the lengths: a call whose keys are as many as the text tokens is a text
cross-attention, until the ``double_block`` patch marks the block's end (blocks of VACE and injected audio attend after
it, with the same block index). Only when the video has as many tokens as the text does the order decide: in each block
self-attention comes first. All state lives in the one pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .lynx import LynxLite

OVERRIDE = "optimized_attention_override"
BLOCK_END = "double_block"
SIGMA_TOLERANCE = 1e-6
NEGATIVE_UUIDS = "wancast_negative_uuids"  # in transformer_options: the conditions that guidance pushes away from
IDENTITY_ROW, NULL_ROW = 0, 1  # of the token batch

log = logging.getLogger(__name__)

Attention = Callable[..., Tensor]  # (q, k, v, heads=..., ...) -> out, each b n d
Options = dict[str, Any]  # the host's transformer_options


# Kernels


def row_sources(uuids: Sequence[object], negative: Collection[object], rows: int) -> list[int]:
    """For each of ``rows`` batch rows, whether it takes the identity's tokens or the null identity's."""
    if not uuids or rows % len(uuids):
        raise InputError(
            "IDLock: model",
            found=f"a batch of {rows} rows for {len(uuids)} conditionings",
            wanted="as many rows for each conditioning",
            fix="Take away the node that splits the batch of conditionings.",
        )
    each = rows // len(uuids)
    return [NULL_ROW if uuid in negative else IDENTITY_ROW for uuid in uuids for _ in range(each)]


def negative_uuids(transformer_options: Options) -> Collection[object]:
    """The ids of the negative conditions of this run; raises InputError when the sampler did not name them."""
    if NEGATIVE_UUIDS not in transformer_options:
        raise InputError(
            "IDLock: model",
            found="a sampler that does not tell which conditioning is the negative one",
            wanted="a sampler that runs through ComfyUI's own guiders",
            fix="Use MoESampler, KSampler or SamplerCustomAdvanced.",
        )
    return transformer_options[NEGATIVE_UUIDS]


# One forward pass


class CallOrder:
    """Tells text cross-attention from the other attention calls of one forward pass."""

    def __init__(self, text_tokens: int) -> None:
        self.text_tokens = text_tokens
        self.block: int | None = None
        self.in_block = False
        self.seen_self_attention = False  # in this block, with keys as many as the text tokens

    def is_text_attention(self, q: Tensor, k: Tensor, block: int | None) -> bool:
        """Notes the next attention call and says whether it is cross-attention to the text, if it is ``in_block``."""
        if block != self.block:
            self.block, self.in_block, self.seen_self_attention = block, block is not None, False
        if q.ndim != 3 or k.shape[1] != self.text_tokens:
            return False
        is_text = q.shape[1] != k.shape[1] or self.seen_self_attention
        self.seen_self_attention = True
        return is_text

    @torch.compiler.disable
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
    attended: set[int] = field(default_factory=set)  # chosen blocks that called attention in this pass
    served: set[int] = field(default_factory=set)  # those of them whose text attention got the identity

    @torch.compiler.disable
    def __call__(self, attention: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **call: Any) -> Tensor:
        """What the call gave without us, plus the identity's term in a text cross-attention of a chosen block."""
        if self.earlier is None:
            out = attention(q, k, v, *args, **call)
        else:
            out = self.earlier(attention, q, k, v, *args, **call)
        block = call.get("transformer_options", {}).get("block_index")
        is_text = self.order.is_text_attention(q, k, block)
        if not self.order.in_block or block not in self.injection.blocks:
            return out
        self.attended.add(block)
        if not is_text:
            return out
        self.served.add(block)
        identity_k, identity_v = self.injection.network.keys_values(block, self.tokens)  # b n d
        unmasked = {"heads": args[0] if args else None, **call, "mask": None}
        return out + self.injection.strength * attention(q, identity_k.to(q), identity_v.to(q), **unmasked)

    @torch.compiler.disable
    def warn_of_missed_blocks(self) -> None:
        """Says in the log when a chosen block attended, but never to the text through the host's attention."""
        missed = sorted(self.attended - self.served)
        if missed:
            log.warning(
                "IDLock: the identity did not act in blocks %s: no text attention was seen there. "
                "Another node replaces the attention of this model.",
                ", ".join(str(block) for block in missed),
            )


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
        if not self.acts_at(transformer_options["sigmas"]):
            return forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        override = self.override_for(transformer_options, x, context)
        transformer_options = installed(transformer_options, override)
        out = forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        override.warn_of_missed_blocks()
        return out

    @torch.compiler.disable
    def acts_at(self, sigmas: Tensor) -> bool:
        """Whether the step of this pass lies in the range; a step on the last sigma belongs to the range after it."""
        sigma = sigmas.max().item()
        return self.last_sigma + SIGMA_TOLERANCE < sigma <= self.first_sigma + SIGMA_TOLERANCE

    @torch.compiler.disable
    def override_for(self, transformer_options: Options, x: Tensor, context: Tensor) -> PassOverride:
        """The override of one pass: person for the rows of every condition but the negative ones, nobody for those."""
        sources = row_sources(transformer_options["uuids"], negative_uuids(transformer_options), len(x))
        z = self.z.to(x.device)
        return PassOverride(
            injection=self,
            tokens=self.network.tokens(torch.stack((z, torch.zeros_like(z))))[sources],
            order=CallOrder(text_tokens=context.shape[1]),
            earlier=transformer_options.get(OVERRIDE),
        )


def installed(transformer_options: Options, override: PassOverride) -> Options:
    """A copy of the options with the override in it, and its mark of the end of each block."""
    patches = dict(transformer_options.get("patches", {}))
    patches[BLOCK_END] = [*patches.get(BLOCK_END, []), override.order.end_block]
    return {**transformer_options, "patches": patches, OVERRIDE: override}
