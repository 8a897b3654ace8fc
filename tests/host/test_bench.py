"""The benchmarks of tests/bench still run: those on the live host, and the one for a GPU at toy size on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import bench_moe
from tests.bench.bench_nodes import COMPARISONS, Comparison, compare
from tests.host.live import ROOT, Client


@pytest.mark.parametrize("comparison", (*COMPARISONS, *bench_moe.COMPARISONS), ids=lambda comparison: comparison.name)
def test_one_round_gives_a_ratio(client: Client, comparison: Comparison) -> None:
    line = compare(client, comparison, rounds=1)
    assert line.startswith(comparison.name)
    figures = re.search(r"ours +(\S+) s +stock +(\S+) s +ratio +(\S+)", line).groups()
    assert all(float(figure) > 0 for figure in figures)


def test_the_router_costs_less_than_a_millisecond_beside_its_look_for_nan() -> None:
    overhead = bench_moe.router_overhead(bench_moe.SIZES["64 x 64, 9 frames"], loops=3)
    assert 0.0 < overhead.rest_us < bench_moe.GOAL_US


def test_the_gpu_script_runs_at_toy_size_and_takes_no_figure_twice(host_dir: Path, tmp_path: Path) -> None:
    command = [
        sys.executable, ROOT / "tests" / "bench" / "gpu_moe.py", "--device", "cpu", "--tiny", "--dtype", "fp8_e4m3fn",
        "--models", tmp_path, "--out", tmp_path, "--phases", "step", "memory", "swap",
    ]
    results = tmp_path / "gpu_moe.json"
    results.write_text(json.dumps({"fp8_e4m3fn.static.memory.tiny": {"figures": {"as it was": 1.0}}}), encoding="ascii")
    environment = {**os.environ, "PYTHONPATH": str(host_dir)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    figures = {key: entry["figures"] for key, entry in json.loads(results.read_text(encoding="ascii")).items()}
    assert figures["fp8_e4m3fn.static.memory.tiny"] == {"as it was": 1.0}
    step, swap = (figures[f"fp8_e4m3fn.static.{phase}.tiny"] for phase in ("step", "swap"))
    assert step["largest_difference"] == 0.0
    assert step["ours_s"] > 0.0 and swap["in_ram.step_s"] > 0.0 and swap["in_ram_warmed.step_s"] > 0.0
