"""The injection inside a small stand-in for the host's Wan model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.adapters.stand_in import (
    BLOCKS,
    HEADS,
    TEXT_TOKENS,
    VIDEO_TOKENS,
    WIDTH_D,
    AddedTerm,
    FakeWan,
    Options,
    attention,
    raw_attention,
)
from wan_core.adapters.inject import NEGATIVE_UUIDS, IdentityInjection, row_sources
from wan_core.adapters.lynx import LynxLite, LynxShape
from wan_core.adapters.resampler import ResamplerShape
from wan_core.errors import InputError

NEGATIVE = frozenset({"negative", "another negative"})
BOTH, ONE = ["negative", "positive"], ["positive"]
RESAMPLER = ResamplerShape(16, depth=1, inner_d=64, feed_forward_d=16, tokens=3, embedding_d=512, token_d=8)

# The oracle: two plain terms


@pytest.fixture(scope="module")
def network() -> LynxLite:
    torch.manual_seed(1)
    built = LynxLite(LynxShape(WIDTH_D, (0, 2), RESAMPLER), operations=nn).eval().requires_grad_(False)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def person(seed: int) -> Tensor:
    return nn.functional.normalize(torch.randn(512, generator=torch.Generator().manual_seed(seed)), dim=0)


def two_terms(network: LynxLite, z: Tensor, strength: float, blocks: set[int], rows: list[bool]) -> AddedTerm:
    """strength * Attn(q, K, V) written out row by row; ``rows`` says which rows follow the positive prompt."""

    def added(block: int, q: Tensor) -> Tensor:
        out = torch.zeros_like(q)
        if block not in blocks:
            return out
        layer = network.ip_layers[str(block)]
        for row, is_cond in enumerate(rows):
            tokens = network.resampler((z if is_cond else torch.zeros(512))[None, None])  # 1 n d
            k = tokens @ layer.to_k_ip.weight.T
            k = k / torch.sqrt((k**2).mean(-1, keepdim=True) + 1e-5)
            v = tokens @ layer.to_v_ip.weight.T
            out[row] = strength * raw_attention(q[row : row + 1], k, v, HEADS)[0]
        return out

    return added


def inputs(rows: int, video_tokens: int = VIDEO_TOKENS) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    video = torch.randn(rows, video_tokens, WIDTH_D, generator=draw)
    return video, torch.randn(rows, TEXT_TOKENS, WIDTH_D, generator=draw)


def options_for(uuids: list[str], sigma: float = 0.7, **more: Any) -> Options:
    return {"uuids": uuids, NEGATIVE_UUIDS: NEGATIVE, "sigmas": torch.full((1,), sigma), **more}


def injection(
    network: LynxLite, z: Tensor, strength: float = 0.8, blocks: tuple[int, ...] = (0, 2)
) -> IdentityInjection:
    return IdentityInjection(network, z, strength, frozenset(blocks), first_sigma=1.0, last_sigma=0.0)


def run(
    wan: Callable[..., Tensor], options: Options, rows: int, *, video_tokens: int = VIDEO_TOKENS, **kwargs: Any
) -> Tensor:
    x, context = inputs(rows, video_tokens)
    return wan(x, torch.ones(rows), context, None, None, options, **kwargs)


def through(injected: IdentityInjection, wan: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: injected(wan, *args, **kwargs)


def same(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


# Tests

WANS = {
    "plain": FakeWan(),
    "two text calls": FakeWan(text_calls=2),
    "an image call first": FakeWan(image_tokens=5),
    "attention after the block": FakeWan(vace=True),
    "a mask over the text": FakeWan(text_mask=True),
}
LONGER = {  # more video than text tokens; "own" is a model that does its self-attention elsewhere
    f"{name}, {own * 'own'}": FakeWan(video_tokens=9, own_self_attention=own, **settings)
    for own in (False, True)
    for name, settings in {
        "plain": {},
        "two text calls": {"text_calls": 2},
        "an image call first": {"image_tokens": 5},
        "attention after the block": {"vace": True},
    }.items()
}


@pytest.mark.parametrize("wan", LONGER.values(), ids=LONGER)
def test_the_lengths_tell_text_attention_whoever_does_the_self_attention(network: LynxLite, wan: FakeWan) -> None:
    options, length = options_for(BOTH), {"rows": 2, "video_tokens": wan.video_tokens}
    found = run(through(injection(network, person(0)), wan), options, **length)
    same(found, run(wan, options, **length, added=two_terms(network, person(0), 0.8, {0, 2}, [False, True])))
    assert (found - run(wan, options, **length)).abs().max() > 1e-2


def test_a_chosen_block_that_never_attends_to_the_text_is_named_in_the_log(
    network: LynxLite, caplog: pytest.LogCaptureFixture
) -> None:
    """As many video as text tokens and no self-attention to be seen: the one call could be either."""
    run(through(injection(network, person(0)), FakeWan(own_self_attention=True)), options_for(ONE), rows=1)
    assert [record.getMessage() for record in caplog.records] == [
        "IDLock: the identity did not act in blocks 0, 2: no text attention was seen there. "
        "Another node replaces the attention of this model."
    ]


@pytest.mark.parametrize("wan", (WANS | LONGER).values(), ids=WANS | LONGER)
def test_a_pass_that_served_its_blocks_or_skipped_them_says_nothing(
    network: LynxLite, wan: FakeWan, caplog: pytest.LogCaptureFixture
) -> None:
    injected = injection(network, person(0))
    run(through(injected, wan), options_for(ONE), rows=1, video_tokens=wan.video_tokens)
    run(through(injected, lambda x, *rest: x), options_for(ONE), rows=1)
    assert caplog.records == []


@pytest.mark.parametrize("wan", WANS.values(), ids=WANS)
@pytest.mark.parametrize("blocks", [(0, 2), (2,)])
def test_it_equals_two_plain_terms(network: LynxLite, wan: FakeWan, blocks: tuple[int, ...]) -> None:
    z = person(0)
    found = run(through(injection(network, z, blocks=blocks), wan), options_for(BOTH), rows=2)
    wanted = run(wan, options_for(BOTH), rows=2, added=two_terms(network, z, 0.8, set(blocks), [False, True]))
    same(found, wanted)
    assert (found - run(wan, options_for(BOTH), rows=2)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("uuids", "rows", "is_person"),
    [
        (["negative", "positive"], 2, [False, True]),
        (["positive", "negative"], 2, [True, False]),
        (["negative", "positive"], 4, [False, False, True, True]),
        (["positive"], 1, [True]),
        (["negative"], 3, [False, False, False]),
        (["negative", "middle", "positive"], 3, [False, True, True]),
        (["positive", "another negative", "negative"], 3, [True, False, False]),
    ],
)
def test_negative_conditions_get_the_null_identity_and_all_others_the_person(
    network: LynxLite, uuids: list[str], rows: int, is_person: list[bool]
) -> None:
    wan, z = FakeWan(), person(0)
    options = options_for(uuids, cond_or_uncond=list(range(len(uuids))))  # the place in the batch is no sign
    found = run(through(injection(network, z), wan), options, rows)
    same(found, run(wan, options_for(uuids), rows, added=two_terms(network, z, 0.8, {0, 2}, is_person)))


def test_a_sampler_that_does_not_name_the_negative_conditions_is_refused(network: LynxLite) -> None:
    options = options_for(ONE)
    del options[NEGATIVE_UUIDS]
    with pytest.raises(InputError, match="IDLock: model: found a sampler that does not tell which conditioning"):
        run(through(injection(network, person(0)), FakeWan()), options, rows=1)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_a_bf16_model_with_a_half_precision_adapter_equals_two_plain_terms(
    network: LynxLite, stored: torch.dtype
) -> None:
    """Tokens stay fp32, keys and values take the model's type; ``Cast`` stands for the host's operations."""
    half = LynxLite(LynxShape(WIDTH_D, (0, 2), RESAMPLER), operations=Cast).eval().requires_grad_(False).to(stored)
    half.load_state_dict(network.state_dict())
    kept = LynxLite(LynxShape(WIDTH_D, (0, 2), RESAMPLER), operations=nn).eval().requires_grad_(False)
    kept.load_state_dict(half.state_dict())
    wan, z = FakeWan(), person(0)
    wan.weights, (x, context) = wan.weights.bfloat16(), inputs(2)
    call = (x.bfloat16(), torch.ones(2), context.bfloat16(), None, None, options_for(BOTH))
    exact = two_terms(kept, z, 0.8, {0, 2}, [False, True])
    found = injection(half, z)(wan, *call)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(half.tokens(z[None]), kept.tokens(z[None]), atol=1e-5, rtol=1e-5)
    wanted = wan(*call, added=lambda block, q: exact(block, q.float()).bfloat16())
    torch.testing.assert_close(found, wanted, atol=2e-2, rtol=2e-2)


class Cast:
    """Layers that compute in the type of their input, whatever their weights are stored in, as the host's do."""

    class Linear(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x, self.weight.to(x), None if self.bias is None else self.bias.to(x))

    class LayerNorm(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            weight, bias = self.weight.to(x), self.bias.to(x)
            return nn.functional.layer_norm(x, self.normalized_shape, weight, bias, self.eps)


def test_a_compiled_model_gives_what_the_eager_one_gives(network: LynxLite) -> None:
    wan = FakeWan(text_calls=2)
    injected = through(injection(network, person(0)), wan)
    options = options_for(BOTH)
    same(run(torch.compile(injected, backend="eager"), options, rows=2), run(injected, options, rows=2))


def test_a_compiled_model_takes_the_identity_of_each_pass_not_of_the_first(network: LynxLite) -> None:
    """The host compiles without guards on transformer_options, so nothing of them may be fixed in the compiled code."""
    x, context = inputs(1, video_tokens=9)

    def text_attention(x: Tensor, transformer_options: Options) -> Tensor:
        return attention(x, context, context, options=transformer_options) * 2

    def without_guards(entries: list[Any]) -> list[bool]:
        return ["transformer_options" not in entry.name for entry in entries]

    compiled = torch.compile(text_attention, backend="eager", options={"guard_filter_fn": without_guards})
    for seed, strength, block in ((0, 0.3, 0), (0, 1.5, 0), (1, 1.5, 2)):
        override = injection(network, person(seed), strength).override_for(options_for(ONE), x, context)
        options = {"block_index": block, "optimized_attention_override": override}
        term = two_terms(network, person(seed), strength, {0, 2}, [True])(block, x)
        same(compiled(x, options), 2 * (raw_attention(x, context, context, HEADS) + term))


def test_an_override_that_was_there_before_still_gives_the_original_attention(network: LynxLite) -> None:
    wan, z, calls = FakeWan(), person(0), []

    def foreign(func: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, **call: Any) -> Tensor:
        calls.append(k.shape[1])
        return 2 * func(q, k, v, **call)

    with_foreign = options_for(ONE, optimized_attention_override=foreign)
    found = run(through(injection(network, z), wan), with_foreign, rows=1)
    plain = options_for(ONE, optimized_attention_override=foreign)
    same(found, run(wan, plain, rows=1, added=two_terms(network, z, 0.8, {0, 2}, [True])))
    assert calls == [VIDEO_TOKENS, TEXT_TOKENS] * BLOCKS * 2  # both runs, and never for the identity's term


def test_an_override_set_inside_ours_is_chained_by_whoever_sets_it(network: LynxLite) -> None:
    wan, z = FakeWan(), person(0)

    def doubling(x: Tensor, t: Tensor, context: Tensor, clip: None, concat: None, options: Options) -> Tensor:
        earlier = options["optimized_attention_override"]
        chained = {**options, "optimized_attention_override": lambda func, *a, **c: 2 * earlier(func, *a, **c)}
        return wan(x, t, context, clip, concat, chained)

    def doubled(func: Callable[..., Tensor], *args: Any, **call: Any) -> Tensor:
        return 2 * func(*args, **call)

    found = run(through(injection(network, z), doubling), options_for(ONE), rows=1)
    plain = options_for(ONE, optimized_attention_override=doubled)
    same(found, run(wan, plain, rows=1, added=two_terms(network, z, 1.6, {0, 2}, [True])))


def test_two_identities_stack(network: LynxLite) -> None:
    wan, first, second = FakeWan(text_calls=2), person(0), person(1)
    chain = through(injection(network, first, 0.8), through(injection(network, second, 0.5, (2,)), wan))
    one = two_terms(network, first, 0.8, {0, 2}, [False, True])
    two = two_terms(network, second, 0.5, {2}, [False, True])
    wanted = run(wan, options_for(BOTH), rows=2, added=lambda block, q: one(block, q) + two(block, q))
    same(run(chain, options_for(BOTH), rows=2), wanted)


@pytest.mark.parametrize(
    ("sigma", "acts"), [(1.0, False), (0.8 + 5e-7, True), (0.8, True), (0.5, True), (0.3 + 5e-7, False), (0.3, False)]
)
def test_it_acts_from_the_first_sigma_until_before_the_last(network: LynxLite, sigma: float, acts: bool) -> None:
    wan = FakeWan()
    limited = IdentityInjection(network, person(0), 1.0, frozenset({0}), first_sigma=0.8, last_sigma=0.3)
    found = run(through(limited, wan), options_for(ONE, sigma), rows=1)
    assert torch.equal(found, run(wan, options_for(ONE, sigma), rows=1)) != acts


def test_every_step_belongs_to_one_of_two_adjoining_ranges(network: LynxLite) -> None:
    early = IdentityInjection(network, person(0), 1.0, frozenset({0}), first_sigma=1.0, last_sigma=0.875)
    late = IdentityInjection(network, person(0), 1.0, frozenset({0}), first_sigma=0.875, last_sigma=0.0)
    for sigma in (1.0, 0.9, 0.875 + 1e-7, 0.875, 0.875 - 1e-7, 0.5, 0.002):
        assert early.acts_at(torch.tensor([sigma])) != late.acts_at(torch.tensor([sigma]))


def test_nothing_that_came_in_is_changed_and_nothing_is_left_behind(network: LynxLite) -> None:
    wan, injected = FakeWan(), injection(network, person(0))
    patches = {"double_block": [lambda args: args], "attn1_patch": []}
    options = options_for(ONE, patches=patches)
    before = {**options, "patches": {key: list(value) for key, value in patches.items()}}
    weights = {key: value.clone() for key, value in network.state_dict().items()}
    first = run(through(injected, wan), options, rows=1)
    assert options["patches"] == before["patches"]
    assert options.keys() == before.keys()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in weights.items())
    assert torch.equal(first, run(through(injected, wan), options_for(ONE), rows=1))


def test_a_pass_that_fails_leaves_no_trace_in_the_next(network: LynxLite) -> None:
    wan, injected = FakeWan(), injection(network, person(0))
    wanted = run(through(injected, wan), options_for(ONE), rows=1)

    def fails(args: Options) -> Options:
        raise RuntimeError("stopped inside block 0")

    with pytest.raises(RuntimeError, match="stopped"):
        run(through(injected, wan), options_for(ONE, patches={"double_block": [fails]}), rows=1)
    assert torch.equal(run(through(injected, wan), options_for(ONE), rows=1), wanted)


@pytest.mark.parametrize(("uuids", "rows"), [(BOTH, 3), ([], 1)])
def test_a_batch_that_is_not_split_evenly_is_refused(uuids: list[str], rows: int) -> None:
    with pytest.raises(InputError, match=f"found a batch of {rows} rows for {len(uuids)} conditionings"):
        row_sources(uuids, NEGATIVE, rows)
