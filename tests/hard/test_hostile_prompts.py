"""Hostile prompts through the host's own door: whatever comes, the next good prompt runs."""

from __future__ import annotations

import json
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.hard import hostile
from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.test_inputs_stay import NODES, sources

GOOD_EVERY = 50
QUEUE_TIMEOUT_S = 60.0


def post(client: Client, prompt: hostile.Prompt) -> tuple[int, str]:
    """The host's status, and the id of the prompt where it took it."""
    try:
        body = json.dumps({"prompt": prompt, "client_id": "hostile"}).encode()
        return 200, json.loads(api.fetch(f"{client.url}/prompt", body, "application/json"))["prompt_id"]
    except urllib.error.HTTPError as error:
        return error.code, ""


def require_work(client: Client, number: int) -> None:
    """The queue empties, and a prompt that the host has not seen runs to its good end."""
    deadline = time.monotonic() + QUEUE_TIMEOUT_S
    while any(client.get("/queue").values()):
        assert time.monotonic() < deadline, f"the host hangs after prompt {number}"
        time.sleep(0.1)
    graph = Graph()
    start = graph.make(latent=[1, 16, 1, 8, 8], after=number)
    graph.hash(recipes.moe_sample(graph, latent_image=start, steps=1))
    assert start[0] not in client.run(graph).cached_nodes()


def nameless(client: Client, prompt_id: str) -> list[str]:
    """The message of one of our nodes about this prompt, where it does not begin with the node's name."""
    messages = dict(client.get(f"/history/{prompt_id}").get(prompt_id, {}).get("status", {}).get("messages", []))
    error = messages.get("execution_error", {})
    node, said = error.get("node_type"), error.get("exception_message", "")
    is_nameless = node in NODES and not said.startswith(f"{node}: ")
    return [f"{node}: {error['exception_type']}: {said[:200]!a}"] if is_nameless else []


@pytest.mark.timeout(1200)
def test_after_hostile_prompts_the_host_works(
    client: Client, live_host: HostServer, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    random, statuses, taken = Random(hostile.SEED), Counter(), []
    tried = count(500, len(NODES))
    for number in range(tried):
        kind, (build, names) = list(NODES.items())[number % len(NODES)]
        graph = Graph()
        graph.hash(build(graph, **sources(graph, *names)))
        ours = [node for node, about in graph.prompt.items() if about["class_type"] == kind]
        status, prompt_id = post(client, hostile.prompt(random, graph.prompt, ours))
        statuses[status] += 1
        live_host.check_alive()
        if number % GOOD_EVERY == GOOD_EVERY - 1 or number == tried - 1:
            require_work(client, number)
        taken.append(prompt_id)
    faults = {fault for prompt_id in filter(None, taken) for fault in nameless(client, prompt_id)}
    assert not faults, "\n".join(sorted(faults))
    report(f"hostile prompts: {tried}, {dict(statuses)} by status, the host worked after each {GOOD_EVERY}")
