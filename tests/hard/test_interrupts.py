"""A prompt that is interrupted at one point after another; the next one gives the bits that it gave before."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.hard.hostile import SEED
from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.recipes import Link
from tests.host.test_cancel import cancel, held, is_held

STEPS = 6
FRAMES = 397  # of the decodes that are interrupted


def locked_run(graph: Graph, high: Link, low: Link, latent: Link) -> Link:
    """A run with both experts, locked to one identity."""
    parts = {"identity": recipes.identity(graph), "adapter": recipes.adapter(graph)}
    models = {"model_high": recipes.locked(graph, high, **parts), "model_low": recipes.locked(graph, low, **parts)}
    return recipes.moe_sample(graph, **models, latent_image=latent, steps=STEPS)


def digests(client: Client, use: int) -> list[str]:
    """The hashes of a run and of its pictures, computed anew."""
    graph = Graph()
    latent = graph.make(latent=[1, 16, 3, 8, 8], use=use)
    sampled = locked_run(graph, recipes.model(graph), recipes.model(graph, recipes.LOW), latent)
    nodes = [graph.hash(link) for link in (sampled, recipes.decoded(graph, samples=sampled))]
    run = client.run(graph)
    return [run.digest(node) for node in nodes]


def interrupted_sampling(client: Client, random: Random) -> tuple[str, str]:
    """Interrupts an evaluation of one of the experts; returns the last event and what stopped."""
    graph = Graph()
    models = [recipes.model(graph), recipes.model(graph, recipes.LOW)]
    expert = random.randrange(2)
    models[expert] = held(graph, models[expert], at_call=random.randint(1, 2))
    link = locked_run(graph, *models, recipes.latent(graph))
    graph.hash(link)
    cancelled = cancel(client, graph, link[0], when=is_held)
    return cancelled.event, graph.prompt[cancelled.node]["class_type"]


def interrupted_decode(client: Client, random: Random, *, to_video: bool) -> tuple[str, str]:
    """Interrupts a decode after some of its frames."""
    graph, frames = Graph(), random.randint(1, FRAMES // 4)
    build = recipes.decoded_to_video if to_video else recipes.decoded
    node, _ = build(graph, samples=graph.make(latent=[1, 16, (FRAMES + 3) // 4, 8, 8], use=random.random()))
    graph.hash([node, 1])

    def is_there(event: str, data: dict[str, Any]) -> bool:
        return event == "progress_state" and data["nodes"].get(node, {}).get("value", 0) >= frames

    cancelled = cancel(client, graph, node, when=is_there)
    return cancelled.event, graph.prompt[cancelled.node]["class_type"]


@pytest.mark.timeout(1200)
def test_the_prompt_after_an_interrupt_gives_the_same_bits(
    client: Client, count: Callable[..., int], report: Callable[[str], None]
) -> None:
    random, points = Random(SEED), count(24, 3)
    before = digests(client, -1)
    for point in range(points):
        match point % 3:
            case 0:
                found = interrupted_sampling(client, random), "MoESampler"
            case 1:
                found = interrupted_decode(client, random, to_video=False), "HighCompressionVAEDecode"
            case _:
                found = interrupted_decode(client, random, to_video=True), "WanCastDecodeToVideo"
        assert found[0] == ("execution_interrupted", found[1])
        assert digests(client, point) == before
    report(f"interrupts: {points} points, the next prompt bit-equal after each")
