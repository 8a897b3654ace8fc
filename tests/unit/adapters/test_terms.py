"""What identities add to an attention call, against attention written out token by token."""

from __future__ import annotations

from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor

from tests.unit.adapters.fake_wan import raw_attention
from wan_core.adapters.guidance import with_identity_guidance
from wan_core.adapters.kv_cache import KeysValues
from wan_core.adapters.lock import ActiveLock
from wan_core.adapters.lynx import term_sources
from wan_core.adapters.passes import row_is_negative
from wan_core.adapters.stand_in import portrait_rows
from wan_core.adapters.terms import AttentionCall, require_no_mask, with_portraits, with_terms
from wan_core.errors import InputError

ROWS, TOKENS, WIDTH_D, HEADS, IDENTITY_TOKENS = 2, 6, 8, 2, 3
WEIGHTS = torch.tensor([0.0, 1.0, 0.25, 0.0, 0.5, 1.0])
NONE: KeysValues = {}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int = HEADS) -> Tensor:
    return raw_attention(q, k, v, heads)


def active(**changes: Any) -> ActiveLock:
    plain = {"strength": 1.0, "ref_strength": 1.0, "blocks": frozenset({0}), "sources": [0] * ROWS}
    return ActiveLock(
        **plain
        | {"rows": frozenset(range(ROWS)), "token_weights": None}
        | {"ip": NONE, "ref": NONE, "stand_in": NONE}
        | changes
    )


def pair(seed: int, sources: int = 2) -> tuple[Tensor, Tensor]:
    return draw(sources, IDENTITY_TOKENS, WIDTH_D, seed=seed), draw(sources, IDENTITY_TOKENS, WIDTH_D, seed=seed + 1)


def call() -> AttentionCall:
    q, k, v = (draw(ROWS, TOKENS, WIDTH_D, seed=seed) for seed in (10, 11, 12))
    return AttentionCall(attend, q, k, v, slice(0, TOKENS), HEADS)


def one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of a single query, d, head by head."""
    out = []
    for qh, kh, vh in zip(
        q.split(WIDTH_D // HEADS), k.split(WIDTH_D // HEADS, -1), v.split(WIDTH_D // HEADS, -1), strict=True
    ):
        scores = torch.tensor([float(qh @ key) / (WIDTH_D // HEADS) ** 0.5 for key in kh], dtype=q.dtype)
        out.append(torch.softmax(scores, 0) @ vh)
    return torch.cat(out)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("sources", [[0, 0], [1, 0], [None, 0], [None, None]])
def test_a_term_is_added_to_each_row_and_token_by_its_weight(weights: Tensor | None, sources: list[int | None]) -> None:
    given, (k, v) = call(), pair(20)
    out = attend(given.q, given.k, given.v)
    found = with_terms(out, given.q, [(0.7, active(token_weights=weights, sources=sources), (k, v))], attend)
    for row, source in enumerate(sources):
        for token in range(TOKENS):
            weight = 1.0 if weights is None else float(weights[token])
            term = 0.0 if source is None else 0.7 * weight * one(given.q[row, token], k[source], v[source])
            torch.testing.assert_close(found[row, token], out[row, token] + term)


HEAD_BYTES = 2 * (TOKENS + IDENTITY_TOKENS) * 4 * 4  # longer keys and values of one head of 4 numbers in float32


@pytest.mark.parametrize(
    ("joined_bytes", "at_once"),
    [(None, 4), (4 * HEAD_BYTES, 4), (3 * HEAD_BYTES, 3), (3 * HEAD_BYTES - 1, 2), (HEAD_BYTES, 1), (1, 1)],
)
def test_large_keys_and_values_of_some_heads_are_joined_and_gone_before_those_of_the_next(
    joined_bytes: int | None, at_once: int
) -> None:
    """Those of all heads together would be the peak of a step; each head gives the same bits as with all others."""
    q, k, v = (draw(1, TOKENS, 16, seed=seed).float() for seed in (10, 11, 12))  # 4 heads
    joined, held = (draw(1, IDENTITY_TOKENS, 16).float(), draw(1, IDENTITY_TOKENS, 16, seed=1).float()), []

    def attend_by_head(q: Tensor, k: Tensor, v: Tensor, heads: int = 4) -> Tensor:
        held.extend(map(ref, (k, v)))
        taken.append(sum(tensor.nbytes for tensor in (tensor() for tensor in held) if tensor is not None))
        by_head = zip(*(x.split(x.shape[-1] // heads, -1) for x in (q, k, v)), strict=True)
        return torch.cat([raw_attention(*(part.contiguous() for part in parts), 1) for parts in by_head], -1)

    taken: list[int] = []
    given = AttentionCall(attend_by_head, q, k, v, slice(0, TOKENS), 4, joined_bytes)
    found = with_portraits(given, [(active(rows=frozenset({0})), joined)])
    assert max(taken) == at_once * HEAD_BYTES
    assert torch.equal(found, attend_by_head(q, *(torch.cat(parts, 1) for parts in zip((k, v), joined, strict=True))))


@pytest.mark.parametrize(("strength", "weights"), [(0.4, None), (1.0, WEIGHTS), (1.5, WEIGHTS)])
@pytest.mark.parametrize("rows", [frozenset({0, 1}), frozenset({1}), frozenset()])
def test_plain_portraits_join_the_keys_any_other_moves_each_token_towards_what_it_would_be_with_it(
    strength: float, weights: Tensor | None, rows: frozenset[int]
) -> None:
    given, (k, v), (k_other, v_other) = call(), pair(30, sources=1), pair(40, sources=1)
    lock, other = active(strength=strength, token_weights=weights, rows=rows), active()
    found = with_portraits(given, [(lock, (k, v)), (other, (k_other, v_other))])
    for row in range(ROWS):
        keys, values = torch.cat((given.k[row], k_other[0])), torch.cat((given.v[row], v_other[0]))
        for token in range(TOKENS):
            q = given.q[row, token]
            without, with_it = one(q, keys, values), one(q, torch.cat((keys, k[0])), torch.cat((values, v[0])))
            weight = 1.0 if weights is None else float(weights[token])
            share = strength * weight if row in rows else 0.0
            torch.testing.assert_close(found[row, token], without + share * (with_it - without))


def test_two_masked_portraits_do_not_see_each_other() -> None:
    """What the left person's tokens become does not depend on who the right person is."""
    given, left = call(), pair(30, sources=1)
    halves = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    outs = [
        with_portraits(given, [(active(token_weights=halves), left), (active(token_weights=1 - halves), right)])
        for right in (pair(40, sources=1), pair(50, sources=1))
    ]
    assert torch.equal(outs[0][:, :3], outs[1][:, :3])
    assert not torch.equal(outs[0][:, 3:], outs[1][:, 3:])


def test_a_portrait_that_is_whole_where_another_is_in_part_moves_that_token_with_it() -> None:
    given, (k, v), (k_part, v_part) = call(), pair(30, sources=1), pair(40, sources=1)
    whole = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    locks = active(token_weights=whole), active(token_weights=whole / 2)
    found = with_portraits(given, [(locks[0], (k, v)), (locks[1], (k_part, v_part))])[0, 1]
    keys, values = given.k[0], given.v[0]
    q = given.q[0, 1]
    y, with_whole, with_part = (
        one(q, torch.cat((keys, more_k)), torch.cat((values, more_v)))
        for more_k, more_v in ((keys[:0], values[:0]), (k[0], v[0]), (k_part[0], v_part[0]))
    )
    torch.testing.assert_close(found, y + (with_whole - y) + 0.5 * (with_part - y))


def test_self_attention_with_a_mask_is_refused() -> None:
    require_no_mask({"mask": None})
    with pytest.raises(InputError, match="found a model whose self-attention has a mask; wanted one without"):
        require_no_mask({"mask": torch.ones(1)})


# Rows


@pytest.mark.parametrize(("uuids", "rows"), [(["n", "p"], 3), ([], 1)])
def test_a_batch_that_is_not_split_evenly_is_refused(uuids: list[str], rows: int) -> None:
    with pytest.raises(InputError, match=f"found a batch of {rows} rows for {len(uuids)} conditionings"):
        row_is_negative(uuids, {"n"}, rows)


@pytest.mark.parametrize(
    ("apply_to", "sources", "rows"),
    [("auto", [1, 0], {0, 1}), ("both", [0, 0], {0, 1}), ("positive", [None, 0], {1})],
)
def test_who_acts_on_the_negative_row(apply_to: str, sources: list[int | None], rows: set[int]) -> None:
    assert term_sources(apply_to, [True, False]) == tuple(sources)
    assert portrait_rows(apply_to, [True, False]) == rows


# Guidance


def test_identity_guidance_is_the_formula_of_three_predictions() -> None:
    u, i, c = (draw(4, seed=seed) for seed in (1, 2, 3))
    plain = u + 5.0 * (c - u)
    found = with_identity_guidance(plain, u, i, text_scale=5.0, identity_scale=2.0)
    torch.testing.assert_close(found, u + 2.0 * (i - u) + 5.0 * (c - i))
