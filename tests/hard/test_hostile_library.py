"""The library of characters under many writers at once, kills at every step, and damaged files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.hard.conftest import PERCENT
from tests.host.live import ROOT

JOBS = {
    "updates": (50, 4),
    "kills": (100, 4),
    "limits": (10, 10),
    "read_only": (1, 1),
    "damage": (2000, 100),
}  # full, least
SLOWEST_S = 1.0  # of a processor
GROWTH_MIB = 64.0
SHOWN = 20  # faults in a message

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork; would prove that no record is lost")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all attacks found; a process that dies fails the test."""
    folder = tmp_path_factory.mktemp("libraries")
    jobs = [f"{job}={max(least, round(full * PERCENT / 100))}" for job, (full, least) in JOBS.items()]
    command = [sys.executable, str(ROOT / "tests" / "hard" / "library_child.py"), str(folder), *jobs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"It ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.timeout(1200)
def test_every_change_is_kept_or_refused_and_no_read_is_torn(
    figures: dict[str, Any], report: Callable[[str], None]
) -> None:
    found = figures["updates"]
    assert found["statuses"] == [0, 0]
    assert found["answers"] == 2 * 4 * found["each"]
    assert found["are_all_kept"]
    assert found["torn"] == []
    assert found["is_in_order"]
    assert found["files"]
    assert min(found["applied"], found["reads"]) > found["each"] // 2
    answers = f"{found['applied']} applied, {found['answers'] - found['applied']} refused"
    report(f"library: {found['answers']} changes by 2 processes of 4 threads, {answers}, {found['reads']} whole reads")


def test_a_killed_change_leaves_the_old_character_or_the_new(
    figures: dict[str, Any], report: Callable[[str], None]
) -> None:
    found = figures["kills"]
    assert found["wrong"][:SHOWN] == []
    assert set(found["died"]) == {"9"}
    assert min(found["steps"][name] for name in ("save", "edit", "edit of version 0")) >= 20
    report(f"library: {sum(found['died'].values())} kills, steps {found['steps']}, every record old or new")


def test_a_disk_without_room_leaves_the_old_characters(figures: dict[str, Any], report: Callable[[str], None]) -> None:
    found = figures["limits"]
    assert list(found["said"]) == ["no room left on the disk of the library"]
    assert sum(found["said"].values()) == 30
    assert found["is_unchanged"]
    report("library: 3 changes at each of 10 limits of a file's size, all refused, nothing left")


def test_a_folder_that_may_only_be_read_is_told_and_stays(figures: dict[str, Any]) -> None:
    found = figures["read_only"]
    assert found["said"] == ["a library that cannot be used ('Permission denied')"] * 3 + ["1 listed"]
    assert found["is_unchanged"]


def test_a_damaged_character_is_refused_by_a_sentence_or_read(
    figures: dict[str, Any], report: Callable[[str], None]
) -> None:
    found = figures["damage"]
    tried = sum(found["outcomes"].values())
    assert [name for name in found["outcomes"] if name not in ("used", "refused")][:SHOWN] == []
    assert min(found["outcomes"].values()) > tried // 100  # both happen
    assert found["slowest_s"] < SLOWEST_S
    assert found["grown_mib"] <= GROWTH_MIB
    times = f"slowest {found['slowest_s'] * 1000:.0f} ms, RAM {found['grown_mib']:+.0f} MiB"
    report(f"library: {tried} damaged files, {found['outcomes']}, {times}")
