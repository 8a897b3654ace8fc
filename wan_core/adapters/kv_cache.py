"""Projected keys and values that outlive a run, least recently used first to go."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from weakref import ref

import torch
from torch import Tensor

DeviceKey = tuple[Hashable, str]  # what an entry is, and its device
KeysValues = dict[int, tuple[Tensor, Tensor]]  # by block of the Wan model: keys and values, b n d each


def size_bytes(entry: KeysValues) -> int:
    """The bytes of all tensors of an entry."""
    return sum(tensor.nbytes for pair in entry.values() for tensor in pair)


def stored_as(entry: KeysValues, dtype: torch.dtype) -> KeysValues:
    """The same keys and values in a narrower type; what it cannot hold takes its largest value."""
    most = torch.finfo(dtype).max
    return {block: (k.clamp(-most, most).to(dtype), v.clamp(-most, most).to(dtype)) for block, (k, v) in entry.items()}


def to_device(entry: KeysValues, device: torch.device) -> KeysValues:
    """The same keys and values on a device."""
    return {block: (k.to(device), v.to(device)) for block, (k, v) in entry.items()}


class WeakKey:
    """A living object as a part of a key: equal to itself alone, and to nothing any more once it is gone."""

    def __init__(self, value: object) -> None:
        self._ref = ref(value)
        self._hash = id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        value = self._ref()
        return isinstance(other, WeakKey) and value is not None and value is other._ref()

    @property
    def is_gone(self) -> bool:
        """Whether the object no longer lives."""
        return self._ref() is None


def is_gone(key: Hashable) -> bool:
    """Whether some object that a key holds no longer lives: no key will ever be equal to it."""
    return key.is_gone if isinstance(key, WeakKey) else isinstance(key, tuple) and any(map(is_gone, key))


class KvCache:
    """Entries by key: the latest stay on their device, older ones wait in RAM, the oldest are dropped.

    What one pass uses stays on its device whatever its size. Threads may share a cache, one for each device.
    """

    def __init__(self, device_budget_bytes: int, ram_budget_bytes: int) -> None:
        self._device_budget, self._ram_budget = device_budget_bytes, ram_budget_bytes
        self._on_device: OrderedDict[DeviceKey, KeysValues] = OrderedDict()
        self._in_ram: OrderedDict[DeviceKey, KeysValues] = OrderedDict()
        self._in_pass: dict[str, set[DeviceKey]] = {}  # by device: the keys that its present pass has asked for
        self._lock = Lock()

    def begin_pass(self, device: torch.device) -> None:
        """From here on only what is asked for anew must stay on the device."""
        with self._lock:
            self._in_pass[str(device)] = set()

    def get(self, device: torch.device, key: Hashable, build: Callable[[], KeysValues]) -> KeysValues:
        """The entry of a key on ``device``, built if there is none; an error while building leaves nothing behind."""
        own = key, str(device)
        with self._lock:
            entry = self._on_device.pop(own, None)
            if entry is None and own in self._in_ram:
                entry = to_device(self._in_ram.pop(own), device)
        if entry is None:
            entry = build()
        with self._lock:
            self._on_device[own] = entry
            self._in_pass.setdefault(str(device), set()).add(own)
            self._shrink(str(device))
        return entry

    def rest(self) -> None:
        """Moves every entry to RAM, as far as the budget goes, and drops those of models that are gone."""
        with self._lock:
            for key in list(self._on_device):
                self._park(key)
            self._drop_gone()
            self._shrink_ram()

    def drop_gone(self) -> None:
        """Drops the entries of models that are gone; while the cache is at work it waits for the next rest instead."""
        if self._lock.acquire(blocking=False):  # a model may go at any time, also while this very thread is in here
            try:
                self._drop_gone()
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Drops every entry."""
        with self._lock:
            self._on_device.clear()
            self._in_ram.clear()

    def _drop_gone(self) -> None:
        for entries in (self._on_device, self._in_ram):
            for key in list(filter(is_gone, entries)):
                del entries[key]

    def _shrink(self, device: str) -> None:
        own = OrderedDict((key, entry) for key, entry in self._on_device.items() if key[1] == device)
        for key in list(own):
            if key not in self._in_pass[device] and _total(own) > self._device_budget:
                del own[key]
                self._park(key)
        self._shrink_ram()

    def _shrink_ram(self) -> None:
        while self._in_ram and _total(self._in_ram) > self._ram_budget:
            self._in_ram.popitem(last=False)

    def _park(self, key: DeviceKey) -> None:
        self._in_ram[key] = to_device(self._on_device.pop(key), torch.device("cpu"))


def _total(entries: OrderedDict[DeviceKey, KeysValues]) -> int:
    return sum(map(size_bytes, entries.values()))
