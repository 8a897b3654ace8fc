"""What IDLock refuses, word for word, when it is made and when the model samples; the host goes on working."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.bad_inputs import NODE_OF, Build, Row
from tests.host.id_lock_runs import FILES, LITE, PORTRAIT, REF, Spec, person, picture_parts, velocity
from tests.host.live import Client, Graph
from tests.host.recipes import Link


def lock_of(spec: Spec) -> Build:
    """A recipe of IDLock with the files of a specification."""

    def build(graph: Graph, **changes: Any) -> Link:
        adapter = graph.add("WanCastAdapterLoader", **{name: spec.get(name, "none") for name in FILES})[0]
        inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all", "adapter": adapter}
        parts = {"model": recipes.model(graph), "identity": person(graph)} | picture_parts(graph, spec)
        return graph.add("IDLock", **inputs | parts | changes)[0]

    return build


def foreign_vae(graph: Graph, *, encodes: bool) -> Link:
    return graph.add("WanCastProbeForeignVae", vae=recipes.vae21(graph), encodes=encodes)[0]


LITE_LOCK, REF_LOCK, PORTRAIT_LOCK = (lock_of(spec) for spec in (LITE, REF, PORTRAIT))
NODE_OF.update(dict.fromkeys((LITE_LOCK, REF_LOCK, PORTRAIT_LOCK), "IDLock"))

OWN_VAE = "the VAE of this model, with 16 latent channels"
ROWS = [
    Row(LITE_LOCK, "model", recipes.moe_model, "a model that WanCast MoE Model made of two", "one expert"),
    Row(REF_LOCK, "vae", recipes.vae22, "a VAE whose latents are (48, 1, <...>)", OWN_VAE),
    Row(PORTRAIT_LOCK, "vae", lambda graph: foreign_vae(graph, encodes=False), "SimpleNamespace", "a VAE that encodes"),
    Row(
        LITE_LOCK,
        "model",
        lambda graph: graph.add(
            "WanCastProbeRelative", model=recipes.model(graph), network="TwoBranchWan", shapes="{}"
        )[0],
        "a network of the class '<...>TwoBranchWan'",
        "one that identities are exact in: WanModel, VaceWanModel<...>WanDancerModel",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_message_names_node_input_found_wanted_and_fix(client: Client, row: Row) -> None:
    row.require_message(client)


def test_a_vae_of_another_pack_reads_portraits_as_the_hosts_does(client: Client) -> None:
    graph = Graph()
    vaes = foreign_vae(graph, encodes=True), recipes.vae21(graph)
    first, second = client.values(graph, [velocity(graph, PORTRAIT_LOCK(graph, vae=vae)) for vae in vaes])
    assert first == second


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_name_alone_refuses_no_portrait_and_says_nothing_of_a_merge(client: Client, is_merged: bool) -> None:
    """The low-noise file, and the same with all weights of the high-noise one in their place."""
    graph = Graph()
    model, high = recipes.model(graph, recipes.LOW), recipes.model(graph)
    if is_merged:
        model = graph.add("ModelMergeSimple", model1=model, model2=high, ratio=0.0)[0]
    lock = PORTRAIT_LOCK(graph, model=model)
    report = client.value(graph, [lock[0], 1]).tree[""]
    assert ("the name of the model's file says low noise" in report) != is_merged


# What only the sampling run can know: the size of the video, and prompts for a part of it


def test_a_mask_of_another_video_ends_the_run_in_words_and_the_next_run_is_whole(client: Client) -> None:
    graph = Graph()
    lock = LITE_LOCK(graph, mask=graph.make(tensor=[2, 64, 64], fill="unit"))
    graph.hash(recipes.stock_sample(graph, lock, steps=2))
    words = r"IDLock: mask: found 2 masks; wanted 1, or 9 as the video has frames\."
    assert re.search(words, str(client.fails(graph)))
    graph = Graph()
    whole = recipes.stock_sample(graph, LITE_LOCK(graph), steps=2)
    assert np.isfinite(client.value(graph, whole).array).all()


@pytest.mark.parametrize("size", [(1.0, 0.5), (0.5, 0.5)])
def test_a_mask_beside_a_prompt_for_an_area_ends_the_run_in_words(client: Client, size: tuple[float, float]) -> None:
    graph = Graph()
    lock = LITE_LOCK(graph, mask=graph.make(tensor=[1, 64, 64], fill="unit"))
    texts = recipes.conditioning(graph)
    place = {"width": size[0], "height": size[1], "temporal": 1.0, "x": 0.0, "y": 0.5, "z": 0.0, "strength": 1.0}
    area = graph.add("ConditioningSetAreaPercentageVideo", conditioning=texts["positive"], **place)[0]
    graph.hash(recipes.stock_sample(graph, lock, steps=2, positive=area))
    words = r"IDLock: model: found a prompt for an area of the video; wanted prompts for the whole of it"
    assert re.search(words, str(client.fails(graph)))
