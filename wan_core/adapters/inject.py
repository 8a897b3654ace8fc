"""Identities in one forward pass of a Wan model.

Lynx adds terms beside two attentions of a block: Attn(q, text) + s * Attn(q, identity) in cross-attention, and
Attn(q, video) + s * Attn(q without rotary positions, reference) in self-attention. Stand-In lets self-attention see a
portrait's keys and values. The host lets every attention call of a pass go through one override in
``transformer_options``; ours lives in a copy of the options for one pass, keeps an override that is there already, and
works on what that gives. All state lives in the one pass.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from .calls import Call, CallOrder
from .image_stream import Place, unrotate
from .kv_cache import KvCache
from .lock import (
    ActiveLock,
    Lock,
    Recall,
    decoupled_sources,
    ip_keys_values,
    joint_rows,
    places,
    ref_keys_values,
    row_is_negative,
    stand_in_of,
)
from .run import Run, run_of
from .terms import Attention, AttentionCall, with_portraits, with_terms
from .terms import require_no_mask as require_no_attention_mask
from .tokens import Grid, token_weights, without_excess

INJECTION = "wancast_id_lock"  # names the wrapper of a model that holds identities
OVERRIDE = "optimized_attention_override"
BLOCK_END = "double_block"
PERSON_ON_ALL = "wancast_person_on_all"  # in transformer_options: the lock whose person acts on negative rows too
CONTEXT_WINDOW = "context_window"  # in the host's transformer_options: the part of the video that this pass sees

PIXELS_PER_LATENT = 8
# Parts that of the host's models only one has: SCAIL puts references in front, WanDancer reads no text for a picture.
OF_SCAIL, OF_DANCER = "patch_embedding_pose", "img_emb_refimage"

log = logging.getLogger(__name__)

Options = dict[str, Any]  # the host's transformer_options


# Where the video lies


@dataclass(frozen=True, slots=True)
class Layout:
    """The tokens of one pass: the video's, and how many the model puts in front of them."""

    video: Grid  # as far as this pass sees it
    whole: Grid  # of the whole video, of which a context window shows a part
    size_px: tuple[int, int]  # height and width of the video
    in_front: int

    @property
    def span(self) -> slice:
        """The video's tokens in a sequence."""
        return slice(self.in_front, self.in_front + self.video.tokens)


def layout_of(wan: nn.Module, x: Tensor, options: Options, extra: Options) -> Layout:
    """The layout of a pass over x (b c t h w), as the host's WanModel makes it."""
    latents, height, width = x.shape[2:]
    grid = Grid(latents, -(-height // wan.patch_size[1]), -(-width // wan.patch_size[2]))
    window = options.get(CONTEXT_WINDOW)
    whole = grid if window is None else Grid(window.total_frames, grid.rows, grid.columns)
    size_px = PIXELS_PER_LATENT * height, PIXELS_PER_LATENT * width
    return Layout(grid, whole, size_px, in_front=frames_in_front(wan, extra) * grid.rows * grid.columns)


def frames_in_front(wan: nn.Module, extra: Options) -> int:
    """The latent frames of references that the host's models put before the video: none where it is plain or behind."""
    reference = extra.get("reference_latent")  # b c h w, or b c t h w
    if reference is None:
        return 0
    if wan.ref_conv is not None:  # Wan2.1 Fun
        return 1
    return reference.shape[2] if hasattr(wan, OF_SCAIL) else 0


def video_positions(wan: nn.Module, layout: Layout, x: Tensor, options: Options) -> Tensor:
    """The rotary positions that the host gives the video's tokens, 1 n 1 d/2 2 2."""
    before = layout.in_front // (layout.video.rows * layout.video.columns)
    latents, height, width = x.shape[2:]
    positions = wan.rope_encode(
        latents + before, height, width, device=x.device, dtype=x.dtype, transformer_options=options
    )
    return positions[:, layout.span]


def corner_of(layout: Layout, options: Options) -> Place:
    """The first position before the video in time, and behind it in rows and columns, as the host lays it out."""
    rope = options.get("rope_options") or {}
    behind = [
        rope.get(f"shift_{axis}", 0.0) + (count - 1) * rope.get(f"scale_{axis}", 1.0) + 1
        for axis, count in (("y", layout.video.rows), ("x", layout.video.columns))
    ]
    return rope.get("shift_t", 0.0) - 1, behind[0], behind[1]


def require_whole_picture(x: Tensor, run: Run, options: Options) -> None:
    """Raises InputError when a pass sees a part of the picture or of the time that is no context window."""
    seen, whole = tuple(x.shape[2:]), run.latent_shape
    if seen[1:] != whole[1:] or (options.get(CONTEXT_WINDOW) is None and seen[0] != whole[0]):
        raise InputError(
            "model",
            found="a prompt for an area of the video",
            wanted="prompts for the whole of it, with masks and frame weights",
            fix="Take the area off the prompt, or mask and frame_weights off ID Lock.",
        )


def whole_weights(locks: Sequence[Lock], layout: Layout) -> list[Tensor | None]:
    """The weight of each token of the whole video for each lock, t h w; None where all are 1."""
    masks = without_excess([token_weights(lock.mask, (), layout.whole, layout.size_px) for lock in locks])
    times = [token_weights(None, lock.frame_weights, layout.whole, layout.size_px) for lock in locks]
    both = ([part for part in parts if part is not None] for parts in zip(masks, times, strict=True))
    return [torch.stack(parts).prod(dim=0) if parts else None for parts in both]


def seen_weights(whole: Tensor | None, options: Options, device: torch.device) -> Tensor | None:
    """The weight of each token that this pass sees, n."""
    if whole is None:
        return None
    window = options.get(CONTEXT_WINDOW)
    return (whole if window is None else window.get_tensor(whole, dim=0)).flatten().to(device)


# One forward pass


@dataclass(frozen=True, slots=True, eq=False)
class PassOverride:
    """The attention override of one forward pass."""

    locks: tuple[ActiveLock, ...]
    order: CallOrder
    layout: Layout
    positions: Tensor | None  # rotary, of the video's tokens; None when no lock has a reference
    earlier: Attention | None  # the override that was there before; takes the host's attention first
    said: set[str]  # warnings of this run
    attended: set[int] = field(default_factory=set)  # blocks that called attention in this pass
    served: dict[Call, set[int]] = field(default_factory=lambda: {Call.SELF: set(), Call.TEXT: set()})

    @torch.compiler.disable
    def __call__(self, attention: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **call: Any) -> Tensor:
        """What the call gives without us, with the identities in it if it is a text or self-attention."""
        block = (call.get("transformer_options") or {}).get("block_index")
        kind = self.order.kind(q, k, block)

        def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return (
                attention(q, k, v, *args, **call)
                if self.earlier is None
                else self.earlier(attention, q, k, v, *args, **call)
            )

        def beside(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return attention(q, k, v, *args, **{**call, "mask": None})

        if self.order.in_block:
            self.attended.add(block)
        if kind is Call.OTHER:
            return run(q, k, v)
        self.served[kind].add(block)
        if kind is Call.TEXT:
            return self.text_attention(run(q, k, v), q, block, beside)
        heads = call["heads"] if "heads" in call else args[0]
        return self.self_attention(AttentionCall(run, q, k, v, self.layout.span), block, heads, call, beside)

    def text_attention(self, out: Tensor, q: Tensor, block: int, attend: Attention) -> Tensor:
        """Cross-attention with the terms of the identity tokens, b n d."""
        terms = [(lock.strength, lock, pair) for lock in self.locks if (pair := lock.of(lock.ip, block))]
        return self._on_video(out, q, terms, attend)

    def self_attention(
        self, call: AttentionCall, block: int, heads: int, options: Options, attend: Attention
    ) -> Tensor:
        """Self-attention with the portraits' keys and values in it and the terms of the references beside it, b n d."""
        portraits = [(lock, pair) for lock in self.locks if (pair := lock.of(lock.stand_in, block))]
        if portraits:
            require_no_attention_mask(options)
        out = with_portraits(call, portraits) if portraits else call.run(call.q, call.k, call.v)
        terms = [(lock.ref_strength, lock, pair) for lock in self.locks if (pair := lock.of(lock.ref, block))]
        if not terms:
            return out
        q = unrotate(call.q[:, call.video].unflatten(-1, (heads, -1)), self.positions).flatten(2)
        return self._on_video(out, q, terms, attend)

    def _on_video(self, out: Tensor, q: Tensor, terms: list[Any], attend: Attention) -> Tensor:
        """Adds terms on the video's tokens; q is of the video, or of all tokens of ``out``."""
        span = self.layout.span
        if not terms or out.shape[1] == self.layout.video.tokens:
            return with_terms(out, q, terms, attend)
        q = q[:, span] if q.shape[1] == out.shape[1] else q
        return torch.cat((out[:, : span.start], with_terms(out[:, span], q, terms, attend), out[:, span.stop :]), dim=1)

    @torch.compiler.disable
    def warn_of_missed_blocks(self) -> None:
        """Says in the log, once a run, when a block attended, but not in the way in which an identity was to act."""
        for kind, parts in ((Call.TEXT, ("ip",)), (Call.SELF, ("ref", "stand_in"))):
            wanted = {
                block for lock in self.locks for part in parts for block in getattr(lock, part) if block in lock.blocks
            }
            missed = sorted((wanted & self.attended) - self.served[kind])
            text = (
                f"IDLock: the identity did not act in blocks {', '.join(map(str, missed))}: no {kind.value} attention "
                "was seen there. Another node replaces the attention of this model."
            )
            if missed and text not in self.said:
                self.said.add(text)
                log.warning("%s", text)


# The wrapper


@dataclass(frozen=True, slots=True, eq=False)
class IdentityInjection:
    """A wrapper of the host's diffusion model that puts identities into it."""

    locks: tuple[Lock, ...]
    cache: KvCache

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
        """Runs ``forward`` with the identities in it."""
        locks = self.acting(transformer_options)
        if not locks:
            return forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        inputs = {"context": context, "clip_fea": clip_fea, **kwargs}
        override = self.override_for(locks, forward.class_obj, x, inputs, transformer_options)
        transformer_options = installed(transformer_options, override)
        out = forward(x, timestep, context, clip_fea, time_dim_concat, transformer_options, **kwargs)
        override.warn_of_missed_blocks()
        return out

    @torch.compiler.disable
    def acting(self, options: Options) -> list[Lock]:
        """The locks in whose range the step of this pass lies."""
        run, sigma = run_of(options), options["sigmas"].max().item()
        return [lock for lock in self.locks if lock.acts_at(sigma, run.sigma_of)]

    @torch.compiler.disable
    def override_for(
        self, locks: Sequence[Lock], wan: nn.Module, x: Tensor, inputs: Options, options: Options
    ) -> PassOverride:
        """The override of one pass, with all keys and values that it needs."""
        layout = layout_of(wan, x, options, inputs)
        active = self.activate(locks, wan, x, layout, options)
        has_reference = any(lock.ref for lock in active)
        lacks_picture = getattr(wan, "img_emb", None) is not None and inputs["clip_fea"] is None
        picture_reads_text = lacks_picture and not hasattr(wan, OF_DANCER)
        return PassOverride(
            locks=active,
            order=CallOrder(text_tokens=inputs["context"].shape[1], picture_reads_text=picture_reads_text),
            layout=layout,
            positions=video_positions(wan, layout, x, options) if has_reference else None,
            earlier=options.get(OVERRIDE),
            said=run_of(options).said,
        )

    def activate(
        self, locks: Sequence[Lock], wan: nn.Module, x: Tensor, layout: Layout, options: Options
    ) -> tuple[ActiveLock, ...]:
        """The locks as they act in this pass."""
        run = run_of(options)
        if any(lock.mask is not None or lock.frame_weights for lock in locks):
            require_whole_picture(x, run, options)
        is_negative = row_is_negative(options["uuids"], run.negative, len(x))
        recall: Recall = lambda key, build: self.cache.get(key, x.device, build)  # noqa: E731
        parts = {"wan": wan, "like": x, "weights": run.weights_of(), "recall": recall}
        place_of = dict(zip(self.locks, places(self.locks), strict=True))
        corner = corner_of(layout, options)
        self.cache.begin_pass(x.device)
        found = []
        for lock, whole in zip(locks, weights_once(run, locks, layout), strict=True):
            negative = [False] * len(x) if options.get(PERSON_ON_ALL) is lock else is_negative
            place = {"corner": corner, "place": place_of[lock]}
            found.append(
                ActiveLock(
                    strength=lock.strength,
                    ref_strength=lock.ref_strength,
                    blocks=lock.blocks,
                    sources=decoupled_sources(lock.apply_to, negative),
                    rows=joint_rows(lock.apply_to, negative),
                    weights=seen_weights(whole, options, x.device),
                    ip=ip_keys_values(lock, **parts) if lock.ip else {},
                    ref=ref_keys_values(lock, **parts) if lock.ref else {},
                    stand_in=stand_in_of(lock, **parts, **place) if lock.stand_in else {},
                )
            )
        return tuple(found)


def weights_once(run: Run, locks: Sequence[Lock], layout: Layout) -> list[Tensor | None]:
    """The token weights of these locks in the run's video, computed once a run."""
    key = (*locks, layout.whole, layout.size_px)
    if key not in run.token_weights:
        run.token_weights[key] = whole_weights(locks, layout)
    return run.token_weights[key]


def installed(transformer_options: Options, override: PassOverride) -> Options:
    """A copy of the options with the override in it, and its mark of the end of each block."""
    patches = dict(transformer_options.get("patches", {}))
    patches[BLOCK_END] = [*patches.get(BLOCK_END, []), override.order.end_block]
    return {**transformer_options, "patches": patches, OVERRIDE: override}
