"""The cache of keys and values: what it keeps, what goes first, and what makes two keys equal."""

from __future__ import annotations

import gc
from weakref import finalize

import pytest
import torch

from wan_core.adapters.kv_cache import KeysValues, KvCache, WeakKey, size_bytes, stored_as

CPU = torch.device("cpu")
ENTRY_BYTES = 2 * 4 * 10


class Thing:
    """Something that can be referred to."""


def entry(value: float) -> KeysValues:
    return {0: (torch.full((1, 1, 10), value), torch.full((1, 1, 10), -value))}


def ask(cache: KvCache, key: str, built: list[str]) -> KeysValues:
    def build() -> KeysValues:
        built.append(key)
        return entry(float(len(built)))

    return cache.get(CPU, key, build)


def ask_alone(cache: KvCache, key: str, built: list[str]) -> KeysValues:
    """In a pass of its own."""
    cache.begin_pass(CPU)
    return ask(cache, key, built)


def held_bytes(cache: KvCache) -> tuple[int, int]:
    """On devices, and waiting in RAM."""
    return tuple(sum(map(size_bytes, entries.values())) for entries in (cache._on_device, cache._in_ram))


def test_a_narrower_type_rounds_and_holds_its_largest_value_for_what_is_beyond() -> None:
    found = stored_as({0: (torch.tensor([[[1.0, 1.03, -1e4]]]), torch.full((1, 1, 1), 1e4))}, torch.float8_e4m3fn)
    assert found[0][0].float().tolist() == [[[1.0, 1.0, -448.0]]] and found[0][1].float().item() == 448.0
    assert found[0][1].dtype == torch.float8_e4m3fn


def test_the_entry_used_longest_ago_goes_to_ram_and_comes_back_unbuilt() -> None:
    cache, built = KvCache(2 * ENTRY_BYTES, ENTRY_BYTES), []
    first = ask_alone(cache, "a", built)
    for key in ("b", "a", "c"):  # then b is the oldest
        ask_alone(cache, key, built)
    assert held_bytes(cache) == (2 * ENTRY_BYTES, ENTRY_BYTES)
    ask_alone(cache, "b", built)  # a goes
    assert built == ["a", "b", "c"]
    again = ask_alone(cache, "a", built)
    assert built == ["a", "b", "c"]
    assert torch.equal(again[0][0], first[0][0])


def test_what_one_pass_uses_stays_together_beyond_the_budget() -> None:
    cache, built = KvCache(2 * ENTRY_BYTES, 10 * ENTRY_BYTES), []
    for _ in range(3):
        cache.begin_pass(CPU)
        for key in ("a", "b", "c"):
            ask(cache, key, built)
        assert held_bytes(cache) == (3 * ENTRY_BYTES, 0)
    assert built == ["a", "b", "c"]


@pytest.mark.parametrize("is_resting", [False, True])
def test_entries_of_what_is_gone_are_dropped(is_resting: bool) -> None:
    cache, model, other = KvCache(10 * ENTRY_BYTES, 10 * ENTRY_BYTES), Thing(), Thing()
    for key in (("portrait", (WeakKey(thing), "weights")) for thing in (model, other)):
        cache.get(CPU, key, lambda: entry(1.0))
    if is_resting:
        cache.rest()
    finalize(model, cache.drop_gone)
    del model
    gc.collect()
    assert sum(held_bytes(cache)) == ENTRY_BYTES
    cache.clear()
    assert held_bytes(cache) == (0, 0)


def test_what_goes_while_the_cache_is_at_work_is_dropped_at_rest() -> None:
    cache, model = KvCache(10 * ENTRY_BYTES, 10 * ENTRY_BYTES), Thing()
    cache.get(CPU, WeakKey(model), lambda: entry(1.0))
    with cache._lock:
        del model
        cache.drop_gone()
    cache.rest()
    assert held_bytes(cache) == (0, 0)


def test_at_rest_nothing_is_left_on_the_device_and_what_fits_nowhere_is_dropped_and_built_anew() -> None:
    cache, built = KvCache(10 * ENTRY_BYTES, ENTRY_BYTES), []
    ask(cache, "a", built)
    ask(cache, "b", built)
    cache.rest()
    assert held_bytes(cache) == (0, ENTRY_BYTES)
    ask(cache, "b", built)
    assert built == ["a", "b"]
    ask(cache, "a", built)
    assert built == ["a", "b", "a"]


def test_an_error_while_building_leaves_nothing_behind() -> None:
    cache, built = KvCache(10 * ENTRY_BYTES, 0), []

    def fails() -> KeysValues:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get(CPU, "a", fails)
    assert held_bytes(cache) == (0, 0)
    ask(cache, "a", built)
    assert built == ["a"]


def test_a_living_object_is_equal_to_itself_alone_and_to_nothing_once_it_is_gone() -> None:
    one, other = Thing(), Thing()
    first, second = WeakKey(one), WeakKey(one)
    assert first == second != WeakKey(other)
    assert hash(first) == hash(second)
    del one
    gc.collect()
    assert first != second
