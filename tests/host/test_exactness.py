"""Where our node and a stock node do the same job, they give the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.live import Client, Graph


def test_a_prompt_repeats_itself_bit_for_bit(client: Client) -> None:
    """The ground that the comparisons below stand on."""
    results = []
    for _ in range(2):
        client.forget()
        graph = Graph()
        node = graph.save(recipes.stock_sample(graph, recipes.model(graph)))
        run = client.run(graph)
        assert node.id not in run.cached_nodes()
        results.append(run.saved(node))
    assert results[0] == results[1]


@pytest.mark.parametrize("changes", [{}, {"denoise": 0.6}, {"cfg": 1.0}, {"scheduler": "beta", "steps": 5}], ids=str)
def test_one_file_in_both_slots_equals_the_stock_sampler(client: Client, changes: dict[str, Any]) -> None:
    graph = Graph()
    expert, start = recipes.model(graph), graph.make(latent=[1, 16, 3, 8, 8])
    ours = {name: value for name, value in changes.items() if name != "cfg"}
    ours |= {"cfg_high": changes["cfg"], "cfg_low": changes["cfg"]} if "cfg" in changes else {}
    stock = recipes.stock_sample(graph, expert, latent_image=start, **changes)
    both = recipes.moe_sample(graph, model_high=expert, model_low=expert, latent_image=start, **ours)
    wanted, found = client.values(graph, [stock, both])
    assert found == wanted
    assert np.isfinite(found.array).all()


def test_one_file_loaded_twice_equals_the_stock_sampler_on_a_fresh_host(client: Client) -> None:
    client.forget()
    graph = Graph()
    ours = graph.save(recipes.moe_sample(graph, model_low=recipes.model(graph, recipes.HIGH), sampler_name="uni_pc"))
    first = client.run(graph).saved(ours)
    client.forget()
    graph = Graph()
    stock = graph.save(recipes.stock_sample(graph, recipes.model(graph), sampler_name="uni_pc"))
    assert first == client.run(graph).saved(stock)


def test_two_experts_differ_from_each_expert_alone(client: Client) -> None:
    graph = Graph()
    alone = [recipes.stock_sample(graph, recipes.model(graph, name)) for name in (recipes.HIGH, recipes.LOW)]
    both, *each = client.values(graph, [recipes.moe_sample(graph), *alone])
    assert all(both != latent for latent in each)


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize(("vae", "channels"), [(recipes.vae21, 16), (recipes.vae22, 48)], ids=["wan2.1", "wan2.2"])
def test_decoding_equals_stock_decoding(client: Client, vae: Any, channels: int, frames: int) -> None:
    graph = Graph()
    inputs = {"samples": graph.make(latent=[1, channels, frames, 6, 10]), "vae": vae(graph)}
    images = graph.add("VAEDecode", **inputs)[0], recipes.decoded(graph, tiling="whole frame", **inputs)
    wanted, found = client.values(graph, images)
    assert found == wanted
    assert found.array.shape[0] == 4 * frames - 3


def test_an_identity_lock_changes_the_latent_and_leaves_the_model_as_it_was(client: Client) -> None:
    graph = Graph()
    plain = recipes.model(graph)
    before = graph.save(recipes.stock_sample(graph, plain))
    lock = graph.save(recipes.stock_sample(graph, recipes.locked(graph, plain)))
    run = client.run(graph)
    assert run.saved(lock) != run.saved(before)
    assert np.isfinite(run.saved(lock).array).all()

    graph = Graph()
    after = graph.save(recipes.stock_sample(graph, recipes.model(graph), steps=6, seed=42, denoise=1.0))
    graph.save(recipes.locked(graph, recipes.model(graph)))
    assert client.run(graph).saved(after) == run.saved(before)


def test_audio_features_pass_the_stock_encoding_through(client: Client) -> None:
    """16 frames at 16 fps are one second: the first recording is cut to it, the second is neither cut nor padded."""
    graph = Graph()
    encoder = recipes.audio_encoder(graph)
    pairs = []
    for sound, frames in ((recipes.speech(graph), 16), (graph.make(audio=[1, 1, 16000], rate=16000), 0)):
        node = graph.add("AudioFeatures", audio=sound, fps=16.0, frames=frames, audio_encoder=encoder)
        heard = node[2] if frames else sound
        stock = graph.add("AudioEncoderEncode", audio_encoder=encoder, audio=heard)
        pairs.append((graph.save(node[0]), graph.save(stock[0])))
    run = client.run(graph)
    for ours, stock in ((run.saved(ours), run.saved(stock)) for ours, stock in pairs):
        assert set(ours.tree["/keys"]) - set(stock.tree["/keys"]) == {"wancast"}
        assert stock.bits().items() <= ours.bits().items()
        assert {path: leaf for path, leaf in stock.tree.items() if path != "/keys"}.items() <= ours.tree.items()
