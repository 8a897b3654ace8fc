"""The library of characters under many writers at once, kills at every step, and damaged files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host.live import ROOT

SLOWEST_S = 1.0
GROWTH_MIB = 64.0
SHOWN = 20  # faults in a message

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork; would prove that no record is lost")


def attack(job: str, folder: Path, count: int) -> dict[str, Any]:
    """The figures of one job; a process that dies fails the test."""
    command = [sys.executable, str(ROOT / "tests" / "hard" / "library_child.py"), job, str(folder), str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{job} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(600)
def test_every_change_is_kept_or_refused_and_no_read_is_torn(
    tmp_path: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    each = count(50, 4)
    found = attack("updates", tmp_path / "characters", each)
    assert found["statuses"] == [0, 0]
    assert found["answers"] == 2 * 4 * each
    assert found["are_all_kept"]
    assert found["torn"] == []
    assert found["is_in_order"]
    assert found["files"]
    assert min(found["applied"], found["reads"]) > each // 2
    answers = f"{found['applied']} applied, {found['answers'] - found['applied']} refused"
    report(f"library: {found['answers']} changes by 2 processes of 4 threads, {answers}, {found['reads']} whole reads")


@pytest.mark.timeout(600)
def test_a_killed_change_leaves_the_old_character_or_the_new(
    tmp_path: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    found = attack("kills", tmp_path, count(100, 4))
    assert found["wrong"][:SHOWN] == []
    assert set(found["died"]) == {"9"}
    assert min(found["steps"][name] for name in ("save", "edit", "edit of version 0")) >= 20
    report(f"library: {sum(found['died'].values())} kills, steps {found['steps']}, every record old or new")


def test_a_disk_without_room_leaves_the_old_characters(tmp_path: Path, report: Callable[[str], None]) -> None:
    found = attack("limits", tmp_path / "characters", 10)
    assert list(found["said"]) == ["no room left on the disk of the library"]
    assert found["is_unchanged"]
    report(f"library: {sum(found['said'].values())} changes at 10 limits of a file's size, all refused, nothing left")


@pytest.mark.timeout(600)
def test_a_damaged_character_is_refused_by_a_sentence_or_read(
    tmp_path: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    tried = count(2000, 100)
    found = attack("damage", tmp_path / "characters", tried)
    assert [name for name in found["outcomes"] if name not in ("used", "refused")][:SHOWN] == []
    assert min(found["outcomes"].values()) > tried // 100  # both happen
    assert found["slowest_s"] < SLOWEST_S
    assert found["grown_mib"] <= GROWTH_MIB
    times = f"slowest {found['slowest_s'] * 1000:.0f} ms, RAM {found['grown_mib']:+.0f} MiB"
    report(f"library: {tried} damaged files, {found['outcomes']}, {times}")
