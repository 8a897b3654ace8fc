"""What IDLock leaves as it is: a model where it does not act, the next run after a fault, and tokens outside of masks.

A prompt that is to run anew names a token of its own in its latent: the host keeps the results of equal nodes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.id_lock_runs import (
    FULL,
    LITE,
    LORA,
    ON_BOTH_HOSTS,
    ONE_PASS,
    PORTRAIT,
    REF,
    Spec,
    compared,
    locked,
    pair,
    person,
    velocity,
    write_lora,
)
from tests.host.live import Client, Graph, Saved
from tests.host.recipes import Link

STEPS = 3
pytestmark = ON_BOTH_HOSTS
EVERYTHING = LITE | REF | PORTRAIT
IDLE: dict[str, Spec] = {
    "no strength": {"strength": 0.0, "ref_strength": 0.0},
    "no strength, but guidance": {"strength": 0.0, "ref_strength": 0.0, "identity_guidance": 2.0},
    "an empty range": {"start_percent": 0.3, "end_percent": 0.3},
    "a range between two steps": {"start_percent": 0.99, "end_percent": 1.0},
}

uses = (f"use {n}" for n in itertools.count())


def fresh_latent(graph: Graph, size: tuple[int, ...] = (1, 16, 3, 8, 8)) -> Link:
    """Noise that is the same every time, in a node that the host has not run before."""
    return graph.make(latent=list(size), use=next(uses))


def sample(graph: Graph, model: Link, **inputs: Any) -> Link:
    return recipes.stock_sample(graph, model, **{"latent_image": fresh_latent(graph), "steps": STEPS} | inputs)


def lock(graph: Graph, model: Link, spec: Spec = EVERYTHING, *, seed: int = 1, **parts: Link) -> Link:
    return locked(graph, model, spec, identity=person(graph, seed), **parts)


# Where it does not act


def test_a_model_in_which_it_does_not_act_gives_the_same_bits(client: Client) -> None:
    graph = Graph()
    models = [lock(graph, recipes.model(graph), EVERYTHING | spec) for spec in IDLE.values()]
    plain, *idle = client.values(graph, [sample(graph, model) for model in (recipes.model(graph), *models)])
    assert [name for name, latent in zip(IDLE, idle, strict=True) if latent != plain] == []


def test_steps_outside_of_its_range_give_the_same_bits(client: Client) -> None:
    """Half of this schedule, of shift 8, ends at a sigma of 8 * 0.5 / (1 + 7 * 0.5) = 0.889."""
    graph = Graph()
    model = recipes.model(graph)
    models = (lock(graph, model, EVERYTHING | {"end_percent": 0.5}), model)
    nodes = {sigma: [graph.save(velocity(graph, link, sigma=sigma)) for link in models] for sigma in (0.88, 0.9)}
    run = client.run(graph)
    equal = {sigma: run.saved(ours) == run.saved(plain) for sigma, (ours, plain) in nodes.items()}
    assert equal == {0.88: True, 0.9: False}


# After a fault


def plain_and_locked(client: Client) -> list[Saved]:
    """A run of the plain model and one of the locked one."""
    graph = Graph()
    model = recipes.model(graph)
    latents = [graph.save(sample(graph, link)) for link in (model, lock(graph, model))]
    run = client.run(graph)
    assert not {node.id for node in latents} & run.cached_nodes()
    return [run.saved(node) for node in latents]


FAULTS = {
    "a picture is on its way": ("WanCastProbeRaise", {"block": 2, "at_call": 1}),
    "the first block": ("WanCastProbeRaise", {"block": 0, "at_call": 3}),
    "a later step": ("WanCastProbeRaise", {"block": 3, "at_call": 5}),
    "an interrupt": ("WanCastProbeInterrupt", {"at_call": 2}),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_runs_after_a_fault_know_nothing_of_it(client: Client, fault: str) -> None:
    """The second run after it is a locked one with everything that the host still has."""
    client.forget()
    before = plain_and_locked(client)
    client.forget()
    graph = Graph()
    probe, settings = FAULTS[fault]
    link = sample(graph, lock(graph, graph.add(probe, model=recipes.model(graph), **settings)[0]))
    graph.save(link)
    *_, (event, data) = client.events(graph)
    wanted = "execution_interrupted" if fault == "an interrupt" else "execution_error"
    assert (event, data["node_id"]) == (wanted, link[0])
    assert plain_and_locked(client) == before


# Keys and values of an earlier run


def test_nothing_of_another_run_is_used_again(client: Client, live_host: HostServer) -> None:
    """Each run comes after the others in the same host, which keeps keys and values."""
    write_lora(live_host)
    first = {"lora": 0.5, "side": 8, "seed": 1, "text": "image of a face", "scale": 1.0}
    changes = [{}, {"lora": 1.0}, {"side": 12}, {"seed": 2}, {"text": "a dog"}, {"scale": 1.5}, first]
    found, now = {}, first
    for change in changes:
        now = now | change
        graph = Graph()
        lora = {"lora_name": LORA, "strength_model": now["lora"]}
        model = graph.add("LoraLoaderModelOnly", model=recipes.model(graph), **lora)[0]
        if now["scale"] != 1.0:
            model = graph.add("WanCastProbeObjectPatch", model=model, scale=now["scale"])[0]
        clip = graph.add("WanCastDemoTextEncoder", text_encoder="mini_umt5.safetensors")[0]
        text = graph.add("CLIPTextEncode", clip=clip, text=now["text"])[0]
        parts = {"identity": person(graph, now["seed"]), "ref_text": text}
        both = pair(graph, model, REF | PORTRAIT, **parts)
        latent = fresh_latent(graph, (1, 16, 2, now["side"], now["side"]))
        rows = [velocity(graph, link, latent_image=latent) for link in (both.ours, both.oracle, model)]
        found[str(now)] = compared(client, graph, {"": rows})[""]
    assert {name: str(figures) for name, figures in found.items() if figures.largest > ONE_PASS} == {}


# Tokens outside of masks

COLUMNS = {"left": slice(0, 4), "gap": slice(4, 8), "right": slice(8, 12)}  # of the latent
LEFT, RIGHT = ({"box": [1, 64, 96], "left": first, "right": last, "value": 1.0} for first, last in ((0, 32), (64, 96)))


@pytest.mark.parametrize("spec", [FULL, FULL | REF | PORTRAIT], ids=["Lynx IP", "all kinds"])
def test_two_persons_stay_in_their_masks(client: Client, spec: Spec) -> None:
    """Only in the last block, after which nothing goes from token to token: what differs there came directly."""
    graph = Graph()
    model, spec = recipes.model(graph), spec | {"blocks": "3"}
    left, right = graph.make(**LEFT), graph.make(**RIGHT)
    models = {
        f"{first} and {second}": lock(
            graph, lock(graph, model, spec, seed=first, mask=left), spec, seed=second, mask=right
        )
        for first, second in ((1, 2), (2, 1), (1, 3), (3, 2))
    }
    models |= {"none": model, "1 unmasked": lock(graph, model, spec), "1 left": lock(graph, model, spec, mask=left)}
    latent = graph.make(latent=[1, 16, 2, 8, 12])
    found = client.values(graph, [velocity(graph, link, latent_image=latent) for link in models.values()])
    arrays = {name: saved.arrays["/samples"] for name, saved in zip(models, found, strict=True)}
    differing = {
        ("none", "1 and 2"): {"left", "right"},
        ("1 and 2", "2 and 1"): {"left", "right"},
        ("1 and 2", "1 and 3"): {"right"},
        ("1 and 2", "3 and 2"): {"left"},
        ("none", "1 left"): {"left"},
        ("none", "1 unmasked"): {"left", "gap", "right"},
        ("1 and 2", "1 left"): {"right"},
    }
    for (first, second), parts in differing.items():
        pairs = {name: (arrays[first][..., part], arrays[second][..., part]) for name, part in COLUMNS.items()}
        assert {name for name, bits in pairs.items() if not np.array_equal(*bits)} == parts, (first, second)
