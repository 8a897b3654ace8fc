"""Fetching weights into RAM ahead of their use, by reading a byte of every page they lie on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

PAGE_BYTES = 4096
CHUNK_BYTES = 64 << 20  # between two looks at whether to stop


def touch(parts: Sequence[Tensor], budget_bytes: int, should_stop: Callable[[], bool]) -> int:
    """Reads every page behind ``parts`` (n bytes each, in RAM or mapped from a file) and returns how many bytes.

    It ends early when the budget is spent or when it should stop; it writes nothing.
    """
    done_bytes = 0
    for part in parts:
        for start in range(0, len(part), CHUNK_BYTES):
            chunk = part[start : start + CHUNK_BYTES]
            if should_stop() or done_bytes + len(chunk) > budget_bytes:
                return done_bytes
            chunk[::PAGE_BYTES].max()
            done_bytes += len(chunk)
    return done_bytes
