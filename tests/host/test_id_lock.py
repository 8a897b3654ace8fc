"""IDLock under guiders of every kind, and in a long session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph

Link = list[Any]


def guided(graph: Graph, guider: str, of_model: Link, **inputs: Any) -> Link:
    """The latent of SamplerCustomAdvanced under the guider of that name."""
    sigmas = graph.add("BasicScheduler", model=of_model, scheduler="simple", steps=3, denoise=1.0)[0]
    return recipes.sample_with_guider(graph, graph.add(guider, model=of_model, **inputs)[0], sigmas=sigmas)


def prompts(graph: Graph) -> dict[str, Link]:
    """Three conditionings that differ."""
    clip = graph.add("WanCastDemoTextEncoder", text_encoder="mini_umt5.safetensors")[0]
    return recipes.conditioning(graph) | {"middle": graph.add("CLIPTextEncode", clip=clip, text="a red dress")[0]}


def require_same(client: Client, graph: Graph, found: Link, wanted: Link) -> None:
    """The two latents are the same, but for the order of one addition."""
    found_array, wanted_array = (saved.array for saved in client.values(graph, [found, wanted]))
    assert np.isfinite(wanted_array).all()
    np.testing.assert_allclose(found_array, wanted_array, rtol=1e-4, atol=1e-4)


# Which condition gets the identity


def test_the_negative_prompt_gets_the_null_identity_whatever_the_identity_is(client: Client) -> None:
    """With cfg 0 only the negative prompt is left, and with a null identity the lock acts on it all the same."""
    graph = Graph()
    plain, texts = recipes.model(graph), recipes.conditioning(graph)
    stranger = recipes.identity(graph, images=graph.make(tensor=[1, 1024, 1024, 3], fill="unit"))
    models = (recipes.locked(graph, plain), recipes.locked(graph, plain, identity=stranger), plain)
    latents = [guided(graph, "CFGGuider", model, cfg=0.0, **texts) for model in models]
    first, second, without = client.values(graph, latents)
    assert first == second != without


TWO_PROMPTS = {  # the weight of the first prompt, of the second, how they mix, and the guidance that this comes down to
    "all on the first": ((1.0, 1.0, "regular"), ("positive", 1.0)),
    "all on the first, nested": ((1.0, 1.0, "nested"), ("positive", 1.0)),
    "none on the first": ((0.0, 3.0, "regular"), ("middle", 3.0)),
}


@pytest.mark.parametrize("case", TWO_PROMPTS)
def test_two_prompt_guidance_gives_both_prompts_the_identity_and_the_negative_the_null_one(
    client: Client, case: str
) -> None:
    """negative + second * (middle - negative) + first * (positive - middle)."""
    (first, second, style), (side, cfg) = TWO_PROMPTS[case]
    graph = Graph()
    lock, texts = recipes.locked(graph, recipes.model(graph)), prompts(graph)
    weights = {"cfg_conds": first, "cfg_cond2_negative": second, "style": style, "negative": texts["negative"]}
    dual = guided(graph, "DualCFGGuider", lock, cond1=texts["positive"], cond2=texts["middle"], **weights)
    plain = guided(graph, "CFGGuider", lock, positive=texts[side], negative=texts["negative"], cfg=cfg)
    require_same(client, graph, dual, plain)


def test_the_empty_prompt_of_perpendicular_guidance_gets_the_null_identity(client: Client) -> None:
    """Without weight on the negative prompt: empty + 3 * (positive - empty)."""
    graph = Graph()
    lock, texts = recipes.locked(graph, recipes.model(graph)), prompts(graph)
    inputs = {"positive": texts["positive"], "cfg": 3.0}
    empty = {"negative": texts["middle"], "empty_conditioning": texts["negative"], "neg_scale": 0.0}
    perpendicular = guided(graph, "PerpNegGuider", lock, **inputs | empty)
    require_same(client, graph, perpendicular, guided(graph, "CFGGuider", lock, **inputs, negative=texts["negative"]))


@pytest.mark.parametrize("with_area", ["positive", "negative"])
def test_a_prompt_that_the_host_copies_for_an_area_keeps_its_side(client: Client, with_area: str) -> None:
    """The host gives the other side a part for the same area; here it is written out beside what the host does."""
    graph = Graph()
    lock, texts = recipes.locked(graph, recipes.model(graph)), recipes.conditioning(graph)

    def area(of: Link) -> Link:
        sizes = {"width": 0.5, "height": 0.5, "temporal": 1.0, "x": 0.0, "y": 0.0, "z": 0.0, "strength": 1.0}
        return graph.add("ConditioningSetAreaPercentageVideo", conditioning=of, **sizes)[0]

    def combined(of: Link, part: Link) -> Link:
        return graph.add("ConditioningCombine", conditioning_1=of, conditioning_2=part)[0]

    (without_area,) = texts.keys() - {with_area}
    implied = texts | {with_area: combined(texts[with_area], area(texts[with_area]))}
    written = implied | {without_area: combined(texts[without_area], area(texts[without_area]))}
    found, wanted = (guided(graph, "CFGGuider", lock, cfg=3.0, **sides) for sides in (implied, written))
    require_same(client, graph, found, wanted)


# A long session


def test_many_runs_with_other_strengths_leave_nothing_behind_in_the_host(client: Client, live_host: HostServer) -> None:
    """No dead model, and one that waits for the living one to go, not one for each run."""
    start = live_host.log_path.stat().st_size
    for strength in (0.3, 0.6, 0.9, 1.2):
        graph = Graph()
        lock = recipes.locked(graph, recipes.model(graph), strength=strength)
        graph.save(recipes.stock_sample(graph, lock, steps=2))
        kept = graph.add("WanCastProbeKept", model=lock, unload=False)
        assert client.run(graph).output(kept)["waiting"] == [1]
    log = live_host.log_path.read_bytes()[start:].decode("utf-8", errors="replace")
    assert "Prompt executed" in log
    assert [line for line in log.splitlines() if "memory leak" in line] == []


# The run's own facts


@pytest.mark.parametrize("percents", [(0.0, 0.3), (0.3, 1.0)])
def test_a_range_follows_the_shift_wherever_it_is_set(client: Client, percents: tuple[float, float]) -> None:
    """The shift decides which sigma a percent is: before the lock or after it, the result is the same."""
    graph = Graph()
    plain, ends = recipes.model(graph), dict(zip(("start_percent", "end_percent"), percents, strict=True))
    shifted = graph.add("ModelSamplingSD3", model=plain, shift=3.0)[0]
    before = recipes.locked(graph, shifted, **ends)
    after = graph.add("ModelSamplingSD3", model=recipes.locked(graph, plain, **ends), shift=3.0)[0]
    latents = [recipes.stock_sample(graph, model, steps=8) for model in (before, after, shifted)]
    first, second, without = client.values(graph, latents)
    assert first == second != without


@pytest.mark.parametrize(
    ("wish", "is_unloaded_before"), [("unload_models", False), ("free_memory", False), ("free_memory", True)]
)
def test_the_host_frees_what_identities_keep_and_the_next_run_gives_the_same(
    client: Client, wish: str, is_unloaded_before: bool
) -> None:
    """A model that makes room for others comes back, and finds what it kept; its node is in every prompt."""

    def locked_graph() -> tuple[Graph, Link]:
        graph = Graph()
        adapter = recipes.adapter(graph, ref_layers="none", stand_in="mini_stand_in_high.safetensors")
        return graph, recipes.locked(graph, recipes.model(graph), adapter=adapter, vae=recipes.vae21(graph))

    def kept_bytes(*, unload: bool = False) -> int:
        graph, lock = locked_graph()
        node = graph.add("WanCastProbeKept", model=lock, unload=unload)
        return client.run(graph).output(node)["kept"][0]

    def seen(after: str) -> Any:
        graph, lock = locked_graph()
        latent = graph.make(latent=[1, 16, 3, 8, 8], use=f"{after} {wish} {is_unloaded_before}")
        return client.value(graph, recipes.stock_sample(graph, lock, steps=3, latent_image=latent))

    first = seen("before")
    assert kept_bytes(unload=is_unloaded_before) > 0
    client.post("/free", {wish: True})
    kept_bytes()  # the host frees memory before this prompt or after it
    assert kept_bytes() == 0
    assert seen("after") == first


def test_prompts_that_wait_for_each_other_do_not_mix_their_identities(client: Client) -> None:
    """Two clients submit at once; each gets what it gets alone."""

    def prompt(fill: str | None) -> tuple[Graph, Any]:
        graph = Graph()
        picture = {"images": graph.make(tensor=[1, 1024, 1024, 3], fill=fill)} if fill else {}
        lock = recipes.locked(graph, recipes.model(graph), identity=recipes.identity(graph, **picture))
        return graph, graph.save(recipes.stock_sample(graph, lock, steps=4))

    def result(job: tuple[Graph, Any]) -> Any:
        return client.run(job[0]).saved(job[1])

    alone = [result(prompt(fill)) for fill in ("unit", None)]
    client.forget()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(result, [prompt("unit"), prompt(None)])) == alone
    assert alone[0] != alone[1]
