"""Identities in one forward pass of a Wan model.

Lynx adds terms beside two attentions of a block: Attn(q, text) + s * Attn(q, identity) in cross-attention, and
Attn(q, video) + s * Attn(q without rotary positions, reference) in self-attention. Stand-In lets self-attention see a
portrait's keys and values. The host lets every attention call of a pass go through one override in
``transformer_options``; ours lives in a copy of the options for one pass, keeps an override that is there already, and
works on what that gives. All state lives in the one pass.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import errors_of
from .calls import Call, CallOrder
from .kv_cache import KvCache
from .lock import ActiveLock, Lock
from .passes import (
    CONTEXT_WINDOW,
    LockedRun,
    Options,
    PassContext,
    VideoTokens,
    require_whole_picture,
    row_is_negative,
    run_of,
    video_positions,
    video_tokens,
)
from .stand_in import corner_of, portraits_between
from .terms import JOINED_BYTES, Attention, AttentionCall, SideTerm, require_no_mask, with_portraits, with_terms
from .tokens import token_weights, without_excess
from .wan import OF_DANCER, WanNetwork, unrotate

INJECTION = "wancast_id_lock"  # names the wrapper of a model that holds identities
OVERRIDE = "optimized_attention_override"
BLOCK_END = "double_block"
IDENTITY_ON_ALL = "wancast_identity_on_all"  # in transformer_options: the lock whose identity negative rows get too

log = logging.getLogger(__name__)


class ModelCall(Protocol):
    """A model's forward pass, or the next wrapper around it, as the host hands it to a wrapper."""

    class_obj: WanNetwork

    def __call__(self, x: Tensor, timestep: Tensor, context: Tensor, *rest: Any, **named: Any) -> Tensor:
        """The velocity, b c t h w."""


# The wrapper


@dataclass(slots=True, eq=False)
class IdentityInjection:
    """A wrapper of the host's diffusion model that puts identities into it."""

    locks: tuple[Lock, ...]
    cache: KvCache = field(repr=False)
    node: str  # whose name stands in its errors and warnings

    def __call__(
        self,
        forward: ModelCall,
        x: Tensor,
        timestep: Tensor,
        context: Tensor,
        clip_fea: Tensor | None,
        time_dim_concat: Tensor | None,
        transformer_options: Options,
        **kwargs: Any,
    ) -> Tensor:
        """Runs ``forward`` with the identities in it."""
        inputs = {"context": context, "clip_fea": clip_fea, **kwargs}
        override = self.override_for(forward.class_obj, x, inputs, transformer_options)
        if override is None:
            return forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        patches = dict(transformer_options.get("patches", {}))
        patches[BLOCK_END] = [*patches.get(BLOCK_END, []), override.order.end_block]
        transformer_options = {**transformer_options, "patches": patches, OVERRIDE: override}
        out = forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        override.warn_of_missed_blocks()
        return out

    @torch.compiler.disable
    def override_for(self, wan: WanNetwork, x: Tensor, inputs: Options, options: Options) -> PassOverride | None:
        """The override of one pass, with all keys and values that it needs; None where no identity acts."""
        with errors_of(self.node):
            run, sigma = run_of(options), options["sigmas"].max().item()
            locks = [lock for lock in self.locks if lock.acts_at(sigma, run.facts.sigma_of)]
            if not locks:
                return None
            video = video_tokens(wan, x, inputs, options)
            active = self._activate(locks, wan, x, video, options)
            lacks_picture = getattr(wan, "img_emb", None) is not None and inputs["clip_fea"] is None
            picture_reads_text = lacks_picture and not hasattr(wan, OF_DANCER)
            return PassOverride(
                wan,
                active,
                CallOrder(text_tokens=inputs["context"].shape[1], picture_reads_text=picture_reads_text),
                video,
                video_positions(wan, video, x, options) if any(lock.ref for lock in active) else None,
                earlier=options.get(OVERRIDE),
                run=run,
                node=self.node,
            )

    def _activate(
        self, locks: Sequence[Lock], wan: WanNetwork, x: Tensor, video: VideoTokens, options: Options
    ) -> tuple[ActiveLock, ...]:
        """The locks as they act in this pass."""
        run = run_of(options)
        if any(lock.mask is not None or lock.frame_weights for lock in locks):
            require_whole_picture(x, run.facts, options)
        between = portraits_between([lock.stand_in is not None and lock.mask is None for lock in self.locks])
        context = PassContext(
            wan=wan,
            like=x,
            weights_key=run.facts.weights_key(),
            recall=partial(self.cache.get, x.device),
            is_negative=row_is_negative(options["uuids"], run.facts.negative, len(x)),
            token_weights=None,
            corner=corner_of(video, options),
            portraits_between=0,
        )
        self.cache.begin_pass(x.device)
        active = []
        for lock, weights in zip(locks, _whole_weights(run, locks, video), strict=True):
            has_identity_on_all = options.get(IDENTITY_ON_ALL) is lock
            own = replace(
                context,
                is_negative=(False,) * len(x) if has_identity_on_all else context.is_negative,
                token_weights=_seen_weights(weights, options, x.device),
                portraits_between=between[self.locks.index(lock)],
            )
            active.append(ActiveLock.of(lock, own))
        return tuple(active)


def _whole_weights(run: LockedRun, locks: Sequence[Lock], video: VideoTokens) -> list[Tensor | None]:
    """The weight of each token of the whole video for each lock, t h w, made once a run; None where all are 1."""
    key = (*locks, video.whole, video.size_px)
    if key not in run.token_weights:
        masks = without_excess([token_weights(lock.mask, (), video.whole, video.size_px) for lock in locks])
        times = [token_weights(None, lock.frame_weights, video.whole, video.size_px) for lock in locks]
        both = ([part for part in parts if part is not None] for parts in zip(masks, times, strict=True))
        run.token_weights[key] = [torch.stack(parts).prod(dim=0) if parts else None for parts in both]
    return run.token_weights[key]


def _seen_weights(whole: Tensor | None, options: Options, device: torch.device) -> Tensor | None:
    """The weight of each token that this pass sees, n."""
    if whole is None:
        return None
    window = options.get(CONTEXT_WINDOW)
    seen: Tensor = whole if window is None else window.get_tensor(whole, dim=0)
    return seen.flatten().to(device)


# One forward pass


class PassOverride:
    """The attention override of one forward pass."""

    def __init__(
        self,
        wan: WanNetwork,
        locks: tuple[ActiveLock, ...],
        order: CallOrder,
        video: VideoTokens,
        positions: Tensor | None,
        *,
        earlier: Attention | None,
        run: LockedRun,
        node: str,
    ) -> None:
        self.wan = wan
        self.locks = locks
        self.order = order
        self.video = video
        self.positions = positions  # rotary, of the video's tokens; None when no lock has a reference
        self.earlier = earlier  # the override that was there before; takes the host's attention first
        self.run = run
        self.node = node
        self.attended: set[int] = set()  # blocks that called attention in this pass
        self.served: dict[Call, set[int]] = {Call.SELF: set(), Call.TEXT: set()}

    @torch.compiler.disable
    def __call__(self, attention: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **call: Any) -> Tensor:
        """What the call gives without us, with the identities in it if it is a text or self-attention."""
        block = (call.get("transformer_options") or {}).get("block_index")
        kind = self.order.classify_next(q, k, block)

        def run(q: Tensor, k: Tensor, v: Tensor, **changed: Any) -> Tensor:
            if self.earlier is not None:
                return self.earlier(attention, q, k, v, *args, **call)
            return (self._chosen_by_block(kind, q) or attention)(q, k, v, *args, **call | changed)

        def beside(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attention(q, k, v, *args, **{**call, "mask": None})

        if block is None or not self.order.in_block:
            return run(q, k, v)
        self.attended.add(block)
        if kind is Call.OTHER:
            return run(q, k, v)
        self.served[kind].add(block)
        if kind is Call.TEXT:
            terms = [(lock.strength, lock, pair) for lock in self.locks if (pair := lock.in_block(lock.ip, block))]
            return self._on_video(run(q, k, v), q, terms, beside)
        heads = call["heads"] if "heads" in call else args[0]
        # another node's override gets its heads together, as it would without us
        most_bytes = JOINED_BYTES if self.earlier is None and "heads" in call else None
        given = AttentionCall(run, q, k, v, self.video.span, heads, most_bytes)
        return self._self_attention(given, block, call, beside)

    def _chosen_by_block(self, kind: Call, q: Tensor) -> Attention | None:
        """What a block computes this call with, as without an override; None where it leaves that to the host."""
        if not self.order.in_block or self.order.block is None or q.ndim != 3:
            return None
        block = self.wan.blocks[self.order.block]
        choice = getattr(block.self_attn if kind is Call.SELF else block.cross_attn, "comfy_attention", None)
        chosen: Attention | None = None if choice is None else choice.function
        return chosen

    def _self_attention(self, call: AttentionCall, block: int, options: Options, attend: Attention) -> Tensor:
        """Self-attention with the portraits' keys and values in it and the terms of the references beside it, b n d."""
        portraits = [(lock, pair) for lock in self.locks if (pair := lock.in_block(lock.stand_in, block))]
        if portraits:
            with errors_of(self.node):
                require_no_mask(options)
        out = with_portraits(call, portraits) if portraits else call.run(call.q, call.k, call.v)
        terms = [(lock.ref_strength, lock, pair) for lock in self.locks if (pair := lock.in_block(lock.ref, block))]
        if not terms or self.positions is None:
            return out
        q = unrotate(call.q[:, call.video].unflatten(-1, (call.heads, -1)), self.positions).flatten(2)
        return self._on_video(out, q, terms, attend)

    def _on_video(self, out: Tensor, q: Tensor, terms: list[SideTerm], attend: Attention) -> Tensor:
        """Adds terms on the video's tokens; q is of the video, or of all tokens of ``out``."""
        span = self.video.span
        if not terms or out.shape[1] == self.video.seen.tokens:
            return with_terms(out, q, terms, attend)
        q = q[:, span] if q.shape[1] == out.shape[1] else q
        return torch.cat((out[:, : span.start], with_terms(out[:, span], q, terms, attend), out[:, span.stop :]), dim=1)

    @torch.compiler.disable
    def warn_of_missed_blocks(self) -> None:
        """Says in the log, once a run, in which blocks an identity was to act and did not."""
        acts_in = {
            Call.TEXT: {block for lock in self.locks for block in lock.ip.keys() & lock.blocks},
            Call.SELF: {block for lock in self.locks for block in (lock.ref | lock.stand_in).keys() & lock.blocks},
        }
        for kind, wanted in acts_in.items():
            self._warn_of(
                (wanted & self.attended) - self.served[kind],
                f"no {kind.value} attention was seen there. Another node replaces the attention of this model.",
            )
        self._warn_of(
            (set.union(*acts_in.values()) & self.order.ended) - self.attended,
            "they ran without an attention call. Another node replaces or skips them, or a recording of them was "
            "replayed.",
        )

    def _warn_of(self, missed: set[int], why: str) -> None:
        text = f"{self.node}: the identity did not act in blocks {', '.join(map(str, sorted(missed)))}: {why}"
        if missed and text not in self.run.logged:
            self.run.logged.add(text)
            log.warning("%s", text)
