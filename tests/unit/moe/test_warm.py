"""Touching weights brings their file into RAM, within its budget, and stops when told."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from wan_core.moe.warm import CHUNK_BYTES, PAGE_BYTES, touch

SIZE = 8 << 20


def resident_bytes(path: Path) -> int:
    """How much of this process's mapping of a file is in RAM."""
    of_file = False
    for line in Path("/proc/self/smaps").read_text(encoding="ascii").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            of_file = line.endswith(str(path))
        elif of_file and line.startswith("Rss:"):
            return 1024 * int(line.split()[1])
    raise AssertionError(f"{path} is not mapped")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc to see what is in RAM")
def test_every_page_of_a_mapped_file_is_in_ram_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(SIZE))
    mapped = torch.from_file(str(path), shared=True, size=SIZE, dtype=torch.uint8)
    before = resident_bytes(path)
    assert touch([mapped], SIZE, lambda: False) == SIZE
    assert before < SIZE // 2
    assert resident_bytes(path) == SIZE


def test_parts_that_do_not_fit_the_budget_are_left() -> None:
    parts = [torch.zeros(3 * PAGE_BYTES, dtype=torch.uint8) for _ in range(4)]
    assert touch(parts, 7 * PAGE_BYTES, lambda: False) == 6 * PAGE_BYTES
    assert touch(parts, 3 * PAGE_BYTES - 1, lambda: False) == 0
    assert touch(parts, -1, lambda: False) == 0


def test_it_looks_at_whether_to_stop_between_parts_and_within_a_long_one() -> None:
    answers = iter([False, False, True])
    part = torch.zeros(CHUNK_BYTES, dtype=torch.uint8)
    assert touch([part, part, part], 10 * CHUNK_BYTES, lambda: next(answers)) == 2 * CHUNK_BYTES
    answers = iter([False, True])
    long = torch.zeros(2 * CHUNK_BYTES, dtype=torch.uint8)
    assert touch([long], 10 * CHUNK_BYTES, lambda: next(answers)) == CHUNK_BYTES


def test_nothing_is_written() -> None:
    part = torch.arange(256, dtype=torch.uint8).repeat(64)
    before = part.clone()
    touch([part, part[:100], part[:0]], 1 << 20, lambda: False)
    assert torch.equal(part, before)
