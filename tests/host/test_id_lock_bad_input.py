"""What IDLock refuses, word for word, when it is made and when the model samples; the host goes on working."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.bad_inputs import NODE_OF, NOTHING, TEXT, Build, Row
from tests.host.id_lock_runs import FILES, LITE, PORTRAIT, REF, Spec, person, picture_parts
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


LITE_LOCK, REF_LOCK, PORTRAIT_LOCK = (lock_of(spec) for spec in (LITE, REF, PORTRAIT))
NODE_OF.update(dict.fromkeys((LITE_LOCK, REF_LOCK, PORTRAIT_LOCK), "IDLock"))

PAIRS = 'a text like "0:1, 40:0.5"'
SHOWN = 'frame and weight, as in "0:1, 40:0.5"'
EXPERT = "the Stand-In file of the high-noise expert on the low-noise model"
OWN_TEXT = "[batch, tokens, 64] for this model"


def number(value: float) -> Spec:
    return {"value": value}


ROWS = [
    *(
        Row(LITE_LOCK, name, number(-0.5), "-0.5", "a finite number of 0 or more")
        for name in ("strength", "ref_strength", "identity_guidance")
    ),
    *(
        Row(LITE_LOCK, name, number(float("nan")), "nan", "a finite number of 0 or more")
        for name in ("strength", "ref_strength", "identity_guidance")
    ),
    Row(LITE_LOCK, "apply_to", {"value": "nobody"}, "'nobody'", "one of auto, both, positive"),
    Row(LITE_LOCK, "kept_as", {"value": "int4"}, "'int4'", "one of model's type, fp8"),
    Row(
        LITE_LOCK,
        "identity_guidance",
        2.0,
        "2 with the person on both prompts",
        "a negative prompt without the person",
        {"apply_to": "both"},
    ),
    Row(
        PORTRAIT_LOCK,
        "identity_guidance",
        2.0,
        "2 with the person on both prompts",
        "a negative prompt without the person",
    ),
    Row(LITE_LOCK, "frame_weights", number(1.0), "1.0", PAIRS),
    Row(LITE_LOCK, "frame_weights", "0-4:1", "'0-4:1'", SHOWN),
    Row(LITE_LOCK, "frame_weights", "8:1, 4:1", "the frames 8, 4", "each frame once, in rising order"),
    Row(LITE_LOCK, "blocks", "1", "'1'", "blocks that the adapter has weights for: 0, 2"),
    Row(LITE_LOCK, "mask", TEXT, "str", "a MASK"),
    Row(
        LITE_LOCK,
        "mask",
        {"tensor": [64, 64], "fill": "unit"},
        "a tensor of shape (64, 64)",
        "masks as frames, height, width",
    ),
    Row(LITE_LOCK, "mask", {"tensor": [0, 64, 64]}, "a tensor of shape (0, 64, 64)", "masks as frames, height, width"),
    Row(LITE_LOCK, "mask", {"tensor": [1, 64, 64], "fill": "nan"}, "values outside of 0 to 1", "values from 0 to 1"),
    *(
        Row(build, "vae", bad, found, wanted)
        for build in (PORTRAIT_LOCK, REF_LOCK)
        for bad, found, wanted in (
            (NOTHING, "nothing", "the model's VAE, for the pictures of the identity"),
            (TEXT, "str", "the VAE of this model"),
            (recipes.vae22, "a VAE whose latents are (48, 1, <...>)", "the VAE of this model, with 16 latent channels"),
        )
    ),
    Row(REF_LOCK, "ref_text", NOTHING, "nothing", "a text for the reference layers"),
    Row(REF_LOCK, "ref_text", TEXT, "str", "CONDITIONING"),
    Row(REF_LOCK, "ref_text", {"conditioning": [1, 7, 11]}, "text of shape [1, 7, 11]", OWN_TEXT),
    Row(REF_LOCK, "ref_text", {"conditioning": [2, 7, 64]}, "several texts", "one"),
    Row(LITE_LOCK, "model", recipes.moe_model, "a model that WanCast MoE Model made of two", "one expert"),
    Row(
        PORTRAIT_LOCK,
        "model",
        lambda graph: recipes.model(graph, recipes.LOW),
        EXPERT,
        "the one of the low-noise expert",
        named="adapter",
    ),
]


def without(part: str) -> Build:
    """An identity that lacks one of its pictures."""
    return lambda graph: graph.edit(person(graph), part, value=None)


ROWS += [
    Row(
        PORTRAIT_LOCK,
        "identity",
        without("portrait"),
        "an identity without a portrait",
        "one with a portrait, for Stand-In",
    ),
    Row(
        REF_LOCK,
        "identity",
        without("reference_crop"),
        "an identity of crops that were aligned already",
        "one with a wider crop, for the reference layers",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_message_names_node_input_found_wanted_and_fix(client: Client, row: Row) -> None:
    graph = Graph()
    bad = graph.make(**row.bad) if isinstance(row.bad, dict) else row.bad(graph) if callable(row.bad) else row.bad
    graph.hash(row.build(graph, **(row.beside or {}) | {row.input: bad}))
    failure = client.fails(graph)
    assert failure.node_type == "IDLock", failure.message
    assert row.message.fullmatch(failure.message), failure.message


# What only the sampling run can know: the size of the video


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([2, 64, 64], r"IDLock: mask: found 2 masks; wanted 1, or 9 as the video has frames\."),
        ([1, 32, 64], r"IDLock: mask: found a mask of 64 x 32 px; wanted the shape of the video, 64 x 64 px\."),
        ([1, 2, 2], r"IDLock: mask: found a mask of 2 x 2 px; wanted the shape of the video, 64 x 64 px\."),
    ],
)
def test_a_mask_of_another_video_ends_the_run_in_words_and_the_next_run_is_whole(
    client: Client, shape: list[int], words: str
) -> None:
    graph = Graph()
    lock = LITE_LOCK(graph, mask=graph.make(tensor=shape, fill="unit"))
    graph.hash(recipes.stock_sample(graph, lock, steps=2))
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


def test_the_host_itself_refuses_what_its_widgets_do_not_hold(client: Client) -> None:
    for name, value, words in (
        ("ref_strength", 2.5, "bigger than max.*ref_strength"),
        ("identity_guidance", -1.0, "smaller than min.*identity_guidance"),
        ("apply_to", "nobody", "Value not in list.*apply_to.*nobody"),
    ):
        graph = Graph()
        graph.hash(LITE_LOCK(graph, **{name: value}))
        assert re.search(words, client.fails(graph).message, re.DOTALL)
