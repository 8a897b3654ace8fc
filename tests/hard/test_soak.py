"""Every node's job, one after another, on a host of its own: memory, files and threads stay as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from devtools.server import HostServer
from tests.host.live import Client, Graph, prepare_base
from tests.host.test_inputs_stay import NODES, sources

GIVES_BACK = {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}  # has glibc give freed memory back
SLOPE_MIB = 0.05  # a prompt
WINDOW = 4  # rounds, of which the least counts: models and pictures come and go
FIT_FROM = 15  # measurements, one a round, after the half in which pools and caches fill; fewer show no slope


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="counts open files; would prove that none is left")
def test_nothing_grows(
    host_dir: Path, models_dir: Path, tmp_path: Path, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    """The host keeps the results of the last prompt alone, so that what grows is not its cache."""
    prompts, seen = count(400, 4 * len(NODES)), []
    base = prepare_base(tmp_path, models_dir)
    with HostServer(sys.executable, host_dir, base, extra_env=GIVES_BACK, extra_args=["--cache-classic"]) as host:
        client, process = Client(host.url), psutil.Process(host.process.pid)
        for number in range(prompts):
            build, names = list(NODES.values())[number % len(NODES)]
            graph = Graph()
            graph.hash(build(graph, **sources(graph, *names)))
            client.run(graph)
            if number % len(NODES) == len(NODES) - 1:
                seen.append((number, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))
    numbers, rss_mib, files, threads = np.array(seen).T
    half = len(seen) // 2
    floors_mib = np.lib.stride_tricks.sliding_window_view(rss_mib, WINDOW)[half:].min(axis=1)
    is_long = half >= FIT_FROM
    slope_mib = np.polyfit(numbers[half : half + len(floors_mib)], floors_mib, 1)[0] if is_long else 0.0
    more_files, more_threads = (min(row[half:]) - max(row[:half]) for row in (files, threads))  # a leak goes on
    ram = f"{slope_mib:+.3f} MiB a prompt" if is_long else "not judged in so few"
    report(f"soak: {prompts} prompts, RAM {ram}, files {more_files:+g}, threads {more_threads:+g}")
    assert more_files <= 0
    assert more_threads <= 0
    assert slope_mib <= SLOPE_MIB, list(rss_mib)
