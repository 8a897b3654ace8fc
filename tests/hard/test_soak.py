"""Mixed prompts one after another on a host of their own: memory, files and threads stay as they are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.id_lock_runs import LITE, REF, locked, person
from tests.host.live import Client, Graph, prepare_base
from tests.host.recipes import Link

SLOPE_MIB = 0.05  # a prompt
FIT_FROM = 20  # measurements, one in five prompts, after the half in which pools and caches fill; fewer show no slope
IDENTITIES = 3


@pytest.fixture
def host(host_dir: Path, models_dir: Path, tmp_path: Path) -> Iterator[HostServer]:
    """A host that keeps the results of the last prompt alone, so that what grows is not its cache."""
    base = prepare_base(tmp_path, models_dir)
    with HostServer(sys.executable, host_dir, base, extra_args=["--cache-classic"]) as server:
        yield server


def mixed(graph: Graph, number: int) -> Link:
    """The next job: an identity, a locked run, a plain one, a decode, a film."""
    noise = graph.make(latent=[1, 16, 2, 8, 8], use=number)
    match number % 5:
        case 0:
            return recipes.identity(graph)
        case 1:
            identity = person(graph, number % IDENTITIES)
            models = [recipes.model(graph, name) for name in (recipes.HIGH, recipes.LOW)]
            high, low = (locked(graph, model, LITE | REF, identity=identity) for model in models)
            return recipes.moe_sample(graph, model_high=high, model_low=low, latent_image=noise, steps=2)
        case 2:
            return recipes.moe_sample(graph, latent_image=noise, steps=2)
        case 3:
            return recipes.decoded(graph, samples=noise)
    return [recipes.decoded_to_video(graph, samples=noise)[0], 1]


@pytest.mark.timeout(1500)
@pytest.mark.skipif(not hasattr(psutil.Process, "num_fds"), reason="counts open files; would prove that none is left")
def test_nothing_grows(host: HostServer, count: Callable[..., int], report: Callable[[str], None]) -> None:
    client, process = Client(host.url), psutil.Process(host.process.pid)
    prompts, seen = count(400, 20), []
    for number in range(prompts):
        graph = Graph()
        graph.hash(mixed(graph, number))
        client.run(graph)
        if number % 5 == 4:
            seen.append((number, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()))
    numbers, rss_mib, files, threads = np.array(seen).T
    half = len(seen) // 2
    slope_mib = np.polyfit(numbers[half:], rss_mib[half:], 1)[0]
    more_files, more_threads = (min(row[half:]) - min(row[:half]) for row in (files, threads))
    report(
        f"soak: {prompts} prompts, RAM {slope_mib:+.3f} MiB a prompt, files {more_files:+g}, threads {more_threads:+g}"
    )
    assert more_files <= 0
    assert more_threads <= 0
    if half >= FIT_FROM:
        assert slope_mib <= SLOPE_MIB, list(rss_mib)
