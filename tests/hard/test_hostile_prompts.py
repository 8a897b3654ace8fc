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

GOOD_EVERY = 50
QUEUE_TIMEOUT_S = 60.0
SAMPLED = {"steps": 1, "sampler_name": "euler"}
BUILDS = {
    "MoESampler": lambda graph: recipes.moe_sample(graph, **SAMPLED),
    "IDLock": lambda graph: recipes.stock_sample(graph, recipes.locked(graph, recipes.model(graph)), **SAMPLED),
    "WanCastMoEModel": lambda graph: recipes.stock_sample(graph, recipes.moe_model(graph), **SAMPLED),
    "WanCastMoEGuider": lambda graph: recipes.sample_with_guider(graph, recipes.moe_guider(graph)),
    "WanCastMoESigmas": recipes.moe_sigmas,
    "IdentityEncode": recipes.identity,
    "WanCastAdapterLoader": recipes.adapter,
    "AudioFeatures": recipes.audio_features,
    "LipSyncCheck": recipes.lip_sync,
    "HighCompressionVAEDecode": recipes.decoded,
    "WanCastDecodeToVideo": recipes.decoded_to_video,
}


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
    graph.hash(recipes.moe_sample(graph, latent_image=start, **SAMPLED))
    assert start[0] not in client.run(graph).cached_nodes()


def nameless(client: Client, prompt_id: str) -> list[str]:
    """The messages of our nodes about this prompt that do not begin with the node's name."""
    messages = dict(client.get(f"/history/{prompt_id}").get(prompt_id, {}).get("status", {}).get("messages", []))
    error = messages.get("execution_error")
    if error is None or error["node_type"] not in recipes.NODES:
        return []
    said = f"{error['node_type']}: {error['exception_type']}: {error['exception_message'][:200]!a}"
    return [] if error["exception_message"].startswith(error["node_type"]) else [said]


@pytest.mark.timeout(1200)
def test_after_hostile_prompts_the_host_works(
    client: Client, live_host: HostServer, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    random, statuses, taken = Random(hostile.SEED), Counter(), []
    tried = count(500, len(BUILDS))
    for number in range(tried):
        kind, build = list(BUILDS.items())[number % len(BUILDS)]
        graph = Graph()
        graph.hash(build(graph))
        ours = [node for node, about in graph.prompt.items() if about["class_type"] == kind]
        status, prompt_id = post(client, hostile.prompt(random, graph.prompt, ours))
        statuses[status] += 1
        taken.append(prompt_id)
        live_host.check_alive()
        if number % GOOD_EVERY == GOOD_EVERY - 1 or number == tried - 1:
            require_work(client, number)
    faults = [fault for prompt_id in filter(None, taken) for fault in nameless(client, prompt_id)]
    assert faults[:20] == []
    report(f"hostile prompts: {tried}, {dict(statuses)} by status, the host worked after each {GOOD_EVERY}")
