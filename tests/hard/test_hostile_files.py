"""Hostile paths and files, thousands of them, against our own readers and writers in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hard.hostile import BOMBS, MIB
from tests.host.live import ROOT, prepare_base

P99_MS = 50.0  # CPU time of a weight file; a film is decoded and scored
GROWTH_MIB = 64.0
SWELLING = 8  # times the file may become in memory, beside the growth that is free
RUN_MIB = 2048  # what any run of an ONNX network may take
SHOWN = 20  # faults in a message

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork; would prove what hostile files can do")


@pytest.fixture
def base(tmp_path: Path, models_dir: Path, host_dir: Path) -> Path:
    return prepare_base(tmp_path / "base", models_dir)


def attack(job: str, base: Path, count: int) -> dict[str, Any]:
    """The figures of one job; a process that dies fails the test."""
    command = [sys.executable, str(ROOT / "tests" / "hard" / "child.py"), job, str(base), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{job} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def faults(outcomes: dict[str, int]) -> list[str]:
    """Every answer that is neither a result nor an error of ours."""
    return [name for name in outcomes if name not in ("used", "refused")][:SHOWN]


@pytest.mark.timeout(1200)
def test_no_path_leads_out_of_the_hosts_folders(
    base: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    tried = count(30_000)
    found = attack("paths", base, tried)
    assert found["escapes"][:SHOWN] == []
    assert found["is_unchanged"]
    assert faults(found["outcomes"]) == []
    assert min(found["outcomes"].values()) > tried // 50  # both happen: it is no wall that lets nothing through
    report(f"paths: {tried} values into 8 inputs and every sixth into 2 more, 0 escapes, {found['outcomes']}")


@pytest.mark.timeout(1200)
def test_a_damaged_file_is_refused_by_a_sentence_or_read(
    base: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    tried = count(10_000, 400)
    found = attack("damage", base, tried)
    assert set(found["good"].values()) == {"used"}  # before they are damaged
    assert faults(found["outcomes"]) == []
    p99_ms = {kind: time_ms for kind, time_ms in found["p99_ms"].items() if kind != ".mp4"}
    assert max(p99_ms.values()) < P99_MS, p99_ms
    assert found["grown_mib"] <= GROWTH_MIB
    times = ", ".join(f"{kind} {time_ms:.0f} ms" for kind, time_ms in found["p99_ms"].items())
    report(f"damaged files: {tried}, {found['outcomes']}, p99 {times}, RAM {found['grown_mib']:+.0f} MiB")


@pytest.mark.timeout(1200)
def test_a_small_file_does_not_become_a_large_one(
    base: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    found = attack("bombs", base, count(60, len(BOMBS)))
    assert set(found["good"].values()) == {"used"}
    large = [
        f"{name} of {size_bytes} bytes: {answer}, {more_bytes / MIB:.0f} MiB more than a good one"
        for name, answer, size_bytes, more_bytes in found["bombs"]
        if answer not in ("used", "refused")
        or more_bytes > SWELLING * size_bytes + (RUN_MIB if name.endswith(".onnx") else GROWTH_MIB) * MIB
    ]
    assert large == []
    most_mib = max(more_bytes for *_, more_bytes in found["bombs"]) / MIB
    report(f"files that swell: {len(found['bombs'])}, at most {most_mib:.0f} MiB more RAM than a good one")
