"""Cancelling in the middle of a node ends it soon, and the next prompt knows nothing of it."""

from __future__ import annotations

import time

from tests.host import recipes
from tests.host.live import Client, Graph, Json, Node, Saved

CANCEL_LIMIT_S = 5.0  # one step of a miniature network, on a machine that does other things too


def cancel_while_running(client: Client, graph: Graph, node: str) -> tuple[str, Json, float]:
    """Interrupts the prompt once the node has done something; the last event, and the seconds that it took to come."""
    sent_s = 0.0
    event: tuple[str, Json] = ("", {})
    for event in client.events(graph):  # noqa: B007
        name, data = event
        if not sent_s and name == "progress_state" and data["nodes"].get(node, {}).get("value", 0) >= 1:
            client.post("/interrupt", {"prompt_id": data["prompt_id"]})
            sent_s = time.monotonic()
    return *event, time.monotonic() - sent_s


def locked_run(graph: Graph, *, steps: int) -> Node:
    """A run with both experts, locked to one identity."""
    parts = {"identity": recipes.identity(graph), "adapter": recipes.adapter(graph)}
    high, low = (recipes.locked(graph, recipes.model(graph, name), **parts) for name in (recipes.HIGH, recipes.LOW))
    return Node(recipes.moe_sample(graph, model_high=high, model_low=low, steps=steps)[0])


def short_run(client: Client) -> Saved:
    graph = Graph()
    return client.value(graph, locked_run(graph, steps=6)[0])


def test_a_cancelled_run_stops_and_leaves_nothing_behind(client: Client) -> None:
    client.forget()
    before = short_run(client)
    client.forget()
    graph = Graph()
    node = locked_run(graph, steps=5000)
    graph.hash(node[0])
    event, data, seconds = cancel_while_running(client, graph, node.id)
    assert (event, data["node_id"]) == ("execution_interrupted", node.id)
    assert seconds < CANCEL_LIMIT_S
    assert short_run(client) == before


def test_a_cancelled_decode_stops(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.decoded(graph, samples=graph.make(latent=[1, 16, 2000, 8, 8]))
    graph.hash([node, 0])
    event, data, seconds = cancel_while_running(client, graph, node)
    assert (event, data["node_id"]) == ("execution_interrupted", node)
    assert seconds < CANCEL_LIMIT_S
