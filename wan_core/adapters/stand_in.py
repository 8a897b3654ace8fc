"""Stand-In (arXiv 2508.07901, WeChatCV/Stand-In): a portrait that the video sees in self-attention.

The portrait goes through self-attention and feed-forward of the model alone, as a stream of its own beside the video,
with low-rank terms on query, key and value, and gives the video its keys and values. The terms act on that stream and
are no LoRA of the model: nothing is merged into it. How the video attends to it is in terms.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..weights import Factory, Operations
from .kv_cache import KeysValues
from .passes import Options, PassContext, VideoTokens
from .settings import POSITIVE
from .wan import (
    RopePosition,
    attend,
    block_modulation,
    modulated,
    picture_grid,
    picture_tokens,
    rope_positions,
    rotated_queries_keys,
    time_modulation_at_zero,
    with_feed_forward,
)

# Low-rank terms


@dataclass(frozen=True, slots=True)
class StandInParams:
    """The sizes of a Stand-In file."""

    width_d: int  # of the Wan model
    rank_d: int  # of the low-rank terms
    blocks: tuple[int, ...]  # of the Wan model, ascending


class LowRank(nn.Module):
    """One low-rank term without a scale, b n d -> b n d."""

    def __init__(self, width_d: int, rank_d: int, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.down = operations.Linear(width_d, rank_d, bias=False, **factory)
        self.up = operations.Linear(rank_d, width_d, bias=False, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class LowRankQkv(nn.Module):
    """The terms of one block on query, key and value, from what its self-attention reads, b n d each."""

    def __init__(self, params: StandInParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.q_loras = LowRank(params.width_d, params.rank_d, operations=operations, **factory)
        self.k_loras = LowRank(params.width_d, params.rank_d, operations=operations, **factory)
        self.v_loras = LowRank(params.width_d, params.rank_d, operations=operations, **factory)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q_loras(x), self.k_loras(x), self.v_loras(x)


class StandIn(nn.Module):
    """The terms of every block that the file has, keyed by block."""

    def __init__(self, params: StandInParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.blocks = params.blocks
        self.layers = nn.ModuleDict(
            {str(block): LowRankQkv(params, operations=operations, **factory) for block in params.blocks}
        )


# Positions


def corner_of(video: VideoTokens, options: Options) -> RopePosition:
    """The first position before the video in time, and behind it in rows and columns, as the host lays it out."""
    rope = options.get("rope_options") or {}
    behind = [
        rope.get(f"shift_{axis}", 0.0) + (count - 1) * rope.get(f"scale_{axis}", 1.0) + 1
        for axis, count in (("y", video.seen.rows), ("x", video.seen.columns))
    ]
    return rope.get("shift_t", 0.0) - 1, behind[0], behind[1]


def portraits_between(is_everywhere: Sequence[bool]) -> list[int]:
    """For each portrait of a model, how many lie between it and the video.

    Those that act everywhere lie one after another, those with a mask behind them all.
    """
    return [sum(is_everywhere[:n] if everywhere else is_everywhere) for n, everywhere in enumerate(is_everywhere)]


# Keys and values


@dataclass(frozen=True, slots=True, eq=False)
class StandInTerm:
    """The portrait of Stand-In: more keys and values of self-attention."""

    network: StandIn = field(repr=False)
    latent: Tensor = field(repr=False)  # 1 c 1 h w
    expert: str | None  # "high" or "low", the expert that it was trained for; None where its file does not say

    def first_position(self, context: PassContext) -> RopePosition:
        """The portrait's first position: before the video in time, behind it and the portraits between in space."""
        (time, row, column), portrait = context.corner, picture_grid(self.latent)
        between = context.portraits_between
        return time, row + between * portrait.rows, column + between * portrait.columns

    def key(self, context: PassContext) -> tuple[Hashable, ...]:
        """What keys and values in this pass depend on, beside what the lock is made of."""
        return "stand-in", context.weights_key, context.like.dtype, self.first_position(context)

    def keys_values(self, context: PassContext) -> KeysValues:
        """Keys (with their positions) and values of the portrait in each block, 1 n d: one pass of it through Wan."""
        wan, stand_in = context.wan, self.network
        x, grid = picture_tokens(wan, self.latent.to(context.like))
        at_zero, freqs = (
            time_modulation_at_zero(wan, x),
            rope_positions(wan, grid, self.first_position(context), x.device),
        )
        found: KeysValues = {}
        for index, block in enumerate(wan.blocks[: max(stand_in.blocks) + 1]):
            (shift, scale, gate), feed_forward = block_modulation(block, at_zero)
            attention, h = block.self_attn, modulated(block.norm1(x), shift, scale)
            q, k, v = attention.q(h), attention.k(h), attention.v(h)
            if index in stand_in.blocks:
                terms = stand_in.layers[str(index)](h.float())
                q, k, v = (part + term.to(h) for part, term in zip((q, k, v), terms, strict=True))
            q, k = rotated_queries_keys(attention, q, k, freqs)
            if index in stand_in.blocks:
                found[index] = k, v
            x = torch.addcmul(x, attention.o(attend(q, k, v, attention.num_heads)), gate)
            x = with_feed_forward(block, x, feed_forward)
        return found


# Rows of a batch


def portrait_rows(apply_to: str, is_negative: Sequence[bool]) -> frozenset[int]:
    """The rows that a portrait acts on."""
    return frozenset(row for row, negative in enumerate(is_negative) if apply_to != POSITIVE or not negative)
