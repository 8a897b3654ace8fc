"""On a flow with a known solution, the solver keeps its order of accuracy across the switch of the experts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.host import recipes
from tests.host.live import Client, Graph

STEPS = (40, 80, 160)
SHAPE = (1, 16, 3, 8, 8)  # b c t h w
SEED = 5
SIGMA_FROM, SIGMA_TO = 0.98, 0.05  # uniform in log sigma: the switch in the middle is at 0.22
DEVIATION = 0.3  # of the data, around 0; signal and noise are equal at sigma 0.23, where the experts change


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


def errors_of(client: Client, sampler: str) -> tuple[list[float], list[float]]:
    """L2 distances to the exact solution as shares of it, by STEPS: of one run, and of two in a row."""
    graph = Graph()
    nodes = []
    for sampled in (sampled_once, sampled_twice):
        latents = [sampled(graph, sampler, steps) for steps in STEPS]
        scaled = [graph.add("WanCastProbeModelScale", model=recipes.model(graph), latent=latent) for latent in latents]
        nodes.append([graph.save(node[0]) for node in scaled])
    run, exact = client.run(graph), exact_end()  # samplers that end early divide by 1 - sigma
    ends = [[(1.0 - SIGMA_TO) * run.saved(node).arrays["/samples"] for node in row] for row in nodes]
    once, twice = [[float(np.linalg.norm(end - exact) / np.linalg.norm(exact)) for end in row] for row in ends]
    return once, twice


def order(errors: list[float]) -> float:
    """The slope of the falling error on logarithmic axes, by least squares."""
    return -float(np.polyfit(np.log(STEPS), np.log(errors), 1)[0])


@pytest.mark.parametrize(("sampler", "least_kick"), [("dpmpp_2m", 2.0), ("uni_pc", 8.0)])
def test_one_run_is_of_second_order_and_two_in_a_row_are_less_accurate_at_any_number_of_steps(
    client: Client, sampler: str, least_kick: float
) -> None:
    """The second sampler in a row begins without history; its one step of first order costs a factor, not the order."""
    once, twice = errors_of(client, sampler)
    assert 1.9 < order(once) < 2.1
    assert 1.9 < order(twice) < 2.2
    assert all(two > least_kick * one for one, two in zip(once, twice, strict=True))
