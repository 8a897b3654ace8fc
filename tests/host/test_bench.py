"""The benchmarks of tests/bench still run: those on the live host, and the one for a GPU at toy size on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import bench_identity, bench_moe
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
        sys.executable,
        ROOT / "tests" / "bench" / "gpu_moe.py",
        "--device",
        "cpu",
        "--tiny",
        "--dtype",
        "fp8_e4m3fn",
        "--models",
        tmp_path,
        "--out",
        tmp_path,
        "--phases",
        "step",
        "memory",
        "swap",
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


@pytest.mark.parametrize("name", bench_identity.KINDS)
def test_a_lock_costs_time(client: Client, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(bench_identity, "STEPS", 2)
    monkeypatch.setattr(bench_identity, "VIDEO", {"size_px": 64, "frames": 5})
    line = bench_identity.compare(client, name, rounds=1)
    figures = re.search(r"plain +(\S+) ms +with +(\S+) ms +added +(\S+) ms .* first step +[+-]\S+ ms", line).groups()
    plain_ms, with_ms, added_ms = map(float, figures)
    assert plain_ms > 0 and with_ms > 0 and added_ms == pytest.approx(with_ms - plain_ms, abs=0.2)


def test_a_cache_hit_takes_less_than_a_millisecond() -> None:
    assert 0.0 < bench_identity.hit_us(hits=200) < bench_identity.HIT_GOAL_US


def test_the_identity_gpu_script_runs_at_toy_size_and_takes_no_figure_twice(host_dir: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        ROOT / "tests" / "bench" / "gpu_identity.py",
        "--device",
        "cpu",
        "--tiny",
        "--dtype",
        "fp8_e4m3fn",
        "--models",
        tmp_path,
        "--out",
        tmp_path,
    ]
    video = "cpu.fp8_e4m3fn.static.64x64.5"
    results = tmp_path / "gpu_identity.json"
    results.write_text(json.dumps({f"{video}.lynx_ref.tiny": {"figures": {"as it was": 1.0}}}), encoding="ascii")
    environment = {**os.environ, "PYTHONPATH": str(host_dir)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    figures = {key: entry["figures"] for key, entry in json.loads(results.read_text(encoding="ascii")).items()}
    assert figures.pop(f"{video}.lynx_ref.tiny") == {"as it was": 1.0}
    rows = {"stand_in": 1024, "lynx_lite": 2 * 16, "lynx_full": 2 * (16 + 4)}  # tokens; lite acts in one block of two
    blocks = {"stand_in": 2, "lynx_lite": 1, "lynx_full": 2}
    for kind in rows:
        found = figures.pop(f"{video}.{kind}.tiny")
        assert found["effect"] > 0.01 and found["plain_s"] > 0.0 and found["with_s"] > 0.0 and found["lock_s"] > 0.0
        assert found["kept_gb"] == pytest.approx(2 * rows[kind] * blocks[kind] * 256 * 4 / 1e9)  # k, v; fp32 on a CPU
    assert not figures
