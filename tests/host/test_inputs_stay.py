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
        "sigmas": lambda graph: recipes.sigmas(graph, steps=3),
        "guider_high": lambda graph: recipes.guider(graph, recipes.model(graph)),
        "guider_low": lambda graph: recipes.guider(graph, recipes.model(graph, recipes.LOW)),
        "guider_start": lambda graph: recipes.guider(graph, recipes.model(graph), cfg=1.0),
        "images": recipes.portrait,
        "identity": recipes.identity,
        "adapter": recipes.adapter,
        "audio": recipes.speech,
        "audio_encoder": recipes.audio_encoder,
        "samples": lambda graph: graph.make(latent=[2, 16, 2, 8, 8]),
        "vae": recipes.vae21,
        "clips.clip_1": lambda graph: graph.make(tensor=[2, 112, 112, 3], fill="unit"),
        "characters.character_1": recipes.identity,
        "frames": lambda graph: graph.make(tensor=[30, 64, 64, 3], fill="unit"),
    }
    return {name: makers[name](graph) for name in names}


def identity_lock(graph: Graph, **inputs: Link) -> Link:
    """IDLock and a run with its model, because that is when it works."""
    return recipes.stock_sample(graph, recipes.locked(graph, inputs.pop("model"), **inputs), steps=2)


def moe_guider(graph: Graph, **inputs: Link) -> Link:
    """WanCastMoEGuider and a run with its guider, because that is when it works; uni_pc writes into its sigmas."""
    common = {name: inputs.pop(name) for name in ("sigmas", "latent_image")}
    guider = recipes.moe_guider(graph, **inputs, start_steps=1)
    return recipes.sample_with_guider(graph, guider, **common, sampler_name="uni_pc")


def moe_model(graph: Graph, **inputs: Link) -> Link:
    """WanCastMoEModel and a run with its model, because that is when it works; uni_pc writes into its sigmas."""
    common = {name: inputs.pop(name) for name in ("sigmas", "latent_image")}
    guider = recipes.guider(graph, recipes.moe_model(graph, **inputs))
    return recipes.sample_with_guider(graph, guider, **common, sampler_name="uni_pc")


def decoded_to_video(graph: Graph, **inputs: Link) -> Link:
    """WanCastDecodeToVideo's first clip of the samples."""
    clip = graph.add("LatentFromBatch", samples=inputs.pop("samples"), batch_index=0, length=1)
    return recipes.decoded_to_video(graph, samples=clip[0], **inputs)


def saved_character(graph: Graph, **inputs: Link) -> Link:
    """WanCastCharacterSave's reference to a character with the audio as its voice."""
    return recipes.saved_character(graph, voice=inputs.pop("audio"), **inputs)


NODES: dict[str, tuple[Callable[..., Link], tuple[str, ...]]] = {
    "IdentityEncode": (recipes.identity, ("images",)),
    "IDLock": (identity_lock, ("model", "identity", "adapter")),
    "AudioFeatures": (recipes.audio_features, ("audio", "audio_encoder")),
    "MoESampler": (recipes.moe_sample, ("model_high", "model_low", "positive", "negative", "latent_image", "sigmas")),
    "WanCastMoEGuider": (moe_guider, ("guider_high", "guider_low", "guider_start", "latent_image", "sigmas")),
    "WanCastMoEModel": (moe_model, ("model_high", "model_low", "latent_image", "sigmas")),
    "WanCastMoESigmas": (recipes.moe_sigmas, ("model",)),
    "HighCompressionVAEDecode": (recipes.decoded, ("samples", "vae")),
    "WanCastDecodeToVideo": (decoded_to_video, ("samples", "vae", "audio")),
    "LipSyncCheck": (recipes.lip_sync, ("frames", "audio")),
    "WanCastPromptCheck": (recipes.prompt_check, ("identity",)),
    "WanCastIdentityCheck": (recipes.identity_check, ("clips.clip_1", "characters.character_1")),
    "WanCastCharacterSave": (saved_character, ("identity", "audio")),
    "WanCastCharacterLoad": (recipes.loaded_character, ()),
}


@pytest.mark.parametrize("node", [node for node, (_, names) in NODES.items() if names])
def test_the_inputs_are_the_same_after_the_node_has_run(client: Client, node: str) -> None:
    build, names = NODES[node]
    graph = Graph()
    before = {name: graph.hash(source) for name, source in sources(graph, *names).items()}
    done = graph.hash(build(graph, **{name: hashed[0] for name, hashed in before.items()}))
    after = {name: graph.hash(hashed[0], after=done[0]) for name, hashed in before.items()}
    run = client.run(graph)
    changed = [name for name in names if run.digest(before[name]) != run.digest(after[name])]
    assert changed == []


MOE_NODES = ("MoESampler", "WanCastMoEGuider", "WanCastMoEModel")
DECODERS = ("HighCompressionVAEDecode", "WanCastDecodeToVideo")


@pytest.mark.parametrize("node", [*MOE_NODES, *DECODERS])
def test_the_inputs_are_the_same_after_a_run_that_failed(client: Client, node: str) -> None:
    """The low-noise expert breaks at its first turn, the VAE at its second. The prompts before and after take the
    inputs from the cache."""
    build, names = NODES[node]
    names = tuple(name for name in names if name not in ("sigmas", "latent_image"))

    def broken(graph: Graph, given: Sources) -> Link:
        """The run on the given inputs, with a break beside them or in front of one of them."""
        if node in DECODERS:
            faulty = {"fault": "nan", "from_call": 2, "pause_s": 0.0}
            return build(graph, **given | {"vae": graph.add("WanCastProbeFaultyVae", vae=given["vae"], **faulty)[0]})
        low = graph.add("WanCastProbeNan", model=recipes.model(graph, recipes.LOW), below_sigma=0.875)[0]
        parts = sources(graph, "latent_image") | {"sigmas": recipes.sigmas(graph)}
        spoilt = {"guider_low": recipes.guider(graph, low)} if "guider_low" in given else {"model_low": low}
        return build(graph, **parts | given | spoilt)

    def digests(after: str) -> tuple[dict[str, str], bool]:
        """The hashes of the inputs, and whether all of them came from the cache."""
        graph = Graph()
        given, token = sources(graph, *names), graph.make(value=after)
        hashed = {name: graph.hash(link, after=token) for name, link in given.items()}
        run = client.run(graph)
        is_cached = {link[0] for link in given.values()} <= run.cached_nodes()
        return {name: run.digest(node) for name, node in hashed.items()}, is_cached

    before, _ = digests(f"before {node}")
    graph = Graph()
    graph.hash(broken(graph, sources(graph, *names)))
    assert "NaN" in client.fails(graph).message
    assert digests(f"after {node}") == (before, True)


def test_the_hash_sees_one_changed_number(client: Client) -> None:
    """The guard itself: a NaN in one place of a latent, another name in an identity, a moved option of a model or
    guider."""
    graph = Graph()
    latent, identity = graph.make(latent=[1, 16, 2, 8, 8]), recipes.identity(graph)
    model = recipes.model(graph)
    pairs = [
        (graph.hash(latent), graph.hash(graph.edit(latent, "samples", tensor=[1, 16, 2, 8, 8], fill="nan"))),
        (graph.hash(identity), graph.hash(graph.edit(identity, "space/name", value="another"))),
        (graph.hash(recipes.model(graph)), graph.hash(recipes.locked(graph, recipes.model(graph)))),
        (graph.hash(recipes.guider(graph, model)), graph.hash(recipes.guider(graph, model, cfg=2.0))),
    ]
    run = client.run(graph)
    assert all(run.digest(first) != run.digest(second) for first, second in pairs)
