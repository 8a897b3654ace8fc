"""Cancelling in the middle of a node ends it long before its end, and the next prompt knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.host import recipes
from tests.host.live import Client, Graph, Node, Saved
from tests.host.recipes import Link

STEPS = 100  # of a tenth of a second and more each: a busy host takes a while to hear of the interrupt


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How a prompt ended that was interrupted once one of its nodes had done a step."""

    event: str  # the last event
    node: str  # the node that it names
    step_at_interrupt: float  # as the host reported it before
    last_step: float  # the last one that it reported at all


def cancel_while_running(client: Client, graph: Graph, node: str, *, after_step: int = 1) -> Cancelled:
    """Interrupts the prompt once the node has done a step or so many, and reads its events to the end."""
    steps: list[float] = []
    event, data = "", {}
    for event, data in client.events(graph):  # noqa: B007
        if event != "progress_state" or data["nodes"].get(node, {}).get("value", 0) < after_step:
            continue
        if not steps:
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
        steps.append(data["nodes"][node]["value"])
    assert steps, f"the node did no step before {event}: {data}"
    return Cancelled(event, data.get("node_id", ""), steps[0], steps[-1])


def assert_stopped(cancelled: Cancelled, node: str) -> None:
    assert (cancelled.event, cancelled.node) == ("execution_interrupted", node)
    assert cancelled.last_step < STEPS


def locked_run(graph: Graph, *, steps: int, size_px: int = 64) -> Node:
    """A run with both experts, locked to one identity."""
    parts = {"identity": recipes.identity(graph), "adapter": recipes.adapter(graph)}
    high, low = (recipes.locked(graph, recipes.model(graph, name), **parts) for name in (recipes.HIGH, recipes.LOW))
    start = recipes.latent(graph, size_px=size_px, frames=17)
    return Node(recipes.moe_sample(graph, model_high=high, model_low=low, steps=steps, latent_image=start)[0])


def short_run(client: Client) -> Saved:
    graph = Graph()
    return client.value(graph, locked_run(graph, steps=6)[0])


def test_a_cancelled_run_stops_and_leaves_nothing_behind(client: Client) -> None:
    client.forget()
    before = short_run(client)
    client.forget()
    graph = Graph()
    node = locked_run(graph, steps=STEPS, size_px=160)
    graph.hash(node[0])
    assert_stopped(cancel_while_running(client, graph, node.id), node.id)
    assert short_run(client) == before


def with_sampler(graph: Graph, latent: Link, steps: int) -> Link:
    return recipes.moe_sample(graph, latent_image=latent, steps=steps, memory="one_expert")


def with_guider(graph: Graph, latent: Link, steps: int) -> Link:
    sigmas = recipes.sigmas(graph, steps=steps)
    return recipes.sample_with_guider(graph, recipes.moe_guider(graph), latent_image=latent, sigmas=sigmas)


def with_model(graph: Graph, latent: Link, steps: int) -> Link:
    return recipes.stock_sample(graph, recipes.moe_model(graph), latent_image=latent, steps=steps)


def models_and_run(
    client: Client, build: Callable[..., Link], use: str
) -> tuple[list[str], Saved, set[str], list[str]]:
    """The hashes of both experts, a short run with them, which of them were loaded anew, and the threads after it."""
    graph = Graph()
    token = graph.make(value=use)
    hashed = [graph.hash(recipes.model(graph, name), after=token) for name in (recipes.HIGH, recipes.LOW)]
    loaders = {graph.prompt[node.id]["inputs"]["value"][0] for node in hashed}
    link = build(graph, graph.make(latent=[1, 16, 3, 8, 8], use=use), 6)
    latent, threads = graph.save(link), graph.add("WanCastProbeThreads", after=link)
    run = client.run(graph)
    alive = json.loads(run.output(threads)["threads"][0])
    return [run.digest(node) for node in hashed], run.saved(latent), loaders - run.cached_nodes(), alive


@pytest.mark.parametrize("build", [with_sampler, with_guider, with_model])
def test_a_cancelled_run_leaves_the_models_as_they_were(client: Client, build: Callable[..., Link]) -> None:
    """The run is interrupted after the switch, which is at step 32."""
    before, latent, _, _ = models_and_run(client, build, f"before {build.__name__}")
    graph = Graph()
    node = Node(build(graph, recipes.latent(graph, size_px=160, frames=17), STEPS)[0])
    graph.hash(node[0])
    assert_stopped(cancel_while_running(client, graph, node.id, after_step=60), node.id)
    after, again, loaded_anew, threads = models_and_run(client, build, f"after {build.__name__}")
    assert loaded_anew == set()
    assert after == before
    assert again == latent
    assert "wancast-warm" not in threads


@pytest.mark.parametrize("build", [recipes.decoded, recipes.decoded_to_video])
def test_a_cancelled_decode_stops(client: Client, build: Callable[..., Link]) -> None:
    graph = Graph()
    node, _ = build(graph, samples=graph.make(latent=[1, 16, STEPS, 32, 32]))
    graph.hash([node, 0])
    assert_stopped(cancel_while_running(client, graph, node), node)


@pytest.mark.parametrize("expert", ["model_high", "model_low"])
def test_a_run_ends_in_the_step_in_which_it_is_interrupted(client: Client, expert: str) -> None:
    """The expert asks for it itself, so no latency is in this: cfg 1 makes one evaluation a step."""
    graph = Graph()
    models = {"model_high": recipes.model(graph), "model_low": recipes.model(graph, recipes.LOW)}
    models[expert] = graph.add("WanCastProbeInterrupt", model=models[expert], at_call=2)[0]
    link = recipes.moe_sample(graph, **models, steps=12, cfg_high=1.0, cfg_low=1.0, switch="step", switch__step=5)
    graph.hash(link)
    reported, event, data = [0.0], "", {}
    for event, data in client.events(graph):  # noqa: B007
        if event == "progress_state" and link[0] in data["nodes"]:
            reported.append(data["nodes"][link[0]]["value"])
    first = 0 if expert == "model_high" else 5
    assert (event, data.get("node_id")) == ("execution_interrupted", link[0])
    assert max(reported) <= first + 2
