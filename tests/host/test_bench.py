"""The benchmarks of tests/bench still run: those on the live host, and those for a GPU at toy size on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import bench_identity, bench_moe, bench_nodes
from tests.bench.bench_nodes import COMPARISONS, Comparison, compare
from tests.host.live import ROOT, Client

Figures = dict[str, dict[str, float]]
AS_IT_WAS = {"as it was": 1.0}
SLOW_MACHINE = 10  # times the goal of a figure: what no processor may need


def run_at_toy_size(script: str, host_dir: Path, folder: Path, *arguments: str, finished: str) -> Figures:
    """The figures that a script for a GPU takes on the CPU, with one that was taken before and must be left alone."""
    results = (folder / script).with_suffix(".json")
    results.write_text(json.dumps({finished: {"figures": AS_IT_WAS}}), encoding="ascii")
    options = ("--device", "cpu", "--tiny", "--dtype", "fp8_e4m3fn", "--models", folder, "--out", folder, *arguments)
    environment = {**os.environ, "PYTHONPATH": str(host_dir)}
    command = [sys.executable, ROOT / "tests" / "bench" / script, *options]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    figures = {key: entry["figures"] for key, entry in json.loads(results.read_text(encoding="ascii")).items()}
    assert figures.pop(finished) == AS_IT_WAS
    return figures


@pytest.mark.parametrize("comparison", (*COMPARISONS, *bench_moe.COMPARISONS), ids=lambda comparison: comparison.name)
def test_one_round_gives_a_ratio(client: Client, comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench_nodes.VIDEO, "size_px", 64)
    monkeypatch.setitem(bench_nodes.VIDEO, "frames", 5)
    line = compare(client, comparison, rounds=1)
    assert line.startswith(comparison.name)
    figures = re.search(r"ours +(\S+) s +stock +(\S+) s +ratio +(\S+)", line).groups()
    assert all(float(figure) > 0 for figure in figures)


def test_the_router_and_a_cache_hit_cost_next_to_nothing() -> None:
    overhead = bench_moe.router_overhead(bench_moe.SIZES["64 x 64, 9 frames"], loops=3)
    assert 0.0 < overhead.rest_us < SLOW_MACHINE * bench_moe.GOAL_US
    assert 0.0 < bench_identity.hit_us(hits=200) < SLOW_MACHINE * bench_identity.HIT_GOAL_US


def test_the_gpu_script_runs_at_toy_size_and_takes_no_figure_twice(host_dir: Path, tmp_path: Path) -> None:
    kind = "fp8_e4m3fn.static"
    phases = ("--phases", "step", "memory", "swap")
    figures = run_at_toy_size("gpu_moe.py", host_dir, tmp_path, *phases, finished=f"{kind}.memory.tiny")
    step, swap = figures[f"{kind}.step.tiny"], figures[f"{kind}.swap.tiny"]
    assert step["largest_difference"] == 0.0
    assert step["ours_s"] > 0.0 and swap["in_ram.step_s"] > 0.0 and swap["in_ram_warmed.step_s"] > 0.0


def test_the_identity_gpu_script_runs_at_toy_size_and_takes_no_figure_twice(host_dir: Path, tmp_path: Path) -> None:
    video = "cpu.fp8_e4m3fn.static.64x64.5"
    figures = run_at_toy_size("gpu_identity.py", host_dir, tmp_path, finished=f"{video}.lynx_ref.tiny")
    rows = {"stand_in": 1024, "lynx_lite": 2 * 16, "lynx_full": 2 * (16 + 4)}  # tokens; lite acts in one block of two
    blocks = {"stand_in": 2, "lynx_lite": 1, "lynx_full": 2}
    assert figures.keys() == {f"{video}.{kind}.tiny" for kind in rows}
    for kind in rows:
        found = figures[f"{video}.{kind}.tiny"]
        assert found["effect"] > 0.01 and found["plain_s"] > 0.0 and found["with_s"] > 0.0 and found["lock_s"] > 0.0
        assert found["kept_gb"] == pytest.approx(2 * rows[kind] * blocks[kind] * 256 * 4 / 1e9)  # k, v; fp32 on a CPU
