"""Cancelling in the middle of a node ends it long before its end, and the next prompt knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph, Json, Saved
from tests.host.moe_runs import with_guider, with_model, with_sampler
from tests.host.recipes import Link

STEPS = 12
Build = Callable[..., Link]


def held(graph: Graph, of_model: Link, *, at_call: int) -> Link:
    """A model that waits at its nth evaluation until the host has heard of the interrupt, however busy it is."""
    return graph.add("WanCastProbeHold", model=of_model, at_call=at_call)[0]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How a prompt ended that was interrupted in the middle of one of its nodes."""

    event: str  # the last event
    node: str  # the node that it names
    last_step: float  # the last one that the host reported


def cancel(client: Client, graph: Graph, node: str, *, when: Callable[[str, Json], bool] | None) -> Cancelled:
    """Interrupts the prompt at the first event for which ``when`` holds, if given, and reads its events to the end."""
    is_asked, last_step = when is None, 0.0
    event, data = "", {}
    for event, data in client.events(graph):
        if event == "progress_state":
            last_step = data["nodes"].get(node, {}).get("value", last_step)
        if when is not None and not is_asked and when(event, data):
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
            is_asked = True
    assert is_asked, f"nothing to interrupt before {event}: {data}"
    return Cancelled(event, data.get("node_id", ""), last_step)


def is_held(event: str, data: Json) -> bool:
    return event == "wancast_probe_held"


def assert_stopped(cancelled: Cancelled, node: str, *, before: int) -> None:
    assert (cancelled.event, cancelled.node) == ("execution_interrupted", node)
    assert cancelled.last_step < before


def locked_run(graph: Graph, of_high: Link) -> Link:
    """A run with both experts, locked to one identity."""
    parts = {"identity": recipes.identity(graph), "adapter": recipes.adapter(graph)}
    high, low = (recipes.locked(graph, of_model, **parts) for of_model in (of_high, recipes.model(graph, recipes.LOW)))
    return recipes.moe_sample(graph, model_high=high, model_low=low, steps=STEPS)


def whole_run(client: Client) -> Saved:
    graph = Graph()
    return client.value(graph, locked_run(graph, recipes.model(graph)))


def test_a_cancelled_run_stops_and_leaves_nothing_behind(client: Client) -> None:
    client.forget()
    before = whole_run(client)
    client.forget()
    graph = Graph()
    link = locked_run(graph, held(graph, recipes.model(graph), at_call=3))
    graph.hash(link)
    assert_stopped(cancel(client, graph, link[0], when=is_held), link[0], before=STEPS)
    assert whole_run(client) == before


BUILDS = {with_sampler: {"memory": "one_expert"}, with_guider: {}, with_model: {}}  # what they set of our node


def models_and_run(client: Client, build: Build, use: str) -> tuple[list[str], Saved, set[str], list[str]]:
    """The hashes of both experts, a whole run with them, which of them were loaded anew, and the threads after it."""
    graph = Graph()
    token = graph.make(value=use)
    hashed = [graph.hash(recipes.model(graph, name), after=token) for name in (recipes.HIGH, recipes.LOW)]
    loaders = {graph.prompt[node.id]["inputs"]["value"][0] for node in hashed}
    given = {"latent_image": graph.make(latent=[1, 16, 3, 8, 8], use=use), "steps": STEPS}
    link = build(graph, {"low": recipes.model(graph, recipes.LOW)}, BUILDS[build], **given)
    latent, threads = graph.save(link), graph.add("WanCastProbeThreads", after=link)
    run = client.run(graph)
    alive = json.loads(run.output(threads)["threads"][0])
    return [run.digest(node) for node in hashed], run.saved(latent), loaders - run.cached_nodes(), alive


@pytest.mark.parametrize("build", BUILDS)
def test_a_cancelled_run_leaves_the_models_as_they_were(client: Client, build: Build) -> None:
    """The interrupt is sent after the switch: an evaluation of the second expert waits for it."""
    before, latent, _, _ = models_and_run(client, build, f"before {build.__name__}")
    graph = Graph()
    of_low = held(graph, recipes.model(graph, recipes.LOW), at_call=3)
    node, _ = link = build(graph, {"low": of_low}, BUILDS[build], latent_image=recipes.latent(graph), steps=STEPS)
    graph.hash(link)
    assert_stopped(cancel(client, graph, node, when=is_held), node, before=STEPS)
    after, again, loaded_anew, threads = models_and_run(client, build, f"after {build.__name__}")
    assert loaded_anew == set()
    assert after == before
    assert again == latent
    assert "wancast-warm" not in threads


@pytest.mark.parametrize("expert", ["model_high", "model_low"])
def test_a_run_ends_in_the_step_in_which_it_is_interrupted(client: Client, expert: str) -> None:
    """The expert asks for it itself, so no latency is in this: cfg 1 makes one evaluation a step."""
    graph = Graph()
    models = {"model_high": recipes.model(graph), "model_low": recipes.model(graph, recipes.LOW)}
    models[expert] = graph.add("WanCastProbeInterrupt", model=models[expert], at_call=2)[0]
    link = recipes.moe_sample(graph, **models, steps=STEPS, cfg_high=1.0, cfg_low=1.0, switch="step", switch__step=5)
    graph.hash(link)
    first = 0 if expert == "model_high" else 5
    assert_stopped(cancel(client, graph, link[0], when=None), link[0], before=first + 3)
