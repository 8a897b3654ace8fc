"""What identities add to one attention call: terms beside it, and more keys and values inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .lock import ActiveLock, stacked

Attention = Callable[..., Tensor]  # (q, k, v, heads=..., ...) -> out, each b n d
Pair = tuple[Tensor, Tensor]  # keys and values


@dataclass(frozen=True, slots=True, eq=False)
class AttentionCall:
    """One attention call of the model: how it runs, and where in its queries the video lies."""

    run: Attention  # (q, k, v) -> out
    q: Tensor  # b n d
    k: Tensor  # b m d
    v: Tensor  # b m d
    video: slice  # of the queries


# Terms beside the call


def with_terms(out: Tensor, q: Tensor, terms: Iterable[tuple[float, ActiveLock, Pair]], attend: Attention) -> Tensor:
    """out + strength * weight * Attn(q, K, V) for each term, b n d; each row takes its lock's source, or no term."""
    for strength, lock, pair in terms:
        rows = [row for row, source in enumerate(lock.sources) if source is not None]
        if not rows:
            continue
        k, v = stacked(pair, [lock.sources[row] for row in rows], q)
        is_whole_batch = len(rows) == len(q)
        term = strength * attend(q if is_whole_batch else q[rows], k, v)
        if lock.weights is not None:
            term = term * lock.weights.to(term)[:, None]
        out = out + term if is_whole_batch else out.index_add(0, torch.tensor(rows, device=out.device), term)
    return out


# Keys and values inside the call


def with_portraits(call: AttentionCall, portraits: Sequence[tuple[ActiveLock, Pair]]) -> Tensor:
    """Self-attention whose queries also see the portraits' keys and values, b n d.

    A portrait that acts everywhere with strength 1 joins the keys: Attn(q, [K; K_i], [V; V_i]). Any other moves the
    result towards what it would be with it: y + strength * weight * (y_with - y), at the tokens that it reaches.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in range(len(call.q)):
        groups[tuple(n for n, (lock, _) in enumerate(portraits) if row in lock.rows)].append(row)
    if len(groups) == 1:
        ((chosen, _),) = groups.items()
        return _with_portraits_of(call, [portraits[n] for n in chosen])
    out = torch.empty_like(call.q)
    for chosen, rows in groups.items():
        part = AttentionCall(call.run, call.q[rows], call.k[rows], call.v[rows], call.video)
        out[rows] = _with_portraits_of(part, [portraits[n] for n in chosen])
    return out


def _with_portraits_of(call: AttentionCall, portraits: Sequence[tuple[ActiveLock, Pair]]) -> Tensor:
    joined = [pair for lock, pair in portraits if lock.is_plain]
    k, v = _joined(call.k, call.v, joined)
    out = y = call.run(call.q, k, v)
    for lock, pair in portraits:
        if lock.is_plain:
            continue
        tokens, weights = _reached(call, lock)
        if not len(tokens):
            continue
        with_it = call.run(call.q[:, tokens], *_joined(k, v, [pair]))
        moved = lock.strength * weights.to(with_it)[:, None] * (with_it - y[:, tokens])
        out = out.index_add(1, tokens, moved)
    return out


def _joined(k: Tensor, v: Tensor, pairs: Sequence[Pair]) -> Pair:
    keys = [k, *(pair[0].to(k).expand(len(k), -1, -1) for pair in pairs)]
    values = [v, *(pair[1].to(v).expand(len(v), -1, -1) for pair in pairs)]
    return torch.cat(keys, dim=1), torch.cat(values, dim=1)


def _reached(call: AttentionCall, lock: ActiveLock) -> tuple[Tensor, Tensor]:
    """The queries on which a portrait acts, and its weight on each."""
    count, device = call.q.shape[1], call.q.device
    if lock.weights is None:
        return torch.arange(count, device=device), torch.ones(count, device=device)
    (inside,) = lock.weights.nonzero(as_tuple=True)
    return inside + call.video.start, lock.weights[inside]


def require_no_mask(options: dict[str, Any]) -> None:
    """Raises InputError for a self-attention with a mask: it says nothing of the portraits' keys."""
    if options.get("mask") is not None:
        raise InputError(
            "IDLock: model", found="a model whose self-attention has a mask", wanted="one without, for Stand-In",
            fix="Use Stand-In with a plain Wan2.1 or Wan2.2 model.",
        )  # fmt: skip
