"""The two experts as one GUIDER or one MODEL of the stock samplers, as MoESampler has them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.moe_runs import MASKED_BATCH, NOISE, chained, experts, relative, unequal
from tests.host.recipes import Link

SAMPLERS = ("euler", "dpmpp_2m", "uni_pc", "euler_cfg_pp", "heunpp2", "dpmpp_sde")


# One GUIDER


def test_the_guider_gives_the_bits_of_moe_sampler(client: Client) -> None:
    graph = Graph()
    common = {"latent_image": graph.make(**NOISE), "sigmas": recipes.sigmas(graph)}
    of_high = recipes.guider(graph, recipes.model(graph), cfg=4.0)
    of_low = recipes.guider(graph, recipes.model(graph, recipes.LOW), cfg=2.0)
    guider = recipes.moe_guider(graph, guider_high=of_high, guider_low=of_low)
    pairs = {
        name: (
            recipes.sample_with_guider(graph, guider, sampler_name=name, **common),
            recipes.moe_sample(graph, sampler_name=name, cfg_high=4.0, cfg_low=2.0, **common),
        )
        for name in SAMPLERS
    }
    assert unequal(client, graph, pairs) == []


def dual_cfg(graph: Graph, model: Link, style: str) -> Link:
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


KINDS: dict[str, Callable[[Graph], Link]] = {
    "dual cfg": lambda graph: dual_cfg(graph, recipes.model(graph), "regular"),
    "dual cfg, nested": lambda graph: dual_cfg(graph, recipes.model(graph), "nested"),
    "perp neg": lambda graph: perp_neg(graph, recipes.model(graph)),
    "basic": lambda graph: basic(graph, recipes.model(graph)),
    "dual model": lambda graph: dual_model(graph, recipes.model(graph), recipes.model(graph, recipes.LOW)),
    "dual model, exchanged": lambda graph: dual_model(graph, recipes.model(graph, recipes.LOW), recipes.model(graph)),
}


@pytest.mark.parametrize("slots", [2, 3])
def test_any_stock_guider_in_all_slots_gives_its_own_bits(client: Client, slots: int) -> None:
    graph = Graph()
    common = {"latent_image": graph.make(**NOISE)}
    pairs = {}
    for name, make in KINDS.items():
        own = make(graph)
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
    plain, both = (recipes.sample_with_guider(graph, each, **common)[0] for each in (own, ours))
    saves = [[graph.save([node, slot]) for slot in (0, 1)] for node in (plain, both)]
    run = client.run(graph)
    wanted, found = ([run.saved(node) for node in group] for group in saves)
    assert found == wanted
    assert relative(*found) > 1e-2


def test_two_guiders_of_other_kinds_take_their_own_steps(client: Client) -> None:
    """Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616: four high, two low."""
    graph = Graph()
    high, low = recipes.model(graph), recipes.model(graph, recipes.LOW)
    pair = dual_cfg(graph, high, "regular"), perp_neg(graph, low)
    common, sigmas = {"latent_image": graph.make(**NOISE)}, recipes.sigmas(graph)
    ours = recipes.moe_guider(graph, guider_high=pair[0], guider_low=pair[1])
    saves = [
        graph.save(recipes.sample_with_guider(graph, ours, **common, sigmas=sigmas)),
        graph.save(chained(graph, pair, (4, 2), sigmas, **common)),
        graph.save(recipes.sample_with_guider(graph, pair[0], **common, sigmas=sigmas)),
    ]
    together, row, alone = map(client.run(graph).saved, saves)
    assert relative(together, row) < 1e-5
    assert relative(together, alone) > 1e-2


def three(graph: Graph) -> tuple[Link, Link, Link]:
    """Guiders that are all different: start, high and low; the first and the last share their weights."""
    high, low = recipes.model(graph), recipes.model(graph, recipes.LOW)
    return recipes.guider(graph, low, cfg=2.0), recipes.guider(graph, high, cfg=3.0), basic(graph, low)


def of_three(graph: Graph, guiders: tuple[Link, Link, Link], start_steps: int) -> Link:
    names = ("guider_start", "guider_high", "guider_low")
    return recipes.moe_guider(graph, **dict(zip(names, guiders, strict=True)), start_steps=start_steps)


@pytest.mark.parametrize(("start_steps", "sizes"), [(1, (1, 3, 2)), (2, (2, 2, 2)), (4, (4, 0, 2))])
def test_a_third_guider_takes_the_first_steps(client: Client, start_steps: int, sizes: tuple[int, int, int]) -> None:
    graph = Graph()
    guiders, sigmas = three(graph), recipes.sigmas(graph)
    common = {"latent_image": graph.make(**NOISE)}
    ours = of_three(graph, guiders, start_steps)
    row = [(guider, steps) for guider, steps in zip(guiders, sizes, strict=True) if steps]
    saves = [
        graph.save(recipes.sample_with_guider(graph, ours, **common)),
        graph.save(chained(graph, *zip(*row, strict=True), sigmas, **common)),
    ]
    together, parts = map(client.run(graph).saved, saves)
    assert relative(together, parts) < 1e-5


@pytest.mark.parametrize("start_steps", [0, 5])
def test_the_third_guider_must_end_before_the_switch(client: Client, start_steps: int) -> None:
    graph = Graph()
    graph.hash(recipes.sample_with_guider(graph, of_three(graph, three(graph), start_steps)))
    failure = client.fails(graph)
    assert failure.node_type == "SamplerCustomAdvanced"
    assert failure.message == (
        f"WanCastMoEGuider: start_steps: found {start_steps} with 4 steps before the switch; wanted at least 1, and no "
        "more than those. Change start_steps or switch, or take guider_start off."
    )


def test_a_guider_gives_the_same_each_time_it_is_used(client: Client) -> None:
    graph = Graph()
    ours = of_three(graph, three(graph), 2)
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


# One MODEL


@pytest.mark.parametrize("policy", ["strict", "latch"])
def test_the_model_in_the_stock_sampler_gives_the_bits_of_moe_sampler(client: Client, policy: str) -> None:
    graph = Graph()
    both, latent = recipes.moe_model(graph, policy=policy), graph.make(**NOISE)
    pairs = {
        name: (
            recipes.stock_sample(graph, both, sampler_name=name, latent_image=latent),
            recipes.moe_sample(graph, sampler_name=name, latent_image=latent, policy=policy),
        )
        for name in (SAMPLERS if policy == "strict" else ("heunpp2",))
    }
    assert unequal(client, graph, pairs) == []


def test_so_it_does_in_the_other_stock_samplers(client: Client) -> None:
    graph = Graph()
    both, latent, name = recipes.moe_model(graph), graph.make(**NOISE), "dpmpp_2m"
    texts = recipes.conditioning(graph)
    common = {"model": both, "latent_image": latent, "cfg": 3.0, "noise_seed": 42} | texts
    advanced = graph.add(
        "KSamplerAdvanced",
        **common,
        steps=6,
        sampler_name=name,
        scheduler="simple",
        add_noise="enable",
        start_at_step=1,
        end_at_step=5,
        return_with_leftover_noise="enable",
    )[0]
    part = {"start_at_step": 1, "end_at_step": 5, "return_with_leftover_noise": True}
    sampler, sigmas = graph.add("KSamplerSelect", sampler_name=name)[0], recipes.sigmas(graph)
    custom = graph.add("SamplerCustom", **common, add_noise=True, sampler=sampler, sigmas=sigmas)[0]
    with_guider = recipes.sample_with_guider(
        graph, recipes.guider(graph, both), sampler_name=name, latent_image=latent, sigmas=sigmas
    )
    ours = {"latent_image": latent, "sampler_name": name}
    whole = recipes.moe_sample(graph, **ours, sigmas=sigmas)
    pairs = {
        "advanced": (advanced, recipes.moe_sample(graph, **ours, **part)),
        "custom": (custom, whole),
        "custom advanced": (with_guider, whole),
    }
    assert unequal(client, graph, pairs) == []


def test_so_it_does_with_a_mask_half_the_noise_and_a_batch_and_for_image_to_video(client: Client) -> None:
    graph = Graph()
    half = {"latent_image": graph.make(**MASKED_BATCH), "denoise": 0.5, "sampler_name": "dpmpp_2m"}
    half |= {"switch": "sigma", "switch__sigma": 0.7}
    switch = {name: half.pop(name) for name in ("switch", "switch__sigma")}
    image = recipes.image_conditioning(graph)
    files = {"model_high": recipes.IMAGE_HIGH, "model_low": recipes.IMAGE_LOW}
    pair = {name: recipes.model(graph, file) for name, file in files.items()}
    pairs = {
        "half": (
            recipes.stock_sample(graph, recipes.moe_model(graph, **switch), **half),
            recipes.moe_sample(graph, **half, **switch),
        ),
        "image to video": (
            recipes.stock_sample(graph, recipes.moe_model(graph, **pair), **image),
            recipes.moe_sample(graph, **pair, **image),
        ),
    }
    assert unequal(client, graph, pairs) == []


def test_any_stock_guider_of_the_model_is_two_of_its_kind(client: Client) -> None:
    graph = Graph()
    high, low = experts(graph).values()
    both, common = recipes.moe_model(graph), {"latent_image": graph.make(**NOISE), "sampler_name": "heunpp2"}
    kinds = {
        "dual cfg": lambda model: dual_cfg(graph, model, "regular"),
        "perp neg": lambda model: perp_neg(graph, model),
        "basic": lambda model: basic(graph, model),
    }
    pairs = {
        name: (
            recipes.sample_with_guider(graph, make(both), **common),
            recipes.sample_with_guider(
                graph, recipes.moe_guider(graph, guider_high=make(high), guider_low=make(low)), **common
            ),
        )
        for name, make in kinds.items()
    }
    assert unequal(client, graph, pairs) == []
