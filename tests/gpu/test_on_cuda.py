"""On CUDA: the bits of the stock nodes wherever both take the same kernels, and oracles within bounds by dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.id_lock_runs import compared, locked, person, velocity
from tests.host.live import Client, Graph
from tests.host.moe_runs import MASKED_BATCH, NOISE, experts, relative, unequal
from tests.host.test_decode import EVERY_VAE, stock
from tests.host.test_id_lock_exactness import CASES, EFFECT, locks
from tests.host.test_moe_memory import turns, watched

SAMPLERS = ("euler", "heun", "dpmpp_2m", "uni_pc", "dpmpp_sde", "heunpp2", "lcm")
TWO_EXPERTS = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}  # relative; stock passes the latent on, rescaled
ONE_PASS = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 2e-2}  # relative
PIXELS = {"float32": 2e-5, "float16": 2**-8, "bfloat16": 2**-5}  # largest difference, of 1
KINDS = ("Lynx lite", "Lynx full with registers", "Lynx reference", "Stand-In", "Stand-In, lite and reference")
TILES = {"tiling": "tiles", "tiling__rows": 1, "tiling__columns": 2}
Dtype = Callable[[str], str]


@pytest.mark.parametrize("latent", [NOISE, MASKED_BATCH], ids=["noise", "a masked batch"])
def test_one_file_twice_gives_the_bits_of_the_stock_sampler(client: Client, latent: dict[str, object]) -> None:
    """MoESampler with one expert gives KSampler's latents, bit for bit"""
    graph = Graph()
    model, start = recipes.model(graph), graph.make(**latent)
    pairs = {}
    for name in SAMPLERS:
        common = {"sampler_name": name, "latent_image": start}
        ours = recipes.moe_sample(graph, model_high=model, model_low=model, **common)
        pairs[name] = recipes.stock_sample(graph, model, **common), ours
    assert unequal(client, graph, pairs) == []


def test_two_experts_equal_two_stock_samplers_in_a_row(client: Client, dtype_of: Dtype) -> None:
    """MoESampler gives what two KSamplerAdvanced give, up to rounding"""
    graph = Graph()
    start, (high, low) = graph.make(**NOISE), experts(graph).values()
    first = {"latent_image": start, "end_at_step": 4, "return_with_leftover_noise": True}
    then = {"latent_image": recipes.advanced_sample(graph, high, **first), "start_at_step": 4, "add_noise": False}
    latents = [recipes.advanced_sample(graph, low, **then), recipes.moe_sample(graph, latent_image=start)]
    pair, ours, of_high = client.values(graph, [*latents, recipes.stock_sample(graph, high, latent_image=start)])
    assert relative(of_high, pair) > 0.1  # the second expert counts
    assert relative(ours, pair) <= TWO_EXPERTS[dtype_of("model weight dtype")]


@pytest.mark.parametrize("memory", ["one_expert", "auto"])
def test_the_device_holds_bytes_of_the_experts_that_it_should(client: Client, memory: str) -> None:
    """with one_expert no byte of the other expert is on the device at an evaluation; with auto both stay"""
    log, _ = watched(client, "sampler", {"memory": memory}, sampler_name="euler")
    assert turns(log) == ["high", "low"]
    held = {entry["name"]: entry["loaded"] for entry in log if entry["event"] == "evaluate"}
    assert held == {"high": ["high"], "low": ["low"] if memory == "one_expert" else ["high", "low"]}


@pytest.mark.parametrize("kind", KINDS)
def test_strength_0_gives_the_bits_of_the_plain_model(client: Client, kind: str) -> None:
    """a lock of strength 0 changes no bit"""
    graph = Graph()
    (spec,), model = CASES[kind].specs, recipes.model(graph)
    nothing = locked(graph, model, spec | {"strength": 0.0, "ref_strength": 0.0}, identity=person(graph))
    pairs = {str(sigma): [velocity(graph, link, sigma=sigma) for link in (model, nothing)] for sigma in (0.95, 0.3)}
    assert unequal(client, graph, pairs) == []


@pytest.mark.parametrize("kind", [*KINDS, "two persons, left and right"])
def test_one_pass_follows_the_formulas(client: Client, dtype_of: Dtype, kind: str) -> None:
    """the attentions are those of the published formulas, up to rounding"""
    graph = Graph()
    model = recipes.model(graph)
    both = locks(graph, model, CASES[kind])
    found = compared(client, graph, {kind: [velocity(graph, link) for link in (both.ours, both.oracle, model)]})[kind]
    assert found.effect > EFFECT
    assert found.relative <= ONE_PASS[dtype_of("model weight dtype")], str(found)


@EVERY_VAE
def test_pictures_are_those_of_the_stock_decoder(client: Client, dtype_of: Dtype, vae: Any, channels: int) -> None:
    """whole frames are VAEDecode's bit for bit, other plans up to rounding"""
    graph = Graph()
    inputs = {"samples": graph.make(latent=[1, channels, 9, 5, 31]), "vae": vae(graph)}
    plans = ({"tiling": "whole frame"}, {"tiling": "auto"}, TILES)
    links = [stock(graph, **inputs), *(recipes.decoded(graph, **inputs, **plan) for plan in plans)]
    expected, whole, *others = client.values(graph, links)
    assert whole == expected
    limit = PIXELS[dtype_of("VAE load device")]
    assert max(np.abs(other.array - expected.array).max() for other in others) <= limit
