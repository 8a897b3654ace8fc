"""Cancelling in the middle of a node ends it within two steps, and the next prompt knows nothing of it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.host import recipes
from tests.host.live import Client, Graph, Node, Saved

STEPS = 60  # of a tenth of a second and more each, so that the interrupt arrives within one or two


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How a prompt ended that was interrupted once one of its nodes had done a step."""

    event: str  # the last event
    node: str  # the node that it names
    step_at_interrupt: float  # as the host reported it before
    last_step: float  # the last one that it reported at all


def cancel_while_running(client: Client, graph: Graph, node: str) -> Cancelled:
    """Interrupts the prompt once the node has done a step, and reads its events to the end."""
    steps: list[float] = []
    event, data = "", {}
    for event, data in client.events(graph):  # noqa: B007
        if event != "progress_state" or data["nodes"].get(node, {}).get("value", 0) < 1:
            continue
        if not steps:
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
        steps.append(data["nodes"][node]["value"])
    assert steps, f"the node did no step before {event}: {data}"
    return Cancelled(event, data.get("node_id", ""), steps[0], steps[-1])


def assert_stopped(cancelled: Cancelled, node: str) -> None:
    assert (cancelled.event, cancelled.node) == ("execution_interrupted", node)
    assert cancelled.last_step <= cancelled.step_at_interrupt + 2


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


def test_a_cancelled_decode_stops(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.decoded(graph, samples=graph.make(latent=[1, 16, STEPS, 32, 32]))
    graph.hash([node, 0])
    assert_stopped(cancel_while_running(client, graph, node), node)
