"""The injection inside a small stand-in for the host's Wan model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.adapters.fake_wan import (
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
from wan_core.adapters.inject import IdentityInjection
from wan_core.adapters.kv_cache import KeysValues, KvCache
from wan_core.adapters.lock import Lock
from wan_core.adapters.lynx import IpTerm
from wan_core.adapters.passes import RUN, LockedRun, RunFacts
from wan_core.errors import InputError

NODE = "ID node"
NEGATIVE = frozenset({"negative", "another negative"})
BOTH, ONE = ["negative", "positive"], ["positive"]
IP_BLOCKS, IP_TOKENS = (0, 2), 3

# The oracle: two plain terms


def identity(seed: int) -> KeysValues:
    """Keys and values of an identity and of the null identity."""
    draw = torch.Generator().manual_seed(seed)
    pairs = torch.randn(len(IP_BLOCKS), 2, 2, IP_TOKENS, WIDTH_D, generator=draw) * 0.7
    return {block: (k, v) for block, (k, v) in zip(IP_BLOCKS, pairs, strict=True)}


def two_terms(keys_values: KeysValues, strength: float, blocks: set[int], rows: list[bool]) -> AddedTerm:
    """strength * Attn(q, K, V) written out row by row; ``rows`` says which rows follow the positive prompt."""

    def added(block: int, q: Tensor) -> Tensor:
        out = torch.zeros_like(q)
        if block not in blocks:
            return out
        for row, is_cond in enumerate(rows):
            k, v = (part[0 if is_cond else 1][None] for part in keys_values[block])
            k = k / torch.sqrt((k**2).mean(-1, keepdim=True) + 1e-5)
            out[row] = strength * raw_attention(q[row : row + 1], k.to(q), v.to(q), HEADS)[0]
        return out

    return added


def inputs(rows: int, video_tokens: int = VIDEO_TOKENS) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    video = torch.randn(rows, WIDTH_D, video_tokens, 1, 1, generator=draw)
    return video, torch.randn(rows, TEXT_TOKENS, WIDTH_D, generator=draw)


def options_for(uuids: list[str], sigma: float = 0.7, **more: Any) -> Options:
    return {"uuids": uuids, "sigmas": torch.full((1,), sigma), RUN: run_over(VIDEO_TOKENS), **more}


def run_over(latents: int) -> LockedRun:
    """A run with a schedule that falls evenly from 1 to 0."""
    return LockedRun(RunFacts(NEGATIVE, lambda: "weights", lambda percent: 1.0 - percent, (latents, 1, 1)))


def lock(keys_values: KeysValues, strength: float = 0.8, blocks: tuple[int, ...] = IP_BLOCKS, **changes: Any) -> Lock:
    settings = {"strength": strength, "ref_strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "apply_to": "auto"}
    settings |= {"mask": None, "frame_weights": (), "kept_as": "model's type", "blocks": frozenset(blocks)}
    parts = {"ip": IpTerm(keys_values, is_normed_by_model=False), "ref": None, "stand_in": None}
    return Lock(content=(str(id(keys_values)),), **settings | parts | changes)


def injection(keys_values: KeysValues, *args: Any, **changes: Any) -> IdentityInjection:
    return IdentityInjection((lock(keys_values, *args, **changes),), KvCache(1 << 20, 1 << 20), NODE)


def run(
    wan: Callable[..., Tensor], options: Options, rows: int, *, video_tokens: int = VIDEO_TOKENS, **kwargs: Any
) -> Tensor:
    x, context = inputs(rows, video_tokens)
    return wan(x, torch.ones(rows), context, None, None, options, **kwargs)


class Executor:
    """A call that knows its model, as the host hands it to wrappers."""

    def __init__(self, call: Callable[..., Tensor], model: FakeWan) -> None:
        self.call, self.class_obj = call, model

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.call(*args, **kwargs)


def wrapped(injected: IdentityInjection, wan: FakeWan | Executor) -> Executor:
    """The wrapper around a model."""
    return Executor(lambda *args, **kwargs: injected(wan, *args, **kwargs), wan.class_obj)


def assert_near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


# Tests

WANS = {
    "plain": FakeWan(),
    "two text calls": FakeWan(text_calls=2),
    "an image call first": FakeWan(image_tokens=5),
    "attention after the block": FakeWan(vace=True),
    "no picture for image to video": FakeWan(picture_reads_text=True),
    "no picture for WanDancer": FakeWan(dancer=True),
    "a mask over the text": FakeWan(text_mask=True),
    "attentions that choose their backend": FakeWan(choosing=True, image_tokens=5),
}
LONGER = {  # more video than text tokens; "own" is a model that does its self-attention elsewhere
    f"{name}, {own * 'own'}": FakeWan(video_tokens=9, own_self_attention=own, **settings)
    for own in (False, True)
    for name, settings in {
        "plain": {},
        "two text calls": {"text_calls": 2},
        "an image call first": {"image_tokens": 5},
        "attention after the block": {"vace": True},
        "no picture for image to video": {"picture_reads_text": True},
    }.items()
}


REPLAYED = {"a replayed block before one of VACE": FakeWan(replayed=(0,), vace=True)}
UNHEARD = {  # as many video as text tokens and no self-attention to be seen: the one call could be either
    "no text attention was seen there. Another node replaces the attention of this model.": (
        "own_self_attention",
        True,
    ),
    "they ran without an attention call. Another node replaces or skips them, or a recording of them was replayed.": (
        "replayed",
        (0, 1, 2),
    ),
}


@pytest.mark.parametrize("why", UNHEARD)
def test_chosen_blocks_that_ran_without_a_call_for_the_text_are_named_in_the_log_once_a_run(
    why: str, caplog: pytest.LogCaptureFixture
) -> None:
    options, injected = options_for(ONE), injection(identity(0))
    for _ in range(3):
        run(wrapped(injected, FakeWan(**dict([UNHEARD[why]]))), options, rows=1)
    wanted = f"ID node: the identity did not act in blocks 0, 2: {why}"
    assert [record.getMessage() for record in caplog.records] == [wanted]


@pytest.mark.parametrize("wan", (WANS | LONGER).values(), ids=WANS | LONGER)
def test_a_pass_that_served_its_blocks_or_skipped_them_says_nothing(
    wan: FakeWan, caplog: pytest.LogCaptureFixture
) -> None:
    injected = injection(identity(0))
    run(wrapped(injected, wan), options_for(ONE), rows=1, video_tokens=wan.video_tokens)
    run(wrapped(injected, Executor(lambda x, *rest: x, FakeWan())), options_for(ONE), rows=1)
    assert caplog.records == []


@pytest.mark.parametrize("wan", (WANS | LONGER | REPLAYED).values(), ids=WANS | LONGER | REPLAYED)
@pytest.mark.parametrize("blocks", [(0, 2), (2,)])
def test_it_equals_two_plain_terms_whoever_does_the_self_attention(wan: FakeWan, blocks: tuple[int, ...]) -> None:
    z, length = identity(0), {"rows": 2, "video_tokens": wan.video_tokens}
    found = run(wrapped(injection(z, blocks=blocks), wan), options_for(BOTH), **length)
    acting = set(blocks) - set(wan.replayed)
    wanted = run(wan, options_for(BOTH), **length, added=two_terms(z, 0.8, acting, [False, True]))
    assert_near(found, wanted)
    assert (found - run(wan, options_for(BOTH), **length)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("uuids", "rows", "is_identity"),
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
def test_negative_conditions_get_the_null_identity_and_all_others_the_identity(
    uuids: list[str], rows: int, is_identity: list[bool]
) -> None:
    wan, z = FakeWan(), identity(0)
    options = options_for(uuids, cond_or_uncond=list(range(len(uuids))))  # the place in the batch is no sign
    found = run(wrapped(injection(z), wan), options, rows)
    assert_near(found, run(wan, options_for(uuids), rows, added=two_terms(z, 0.8, {0, 2}, is_identity)))


@pytest.mark.parametrize("key", [RUN, "sigmas", "uuids"])
def test_a_sampler_that_does_not_name_the_negative_conditions_is_refused(key: str) -> None:
    options = options_for(ONE)
    del options[key]
    with pytest.raises(InputError, match=f"^{NODE}: model: found a sampler that does not tell which conditioning"):
        run(wrapped(injection(identity(0)), FakeWan()), options, rows=1)


def test_keys_and_values_kept_in_fp8_give_nearly_the_same() -> None:
    wan, injected, narrow = FakeWan(), injection(identity(0)), injection(identity(0), kept_as="fp8")
    models = (wrapped(injected, wan), wrapped(narrow, wan), wan)
    exact, found, plain = (run(model, options_for(BOTH), rows=2) for model in models)
    assert (found - exact).abs().max() < 0.1 * (exact - plain).abs().max()
    caches = (injected.cache, narrow.cache)
    kept = [entry for cache in caches for entry in cache._on_device.values()]
    assert [k.itemsize for entry in kept for k, _ in entry.values()] == [4, 4, 1, 1]


def test_a_compiled_model_gives_what_the_eager_one_gives() -> None:
    model = wrapped(injection(identity(0)), FakeWan(text_calls=2))
    compiled = torch.compile(model, backend="eager")
    assert_near(run(compiled, options_for(BOTH), rows=2), run(model, options_for(BOTH), rows=2))


def test_a_compiled_model_takes_the_identity_of_each_pass_not_of_the_first() -> None:
    """The host compiles without guards on transformer_options, so nothing of them may be fixed in the compiled code."""
    video, context = inputs(1, video_tokens=9)
    x = video.flatten(2).transpose(1, 2)  # b n d

    def text_attention(x: Tensor, transformer_options: Options) -> Tensor:
        return attention(x, context, context, options=transformer_options) * 2

    def without_guards(entries: list[Any]) -> list[bool]:
        return ["transformer_options" not in entry.name for entry in entries]

    compiled = torch.compile(text_attention, backend="eager", options={"guard_filter_fn": without_guards})
    for seed, strength, block in ((0, 0.3, 0), (0, 1.5, 0), (1, 1.5, 2)):
        injected = injection(identity(seed), strength)
        override = injected.override_for(FakeWan(), video, {"context": context, "clip_fea": None}, options_for(ONE))
        options = {"block_index": block, "optimized_attention_override": override}
        term = two_terms(identity(seed), strength, {0, 2}, [True])(block, x)
        assert_near(compiled(x, options), 2 * (raw_attention(x, context, context, HEADS) + term))


def test_an_override_that_was_there_before_still_gives_the_original_attention() -> None:
    wan, z, calls = FakeWan(), identity(0), []

    def foreign(func: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, **call: Any) -> Tensor:
        calls.append(k.shape[1])
        return 2 * func(q, k, v, **call)

    with_foreign = options_for(ONE, optimized_attention_override=foreign)
    found = run(wrapped(injection(z), wan), with_foreign, rows=1)
    plain = options_for(ONE, optimized_attention_override=foreign)
    assert_near(found, run(wan, plain, rows=1, added=two_terms(z, 0.8, {0, 2}, [True])))
    assert calls == [VIDEO_TOKENS, TEXT_TOKENS] * BLOCKS * 2  # both runs, and never for the identity's term


def test_an_override_set_inside_ours_is_chained_by_whoever_sets_it() -> None:
    wan, z = FakeWan(), identity(0)

    def doubling(x: Tensor, t: Tensor, context: Tensor, clip: None, concat: None, options: Options) -> Tensor:
        earlier = options["optimized_attention_override"]
        chained = {**options, "optimized_attention_override": lambda func, *a, **c: 2 * earlier(func, *a, **c)}
        return wan(x, t, context, clip, concat, chained)

    def doubled(func: Callable[..., Tensor], *args: Any, **call: Any) -> Tensor:
        return 2 * func(*args, **call)

    found = run(wrapped(injection(z), Executor(doubling, wan)), options_for(ONE), rows=1)
    plain = options_for(ONE, optimized_attention_override=doubled)
    assert_near(found, run(wan, plain, rows=1, added=two_terms(z, 1.6, {0, 2}, [True])))


@pytest.mark.parametrize(("has_earlier", "heads"), [(False, [1] * HEADS + [HEADS] * 3), (True, [HEADS] * 8)])
def test_a_large_portrait_is_joined_by_heads_unless_another_node_attends(
    has_earlier: bool, heads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wan, called, pair = FakeWan(video_tokens=9), [], tuple(inputs(1)[1].split(3, dim=1)[:2])  # k and v, 1 3 d

    def counting(*args: Any, **call: Any) -> Tensor:
        called.append(call["heads"])
        return raw_attention(*args, **call)

    wan.blocks[0].self_attn.comfy_attention.function = counting
    more = {"optimized_attention_override": lambda func, *args, **call: counting(*args, **call)} if has_earlier else {}
    portrait = SimpleNamespace(key=lambda context: ("portrait",), keys_values=lambda context: {0: pair})
    model = wrapped(injection(identity(0), 1.0, ip=None, stand_in=portrait), wan)
    small = run(model, options_for(ONE, **more), rows=1, video_tokens=9)
    called.clear()
    monkeypatch.setattr("wan_core.adapters.inject.JOINED_BYTES", 1)
    assert_near(run(model, options_for(ONE, **more), rows=1, video_tokens=9), small)
    assert called == heads
    assert (small - run(wan, options_for(ONE), rows=1, video_tokens=9)).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("sigma", "acting"), [(1.0, 0), (0.8 + 5e-7, 1), (0.8, 1), (0.5, 1), (0.3 + 5e-7, 2), (0.3, 2), (0.3 - 5e-7, 2)]
)
def test_one_of_adjoining_ranges_acts_from_its_first_sigma_until_before_its_last(sigma: float, acting: int) -> None:
    wan, z = FakeWan(), identity(0)
    plain = run(wan, options_for(ONE, sigma), rows=1)
    for number, (start, end) in enumerate(((0.0, 0.2), (0.2, 0.7), (0.7, 1.0))):
        limited = wrapped(injection(z, start_percent=start, end_percent=end), wan)
        assert torch.equal(run(limited, options_for(ONE, sigma), rows=1), plain) != (number == acting)


def test_nothing_that_came_in_is_changed_and_nothing_is_left_behind_by_a_pass_that_fails_either() -> None:
    wan, injected = FakeWan(), injection(identity(0))
    patches = {"double_block": [lambda args: args], "attn1_patch": []}
    options = options_for(ONE, patches=patches)
    before = {**options, "patches": {key: list(value) for key, value in patches.items()}}
    first = run(wrapped(injected, wan), options, rows=1)
    assert options["patches"] == before["patches"]
    assert options.keys() == before.keys()

    def fails(args: Options) -> Options:
        raise InputError("other", found="stopped", wanted="no stop", fix="Go on.")

    with pytest.raises(InputError, match="^other: found stopped"):
        run(wrapped(injected, wan), options_for(ONE, patches={"double_block": [fails]}), rows=1)
    assert torch.equal(first, run(wrapped(injected, wan), options_for(ONE), rows=1))
