"""The order of accuracy of one run over two experts, against two samplers in a row, on a flow with a known solution.

Usage: python dev.py bench moe_order. It prints the errors and the slopes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.bench_nodes import live_client  # noqa: E402
from tests.host import recipes  # noqa: E402
from tests.host.live import Client, Graph, Node  # noqa: E402

SAMPLERS = ("dpmpp_2m", "uni_pc")
STEPS = (10, 20, 40, 80, 160)
SHAPE = (1, 16, 3, 8, 8)  # b c t h w
SEED = 5
SIGMA_FROM, SIGMA_TO = 0.98, 0.05  # uniform in log sigma: the switch in the middle is at 0.22
DEVIATION = 0.3  # of the data, around 0; signal and noise are equal at sigma 0.23, where the experts change


@dataclass(frozen=True, slots=True)
class Series:
    """The errors of one sampler over the numbers of steps."""

    sampler: str
    one_run: bool  # MoESampler, or else two stock samplers in a row
    steps: Sequence[int]
    errors: Sequence[float]  # L2 distance to the exact solution as a share of it

    @property
    def label(self) -> str:
        return f"{self.sampler}, {'one run' if self.one_run else 'two in a row'}"

    @property
    def order(self) -> float:
        """The slope of the falling error on logarithmic axes: least squares over the last three numbers of steps."""
        return -float(np.polyfit(np.log(self.steps[-3:]), np.log(self.errors[-3:]), 1)[0])


# The flow


def schedule(steps: int) -> list[float]:
    """Sigmas with even steps in log sigma, the time in which these samplers integrate."""
    return [SIGMA_FROM * (SIGMA_TO / SIGMA_FROM) ** (i / steps) for i in range(steps + 1)]


def exact_end() -> np.ndarray:
    """Where the flow takes the noise of the seed: a normal distribution around 0 only stretches."""
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED)).double().numpy()
    start, end = (math.hypot((1.0 - sigma) * DEVIATION, sigma) for sigma in (SIGMA_FROM, SIGMA_TO))
    return end / start * SIGMA_FROM * noise


# The prompt


def flow(graph: Graph, file: str) -> recipes.Link:
    """An expert that follows the known flow."""
    return graph.add("WanCastProbeGaussianFlow", model=recipes.model(graph, file), deviation=DEVIATION)[0]


def sampled_once(graph: Graph, sampler: str, steps: int) -> recipes.Link:
    """One run over both experts, with the switch in the middle."""
    experts = {"model_high": flow(graph, recipes.HIGH), "model_low": flow(graph, recipes.LOW)}
    switch = {"switch": "step", "switch__step": steps // 2, "cfg_high": 1.0, "cfg_low": 1.0}
    inputs = {"latent_image": graph.make(latent=SHAPE, fill="zeros"), "sigmas": graph.make(sigmas=schedule(steps))}
    return recipes.moe_sample(graph, **experts, **switch, **inputs, sampler_name=sampler, seed=SEED)


def sampled_twice(graph: Graph, sampler: str, steps: int) -> recipes.Link:
    """Two stock samplers, the second of what the first leaves noisy."""
    halves = graph.add("SplitSigmas", sigmas=graph.make(sigmas=schedule(steps)), step=steps // 2)
    common = {"cfg": 1.0, "noise_seed": SEED, "sampler": graph.add("KSamplerSelect", sampler_name=sampler)[0]}
    common |= recipes.conditioning(graph)
    high, low = flow(graph, recipes.HIGH), flow(graph, recipes.LOW)
    start = graph.make(latent=SHAPE, fill="zeros")
    noisy = graph.add("SamplerCustom", model=high, add_noise=True, sigmas=halves[0], latent_image=start, **common)
    return graph.add("SamplerCustom", model=low, add_noise=False, sigmas=halves[1], latent_image=noisy[0], **common)[0]


def measure(client: Client, samplers: Sequence[str], steps: Sequence[int]) -> list[Series]:
    """The errors of one run and of two in a row, for each sampler."""
    graph = Graph()
    cases = [(sampler, one_run) for sampler in samplers for one_run in (True, False)]
    nodes: dict[tuple[str, bool], list[Node]] = {}
    for sampler, one_run in cases:
        sampled = sampled_once if one_run else sampled_twice
        latents = [sampled(graph, sampler, n) for n in steps]
        scaled = [graph.add("WanCastProbeModelScale", model=recipes.model(graph), latent=latent) for latent in latents]
        nodes[sampler, one_run] = [graph.save(node[0]) for node in scaled]
    run = client.run(graph)
    exact = exact_end()

    def error(node: Node) -> float:
        end = (1.0 - SIGMA_TO) * run.saved(node).arrays["/samples"]  # samplers divide by it when they end early
        return float(np.linalg.norm(end - exact) / np.linalg.norm(exact))

    return [Series(sampler, one_run, steps, list(map(error, nodes[sampler, one_run]))) for sampler, one_run in cases]


def main() -> None:
    """Prints a line for each series."""
    with live_client() as client:
        for line in measure(client, SAMPLERS, STEPS):
            errors = "  ".join(f"{n}: {error:.2e}" for n, error in zip(line.steps, line.errors, strict=True))
            sys.stdout.write(f"{line.label:<24} {errors}   order {line.order:.2f}\n")


if __name__ == "__main__":
    main()
