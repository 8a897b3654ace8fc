"""What identities add to one attention call: terms beside it, and more keys and values inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .lock import ActiveLock, Pair

Attention = Callable[..., Tensor]  # (q, k, v, heads=..., ...) -> out, each b n d
SideTerm = tuple[float, ActiveLock, Pair]  # strength, whose, keys and values

# Longer keys and values of a 14B video, 832x480 and 81 frames, are 0.69 GB: a quarter of its heads are below this.
JOINED_BYTES = 176 << 20


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One attention call of the model: how it runs, and where in its queries the video lies."""

    run: Attention  # (q, k, v) -> out; of fewer heads with heads=
    q: Tensor  # b n d
    k: Tensor  # b m d
    v: Tensor  # b m d
    video: slice  # of the queries
    heads: int
    joined_bytes: int | None = JOINED_BYTES  # most of longer keys and values at a time; None: of all heads together


# Terms beside the call


def with_terms(out: Tensor, q: Tensor, terms: Iterable[SideTerm], attend: Attention) -> Tensor:
    """out + strength * weight * Attn(q, K, V) for each term, b n d; each row takes its lock's source, or no term."""
    for strength, lock, (k, v) in terms:
        row_sources = [(row, source) for row, source in enumerate(lock.sources) if source is not None]
        if not row_sources:
            continue
        rows, sources = (torch.tensor(numbers, device=q.device) for numbers in zip(*row_sources, strict=True))
        is_whole_batch = len(rows) == len(q)
        term = strength * attend(q if is_whole_batch else q[rows], k.to(q)[sources], v.to(q)[sources])
        if lock.token_weights is not None:
            term = term * lock.token_weights.to(term)[:, None]
        out = out + term if is_whole_batch else out.index_add(0, rows, term)
    return out


# Keys and values inside the call


def with_portraits(call: AttentionCall, portraits: Sequence[tuple[ActiveLock, Pair]]) -> Tensor:
    """Self-attention whose queries also see the portraits' keys and values, b n d.

    A portrait that acts everywhere with strength 1 joins the keys: Attn(q, [K; K_i], [V; V_i]). Any other moves the
    result towards what it would be with it: y + strength * weight * (y_with - y), at the tokens that it reaches. Where
    that is y_with of one portrait alone, y is not computed: identities with hard masks cost one attention together.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in range(len(call.q)):
        groups[tuple(n for n, (lock, _) in enumerate(portraits) if row in lock.rows)].append(row)
    if len(groups) == 1:
        (numbers,) = groups
        return _with_portraits_of(call, [portraits[n] for n in numbers])
    out = torch.empty_like(call.q)
    for numbers, rows in groups.items():
        part = replace(call, q=call.q[rows], k=call.k[rows], v=call.v[rows])
        out[rows] = _with_portraits_of(part, [portraits[n] for n in numbers])
    return out


def _with_portraits_of(call: AttentionCall, portraits: Sequence[tuple[ActiveLock, Pair]]) -> Tensor:
    plain = [pair for lock, pair in portraits if lock.is_plain]
    moving = [(_shares(call, lock), pair) for lock, pair in portraits if not lock.is_plain]
    if not moving:
        return _attention_with(call, plain)
    shares = torch.stack([share for share, _ in moving])  # p n
    is_whole = (shares == 1).any(dim=0) & ((shares != 0).sum(dim=0) == 1)  # n: these tokens are one portrait's alone
    out = torch.empty_like(call.q)
    _fill(out, ~is_whole, call, plain)
    for share, pair in moving:
        _fill(out, is_whole & (share != 0), call, [*plain, pair])
    is_moved = ~is_whole & (shares != 0).any(dim=0)  # n
    if is_moved.any():
        part = replace(call, q=call.q[:, is_moved])
        moved = out[:, is_moved]
        y = moved.clone()
        for share, pair in moving:
            with_it = torch.zeros_like(y)
            _fill(with_it, share[is_moved] != 0, part, [*plain, pair])
            moved += share[is_moved].to(y)[:, None] * (with_it - y)
        out[:, is_moved] = moved
    return out


def _fill(out: Tensor, selected: Tensor, call: AttentionCall, pairs: Sequence[Pair]) -> None:
    """Writes the attention of the selected queries (a mask, n) into ``out``, b n d; the others are not computed."""
    if selected.all():
        out.copy_(_attention_with(call, pairs))
    elif selected.any():
        out[:, selected] = _attention_with(replace(call, q=call.q[:, selected]), pairs)


def _attention_with(call: AttentionCall, pairs: Sequence[Pair]) -> Tensor:
    """Attn(q, [K; K_i, ...], [V; V_i, ...]), of large ones some heads after others: a part at a time is there twice."""
    if not pairs:
        return call.run(call.q, call.k, call.v)
    step = _heads_at_once(call, pairs)
    if step == call.heads:
        return call.run(call.q, *_joined(call.k, call.v, pairs))
    out, head_d = torch.empty_like(call.q), call.q.shape[-1] // call.heads
    for first in range(0, call.heads, step):
        own = slice(first * head_d, (first + step) * head_d)  # of the columns
        own_pairs = [(keys[..., own], values[..., own]) for keys, values in pairs]
        # no name for what is joined: it goes before the next group comes
        out[..., own] = call.run(
            call.q[..., own],
            *_joined(call.k[..., own], call.v[..., own], own_pairs),
            heads=min(step, call.heads - first),
        )
    return out


def _heads_at_once(call: AttentionCall, pairs: Sequence[Pair]) -> int:
    """The heads whose longer keys and values are joined at a time."""
    if call.joined_bytes is None:
        return call.heads
    tokens = call.k.shape[1] + sum(keys.shape[1] for keys, _ in pairs)
    head_bytes = (call.k.nbytes + call.v.nbytes) // call.k.shape[1] * tokens // call.heads
    return min(call.heads, max(1, call.joined_bytes // head_bytes))


def _joined(k: Tensor, v: Tensor, pairs: Sequence[Pair]) -> Pair:
    keys = [k, *(pair[0].to(k).expand(len(k), -1, -1) for pair in pairs)]
    values = [v, *(pair[1].to(v).expand(len(v), -1, -1) for pair in pairs)]
    return torch.cat(keys, dim=1), torch.cat(values, dim=1)


def _shares(call: AttentionCall, lock: ActiveLock) -> Tensor:
    """How far a portrait moves each query, n: strength * weight; tokens that are not the video's have no weight."""
    count, device = call.q.shape[1], call.q.device
    if lock.token_weights is None:
        return torch.full((count,), lock.strength, device=device)
    shares = torch.zeros(count, device=device)
    shares[call.video] = lock.strength * lock.token_weights.to(shares)
    return shares


def require_no_mask(options: dict[str, Any]) -> None:
    """Raises InputError for a self-attention with a mask: it says nothing of the portraits' keys."""
    if options.get("mask") is not None:
        raise InputError(
            "model",
            found="a model whose self-attention has a mask",
            wanted="one without, for Stand-In",
            fix="Use Stand-In with a plain Wan2.1 or Wan2.2 model.",
        )
