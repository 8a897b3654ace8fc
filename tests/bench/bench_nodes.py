"""Our sampler and decoder timed against the host's own on the miniature networks, in turn, on one live host.

Usage: python dev.py bench nodes. Figures are medians of whole prompts and their ratio (ours / stock), so a slow machine
slows both sides.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from devtools.server import HostServer, torch_finds_cuda  # noqa: E402
from tests.host import recipes  # noqa: E402
from tests.host.live import Client, Graph, Run, prepare_base  # noqa: E402

ROUNDS = 7
STEPS = 12
VIDEO = {"size_px": 128, "frames": 33}
Build = Callable[[Graph, int], list[Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One of our nodes and the host's own for the same job."""

    name: str
    ours: Build
    stock: Build


def job(graph: Graph, seed: int) -> dict[str, Any]:
    return {"latent_image": recipes.latent(graph, **VIDEO), "seed": seed, "steps": STEPS}


def stock_sampling(graph: Graph, seed: int) -> list[Any]:
    return recipes.stock_sample(graph, recipes.model(graph), **job(graph, seed))


def our_sampling(graph: Graph, seed: int) -> list[Any]:
    return recipes.moe_sample(graph, **job(graph, seed))


def decoding(class_type: str) -> Build:
    def build(graph: Graph, seed: int) -> list[Any]:
        latent = graph.make(latent=[1, 16, 21, 16, 16], round=seed)  # a new spec, so that nothing comes from the cache
        return graph.add(class_type, samples=latent, vae=recipes.vae21(graph))[0]

    return build


COMPARISONS = (
    Comparison(f"MoESampler / KSampler, {STEPS} steps euler", our_sampling, stock_sampling),
    Comparison("HighCompressionVAEDecode / VAEDecode", decoding("HighCompressionVAEDecode"), decoding("VAEDecode")),
)


def seconds(run: Run) -> float:
    """How long the prompt ran, by the host's own clock."""
    stamps_ms = {event: data["timestamp"] for event, data in run.entry["status"]["messages"]}
    return (stamps_ms["execution_success"] - stamps_ms["execution_start"]) / 1000.0


def timed(client: Client, build: Build, seed: int) -> float:
    """Seconds for one prompt that ends in this output."""
    graph = Graph()
    graph.hash(build(graph, seed))
    return seconds(client.run(graph))


def compare(client: Client, comparison: Comparison, rounds: int = ROUNDS) -> str:
    """One line: both medians and their ratio, after a warm-up of each."""
    sides = (comparison.ours, comparison.stock)
    times_s = [[timed(client, side, seed) for side in sides] for seed in range(rounds + 1)]
    ours_s, stock_s = (statistics.median(side) for side in zip(*times_s[1:], strict=True))
    return f"{comparison.name:<50} ours {ours_s:6.3f} s   stock {stock_s:6.3f} s   ratio {ours_s / stock_s:5.2f}"


@contextmanager
def live_client() -> Iterator[Client]:
    """A client of a host that lives as long as the block."""
    host = Path(os.environ.get("WANCAST_HOST", ROOT / ".host"))
    models = Path(os.environ.get("WANCAST_MODELS", ROOT / ".cache" / "demo" / "models"))
    with tempfile.TemporaryDirectory() as folder:
        base = prepare_base(Path(folder), models)
        with HostServer(sys.executable, host, base, cpu=not torch_finds_cuda(sys.executable)) as server:
            yield Client(server.url)


def main() -> None:
    """Prints a line for each comparison."""
    with live_client() as client:
        for comparison in COMPARISONS:
            sys.stdout.write(compare(client, comparison) + "\n")


if __name__ == "__main__":
    main()
