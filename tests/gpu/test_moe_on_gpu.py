"""MoESampler on CUDA against the stock samplers, and what it keeps on the device."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.moe_runs import NOISE, experts, relative, unequal
from tests.host.test_moe_memory import turns, watched

PAIR = {"float32": 1e-6, "float16": 1e-2, "bfloat16": 5e-2}  # relative; the stock pair passes the latent in RAM, scaled
SAMPLERS = ("euler", "heun", "dpmpp_2m", "uni_pc", "dpmpp_sde", "heunpp2", "lcm")
MASKED = {"dict": {"samples": {"tensor": [2, 16, 3, 8, 8]}, "noise_mask": {"tensor": [1, 8, 8], "fill": "unit"}}}


@pytest.mark.parametrize("latent", [NOISE, MASKED], ids=["noise", "a masked batch"])
def test_one_file_twice_gives_the_bits_of_the_stock_sampler(client: Client, latent: dict[str, object]) -> None:
    """the latents of MoESampler with one expert are those of KSampler, bit for bit"""
    graph = Graph()
    model, start = recipes.model(graph), {"latent_image": graph.make(**latent)}
    both = {"model_high": model, "model_low": model}
    pairs = {
        name: (
            [recipes.stock_sample(graph, model, sampler_name=name, **start)[0], 0],
            recipes.moe_sample(graph, **both, sampler_name=name, **start),
        )
        for name in SAMPLERS
    }
    assert unequal(client, graph, pairs) == []


def test_two_experts_equal_two_stock_samplers_in_a_row(client: Client, dtype_of: Callable[[str], str]) -> None:
    """two experts give what a pair of KSamplerAdvanced gives, within the rounding of the type that is computed in"""
    graph = Graph()
    start, (high, low) = graph.make(**NOISE), experts(graph).values()
    first = {"latent_image": start, "end_at_step": 4, "return_with_leftover_noise": True}
    then = {"latent_image": recipes.advanced_sample(graph, high, **first), "start_at_step": 4, "add_noise": False}
    stock = recipes.advanced_sample(graph, low, **then)
    ours = recipes.moe_sample(graph, latent_image=start)
    plain = recipes.stock_sample(graph, high, latent_image=start)
    pair, found, of_high = client.values(graph, [stock, ours, plain])
    assert relative(of_high, pair) > 0.1  # the second expert counts
    assert relative(found, pair) <= PAIR[dtype_of("model weight dtype")]


@pytest.mark.parametrize("memory", ["one_expert", "auto"])
def test_the_device_holds_the_bytes_of_the_expert_whose_turn_it_is(client: Client, memory: str) -> None:
    """with one_expert no byte of the other expert is on the device at an evaluation, and with auto both stay"""
    log, _ = watched(client, "sampler", {"memory": memory}, sampler_name="euler")
    assert turns(log) == ["high", "low"]
    held = {entry["name"]: entry["loaded"] for entry in log if entry["event"] == "evaluate"}
    assert held == {"high": ["high"], "low": ["low"] if memory == "one_expert" else ["high", "low"]}
