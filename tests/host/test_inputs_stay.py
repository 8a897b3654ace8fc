"""No node writes into what it was given: the host shares every value with every other consumer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph

Link = list[Any]
Sources = dict[str, Link]


def sources(graph: Graph, *names: str) -> Sources:
    """The inputs of those names, as the recipes make them."""
    makers: dict[str, Callable[[Graph], Link]] = {
        "model": recipes.model,
        "model_high": recipes.model,
        "model_low": lambda graph: recipes.model(graph, recipes.LOW),
        "positive": lambda graph: recipes.conditioning(graph)["positive"],
        "negative": lambda graph: recipes.conditioning(graph)["negative"],
        "latent_image": lambda graph: graph.make(latent=[1, 16, 2, 8, 8]),
        "sigmas": lambda graph: graph.add(
            "BasicScheduler", model=recipes.model(graph), scheduler="simple", steps=3, denoise=1.0
        )[0],
        "images": recipes.portrait,
        "identity": recipes.identity,
        "adapter": recipes.adapter,
        "audio": recipes.speech,
        "audio_encoder": recipes.audio_encoder,
        "samples": lambda graph: graph.make(latent=[2, 16, 2, 8, 8]),
        "vae": recipes.vae21,
        "frames": lambda graph: graph.make(tensor=[30, 64, 64, 3], fill="unit"),
    }
    return {name: makers[name](graph) for name in names}


def identity_lock(graph: Graph, **inputs: Link) -> Link:
    """IDLock and a run with its model, because that is when it works."""
    return recipes.stock_sample(graph, recipes.locked(graph, inputs.pop("model"), **inputs), steps=2)


NODES: dict[str, tuple[Callable[..., Link], tuple[str, ...]]] = {
    "IdentityEncode": (recipes.identity, ("images",)),
    "IDLock": (identity_lock, ("model", "identity", "adapter")),
    "AudioFeatures": (recipes.audio_features, ("audio", "audio_encoder")),
    "MoESampler": (
        recipes.moe_sample, ("model_high", "model_low", "positive", "negative", "latent_image", "sigmas")
    ),
    "HighCompressionVAEDecode": (recipes.decoded, ("samples", "vae")),
    "LipSyncCheck": (recipes.lip_sync, ("frames", "audio")),
}


@pytest.mark.parametrize("node", NODES)
def test_the_inputs_are_the_same_after_the_node_has_run(client: Client, node: str) -> None:
    build, names = NODES[node]
    graph = Graph()
    before = {name: graph.hash(source) for name, source in sources(graph, *names).items()}
    done = graph.hash(build(graph, **{name: hashed[0] for name, hashed in before.items()}))
    after = {name: graph.hash(hashed[0], after=done[0]) for name, hashed in before.items()}
    run = client.run(graph)
    changed = [name for name in names if run.digest(before[name]) != run.digest(after[name])]
    assert changed == []


def test_the_hash_sees_one_changed_number(client: Client) -> None:
    """The guard itself: a NaN in one place of a latent, another name in an identity, a moved option of a model."""
    graph = Graph()
    latent, identity = graph.make(latent=[1, 16, 2, 8, 8]), recipes.identity(graph)
    pairs = [
        (graph.hash(latent), graph.hash(graph.edit(latent, "samples", tensor=[1, 16, 2, 8, 8], fill="nan"))),
        (graph.hash(identity), graph.hash(graph.edit(identity, "space/name", value="another"))),
        (graph.hash(recipes.model(graph)), graph.hash(recipes.locked(graph, recipes.model(graph)))),
    ]
    run = client.run(graph)
    assert all(run.digest(first) != run.digest(second) for first, second in pairs)
