"""The two experts as one GUIDER or one MODEL of the stock samplers, as MoESampler has them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.moe_runs import (
    MASKED_BATCH,
    NOISE,
    chained,
    experts,
    relative,
    shifted,
    unequal,
    with_guider,
    with_model,
)
from tests.host.recipes import Link

SAMPLERS = ("euler", "dpmpp_2m", "uni_pc", "euler_cfg_pp", "heunpp2", "dpmpp_sde")


# One GUIDER


def test_the_guider_gives_the_bits_of_moe_sampler(client: Client) -> None:
    graph = Graph()
    common = {"latent_image": graph.make(**NOISE), "sigmas": recipes.sigmas(graph)}
    high, low = experts(graph).values()
    guiders = {"guider_high": recipes.guider(graph, high, cfg=4.0), "guider_low": recipes.guider(graph, low, cfg=2.0)}
    guider = recipes.moe_guider(graph, **guiders)
    pairs = {
        name: (
            recipes.sample_with_guider(graph, guider, sampler_name=name, **common),
            recipes.moe_sample(graph, sampler_name=name, cfg_high=4.0, cfg_low=2.0, **common),
        )
        for name in SAMPLERS
    }
    assert unequal(client, graph, pairs) == []


def dual_cfg(graph: Graph, model: Link, style: str = "regular") -> Link:
    texts = recipes.conditioning(graph)
    conds = {"cond1": texts["positive"], "cond2": other_text(graph), "negative": texts["negative"]}
    return graph.add("DualCFGGuider", model=model, **conds, cfg_conds=3.0, cfg_cond2_negative=2.0, style=style)[0]


def perp_neg(graph: Graph, model: Link) -> Link:
    texts = recipes.conditioning(graph) | {"empty_conditioning": other_text(graph)}
    return graph.add("PerpNegGuider", model=model, **texts, cfg=3.0, neg_scale=1.0)[0]


def basic(graph: Graph, model: Link) -> Link:
    return graph.add("BasicGuider", model=model, conditioning=recipes.conditioning(graph)["positive"])[0]


def dual_model(graph: Graph, model: Link, model_negative: Link) -> Link:
    models = {"model": model, "model_negative": model_negative}
    return graph.add("DualModelGuider", **models, **recipes.conditioning(graph), cfg=3.0)[0]


def other_text(graph: Graph) -> Link:
    return graph.add("ConditioningZeroOut", conditioning=recipes.conditioning(graph)["positive"])[0]


KINDS: dict[str, Callable[[Graph, Link, Link], Link]] = {  # of both experts
    "dual cfg": lambda graph, high, low: dual_cfg(graph, high),
    "dual cfg, nested": lambda graph, high, low: dual_cfg(graph, high, "nested"),
    "perp neg": lambda graph, high, low: perp_neg(graph, high),
    "basic": lambda graph, high, low: basic(graph, high),
    "dual model": dual_model,
    "dual model, exchanged": lambda graph, high, low: dual_model(graph, low, high),
}


@pytest.mark.parametrize("slots", [2, 3])
def test_any_stock_guider_in_all_slots_gives_its_own_bits(client: Client, slots: int) -> None:
    graph = Graph()
    common = {"latent_image": graph.make(**NOISE)}
    pairs = {}
    for name, kind in KINDS.items():
        own = kind(graph, *experts(graph).values())
        start = {"guider_start": own, "start_steps": 2} if slots == 3 else {}
        ours = recipes.moe_guider(graph, guider_high=own, guider_low=own, **start)
        guided = ("euler_cfg_pp",) if name != "basic" else ()  # it reads both sides of the guidance
        for sampler in ("heunpp2", *guided) if slots == 2 else ("dpmpp_2m",):
            plain = recipes.sample_with_guider(graph, own, sampler_name=sampler, **common)
            pairs[f"{name}, {sampler}"] = plain, recipes.sample_with_guider(graph, ours, sampler_name=sampler, **common)
    assert unequal(client, graph, pairs) == []


def test_mask_batch_and_the_denoised_output_equal_those_of_one_guider(client: Client) -> None:
    graph = Graph()
    own = recipes.guider(graph, recipes.model(graph))
    ours = recipes.moe_guider(graph, guider_high=own, guider_low=own)
    with_noise_left = graph.add("SplitSigmas", sigmas=recipes.sigmas(graph, denoise=0.5), step=4)[0]
    common = {"latent_image": graph.make(**MASKED_BATCH), "sigmas": with_noise_left, "sampler_name": "dpmpp_2m"}
    plain, both = (recipes.sample_with_guider(graph, guider, **common)[0] for guider in (own, ours))
    *wanted, latent, denoised = client.values(graph, [[node, slot] for node in (plain, both) for slot in (0, 1)])
    found = [latent, denoised]
    assert found == wanted
    assert relative(*found) > 1e-2


def test_two_guiders_of_other_kinds_take_their_own_steps(client: Client) -> None:
    """Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616: four high, two low."""
    graph = Graph()
    high, low = experts(graph).values()
    pair = dual_cfg(graph, high), perp_neg(graph, low)
    common = {"latent_image": graph.make(**NOISE), "sigmas": recipes.sigmas(graph)}
    ours = recipes.moe_guider(graph, guider_high=pair[0], guider_low=pair[1])
    one, first = (recipes.sample_with_guider(graph, guider, **common) for guider in (ours, pair[0]))
    together, row, alone = client.values(graph, [one, chained(graph, pair, (4, 2), **common), first])
    assert relative(together, row) < 1e-5
    assert relative(together, alone) > 1e-2


def three(graph: Graph, start_steps: int) -> tuple[Link, tuple[Link, Link, Link]]:
    """One guider of three that are all different, and those: the first and the last share their weights."""
    high, low = experts(graph).values()
    guiders = recipes.guider(graph, low, cfg=2.0), recipes.guider(graph, high, cfg=3.0), basic(graph, low)
    given = dict(zip(("guider_start", "guider_high", "guider_low"), guiders, strict=True))
    return recipes.moe_guider(graph, **given, start_steps=start_steps), guiders


@pytest.mark.parametrize(("start_steps", "sizes"), [(1, (1, 3, 2)), (2, (2, 2, 2)), (4, (4, 0, 2))])
def test_a_third_guider_takes_the_first_steps(client: Client, start_steps: int, sizes: tuple[int, int, int]) -> None:
    graph = Graph()
    ours, guiders = three(graph, start_steps)
    row = [(guider, steps) for guider, steps in zip(guiders, sizes, strict=True) if steps]
    common = {"latent_image": graph.make(**NOISE), "sigmas": recipes.sigmas(graph)}
    one, several = recipes.sample_with_guider(graph, ours, **common), chained(graph, *zip(*row, strict=True), **common)
    assert relative(*client.values(graph, [one, several])) < 1e-5


def test_an_error_while_the_guider_samples_names_the_node_that_made_it(client: Client) -> None:
    graph = Graph()
    graph.hash(recipes.sample_with_guider(graph, three(graph, 5)[0]))
    failure = client.fails(graph)
    assert failure.node_type == "SamplerCustomAdvanced"
    assert failure.message.startswith("WanCastMoEGuider: start_steps: found 5 with 4 steps before the switch; wanted ")


def test_a_guider_gives_the_same_each_time_it_is_used(client: Client) -> None:
    graph = Graph()
    ours, _ = three(graph, 2)
    first, second, again = (
        recipes.sample_with_guider(
            graph,
            ours,
            latent_image=graph.make(**NOISE, use=use),
            sampler_name="dpmpp_2m",
            noise=graph.add("RandomNoise", noise_seed=seed)[0],
        )
        for use, seed in ((1, 5), (2, 6), (3, 5))
    )
    assert unequal(client, graph, {"again": (first, again), "another seed": (first, second)}) == ["another seed"]


# What both ways say and refuse

VIDEO: dict[str, Any] = {"tensor": [1, 16, 1, 8, 8]}
UNUSABLE = {
    "a nested latent of 2 parts": {"samples": {"nested": [VIDEO, {"tensor": [1, 8, 4]}]}},
    "NaN or infinite values": {"samples": VIDEO | {"fill": "nan"}},
    "a noise mask of NaN or infinite values": {"samples": VIDEO, "noise_mask": {"tensor": [1, 8, 8], "fill": "nan"}},
}
WAYS = {with_guider: "WanCastMoEGuider", with_model: "WanCastMoEModel"}


@pytest.mark.parametrize("found", UNUSABLE)
@pytest.mark.parametrize("way", WAYS)
def test_an_unusable_latent_is_refused_by_the_node_that_was_set_up(
    client: Client, way: Callable[..., Link], found: str
) -> None:
    graph = Graph()
    pair = dict(zip(("high", "low"), experts(graph).values(), strict=True))
    graph.hash(way(graph, pair, {}, latent_image=graph.make(dict=UNUSABLE[found])))
    assert client.fails(graph).message.startswith(f"{WAYS[way]}: latent_image: found {found}")


@pytest.mark.parametrize("way", WAYS)
def test_the_log_of_the_host_has_the_notes(client: Client, way: Callable[..., Link]) -> None:
    graph, since = Graph(), datetime.now().isoformat()  # as the host writes it
    files = {"high": recipes.IMAGE_HIGH, "low": recipes.IMAGE_LOW}
    pair = {slot: shifted(graph, 5.0, name) for slot, name in files.items()}
    common = {"cfg": 1.0, "steps": 4, "sampler_name": "dpm_2"} if way is with_model else {}
    graph.hash(way(graph, pair, {}, latent_image=graph.make(**NOISE, unseen=way.__name__), **common))
    client.run(graph)
    log = "".join(entry["m"] for entry in client.get("/internal/logs/raw")["entries"] if entry["t"] >= since)
    lists = "positive" if way is with_model else "positive and negative"  # at cfg 1 the negative one is not evaluated
    assert f"will see an empty picture, because there is none in {lists} (" in log
    assert ("for dpm_2 the host makes a schedule of 5 steps" in log) == (way is with_model)


# One MODEL


def test_the_model_gives_the_bits_of_moe_sampler_in_every_stock_sampler(client: Client) -> None:
    graph = Graph()
    both, latent = recipes.moe_model(graph), graph.make(**NOISE)
    pairs = {
        name: (
            recipes.stock_sample(graph, both, sampler_name=name, latent_image=latent),
            recipes.moe_sample(graph, sampler_name=name, latent_image=latent),
        )
        for name in SAMPLERS
    }
    common: dict[str, Any] = {"model": both, "latent_image": latent, "cfg": 3.0, "noise_seed": 42}
    common |= recipes.conditioning(graph)
    part = {"start_at_step": 1, "end_at_step": 5, "return_with_leftover_noise": True}
    sampler, sigmas = graph.add("KSamplerSelect", sampler_name="dpmpp_2m")[0], recipes.sigmas(graph)
    guider, given = recipes.guider(graph, both), {"sampler_name": "dpmpp_2m", "latent_image": latent}
    advanced = given | part
    pairs["advanced"] = recipes.advanced_sample(graph, both, **advanced), recipes.moe_sample(graph, **advanced)
    whole = recipes.moe_sample(graph, **given, sigmas=sigmas)
    pairs["custom"] = graph.add("SamplerCustom", **common, add_noise=True, sampler=sampler, sigmas=sigmas)[0], whole
    pairs["custom advanced"] = recipes.sample_with_guider(graph, guider, **given, sigmas=sigmas), whole
    assert unequal(client, graph, pairs) == []


def test_so_it_does_with_other_inputs_of_both(client: Client) -> None:
    graph = Graph()
    half = {"latent_image": graph.make(**MASKED_BATCH), "denoise": 0.5, "sampler_name": "dpmpp_2m"}
    image, noise = recipes.image_conditioning(graph), {"latent_image": graph.make(**NOISE), "sampler_name": "heunpp2"}
    files = {"model_high": recipes.IMAGE_HIGH, "model_low": recipes.IMAGE_LOW}
    image_pair = {name: recipes.model(graph, file) for name, file in files.items()}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of our node, and of the sampler
        "half": ({"switch": "sigma", "switch__sigma": 0.7}, half),
        "image to video": (image_pair, image),
        "latch": ({"policy": "latch"}, noise),
    }
    pairs = {
        name: (
            recipes.stock_sample(graph, recipes.moe_model(graph, **settings), **inputs),
            recipes.moe_sample(graph, **settings, **inputs),
        )
        for name, (settings, inputs) in cases.items()
    }
    assert unequal(client, graph, pairs) == []


def test_any_stock_guider_of_the_model_is_two_of_its_kind(client: Client) -> None:
    graph = Graph()
    high, low = experts(graph).values()
    both, common = recipes.moe_model(graph), {"latent_image": graph.make(**NOISE), "sampler_name": "heunpp2"}
    pairs = {}
    for kind in (dual_cfg, perp_neg, basic):
        of_two = recipes.moe_guider(graph, guider_high=kind(graph, high), guider_low=kind(graph, low))
        guiders = (kind(graph, both), of_two)
        pairs[kind.__name__] = tuple(recipes.sample_with_guider(graph, guider, **common) for guider in guiders)
    assert unequal(client, graph, pairs) == []
