"""What several tests of sampling with two experts share: latents, stock samplers in a row, comparisons of latents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tests.host import recipes
from tests.host.live import Client, Graph, Saved
from tests.host.recipes import Link

NOISE = {"latent": [1, 16, 3, 8, 8]}
MASK = {"tensor": [1, 8, 8], "fill": "unit"}
MASKED_BATCH = {"dict": {"samples": {"tensor": [2, 16, 3, 8, 8]}, "noise_mask": MASK, "batch_index": {"value": [4, 1]}}}


def unequal(client: Client, graph: Graph, pairs: dict[str, tuple[Link, Link]]) -> list[str]:
    """The names of the pairs of values that are not the same bits."""
    nodes = {name: tuple(map(graph.hash, pair)) for name, pair in pairs.items()}
    run = client.run(graph)
    return [name for name, (first, second) in nodes.items() if run.digest(first) != run.digest(second)]


def relative(value: Saved, reference: Saved) -> float:
    """The L2 distance of two latents as a share of the second."""
    first, second = (saved.arrays["/samples"].astype(np.float64) for saved in (value, reference))
    return float(np.linalg.norm(first - second) / np.linalg.norm(second))


def experts(graph: Graph) -> dict[str, Link]:
    return {"model_high": recipes.model(graph), "model_low": recipes.model(graph, recipes.LOW)}


def shifted(graph: Graph, shift: float, name: str = recipes.HIGH) -> Link:
    return graph.add("ModelSamplingSD3", model=recipes.model(graph, name), shift=shift)[0]


def report_of(client: Client, graph: Graph, **changes: Any) -> list[str]:
    """The lines of MoESampler's report."""
    report = graph.add("PreviewAny", source=[recipes.moe_sample(graph, **changes)[0], 1])
    return client.run(graph).output(report)["text"][0].splitlines()


# The ways to sample: a graph, models by the names of their slots, other inputs of the node, inputs of its sampler


def with_sampler(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    pair = {f"model_{name}": model for name, model in models.items()}
    return recipes.moe_sample(graph, **pair, **settings, **common)


def with_model(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    pair = {f"model_{name}": model for name, model in models.items()}
    return recipes.stock_sample(graph, recipes.moe_model(graph, **pair, **settings), **common)


def with_guider(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    guiders = {f"guider_{name}": recipes.guider(graph, model) for name, model in models.items()}
    schedule = {name: common.pop(name) for name in ("steps", "denoise") if name in common}
    guider, sigmas = recipes.moe_guider(graph, **guiders, **settings), recipes.sigmas(graph, **schedule)
    return recipes.sample_with_guider(graph, guider, sigmas=sigmas, **common)


def chained(graph: Graph, guiders: Iterable[Link], sizes: Iterable[int], sigmas: Link, **common: Any) -> Link:
    """What a stock sampler a guider makes, in a row, each for so many steps of the schedule."""
    noise: dict[str, Link] = {}
    for guider, steps in zip(guiders, sizes, strict=True):
        split = graph.add("SplitSigmas", sigmas=sigmas, step=steps)
        latent = recipes.sample_with_guider(graph, guider, **common | noise, sigmas=split[0])
        noise = {"noise": graph.add("DisableNoise")[0]}
        common |= {"latent_image": latent}
        sigmas = split[1]
    return common["latent_image"]
