"""What a run with two experts loads and when, and what it leaves behind after success and after a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file
from tests.host.moe_runs import NOISE
from tests.host.recipes import Link

START = "start_copy_of_mini_t2v_low.safetensors"
FILES = {"start": START, "high": recipes.HIGH, "low": recipes.LOW}

Entry = dict[str, Any]
Build = Callable[..., Link]


@pytest.fixture(scope="module", autouse=True)
def third_file(live_host: HostServer) -> None:
    """One expert is there a second time, under another name."""
    folder = live_host.base_dir / "models" / "diffusion_models"
    share_file(folder / recipes.LOW, folder / START)


# One way to sample for each node: a graph and the models by name, other inputs of the node, inputs of its sampler


def with_sampler(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    return recipes.moe_sample(graph, **pair_of(models), **settings, **common)


def with_model(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    return recipes.stock_sample(graph, recipes.moe_model(graph, **pair_of(models), **settings), **common)


def with_guider(graph: Graph, models: dict[str, Link], settings: dict[str, Any], **common: Any) -> Link:
    guiders = {f"guider_{name}": recipes.guider(graph, model) for name, model in models.items()}
    if "denoise" in common:
        common["sigmas"] = recipes.sigmas(graph, denoise=common.pop("denoise"))
    return recipes.sample_with_guider(graph, recipes.moe_guider(graph, **guiders, **settings), **common)


def pair_of(models: dict[str, Link]) -> dict[str, Link]:
    return {f"model_{name}": model for name, model in models.items()}


WAYS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "sampler": (with_sampler, ("high", "low")),
    "model": (with_model, ("high", "low")),
    "guider": (with_guider, ("high", "low")),
    "guider of three": (with_guider, ("start", "high", "low")),
}


def watched(client: Client, way: str, settings: dict[str, Any], **common: Any) -> tuple[list[Entry], list[str]]:
    """The log of a run on a host that has loaded nothing yet, and the threads that are alive after it."""
    client.forget()
    graph, models, log = Graph(), {}, {}
    build, slots = WAYS[way]
    for name in slots:
        probe = graph.add("WanCastProbeWatch", model=recipes.model(graph, FILES[name]), name=name, **log)
        models[name], log = probe[0], {"log": probe[1]}
    latent = build(graph, models, settings, latent_image=graph.make(**NOISE), **common)
    reader = graph.add("WanCastProbeReadLog", log=log["log"], after=latent)
    threads = graph.add("WanCastProbeThreads", after=latent)
    run = client.run(graph)
    return json.loads(run.output(reader)["log"][0]), json.loads(run.output(threads)["threads"][0])


def names(log: list[Entry], event: str) -> list[str]:
    return [entry["name"] for entry in log if entry["event"] == event]


def is_fetch(entry: Entry) -> bool:
    """Whether this is the start of a thread of ours; the host starts some of its own."""
    return entry == {"event": "thread", "name": "wancast-warm"}


def in_order(values: list[str]) -> list[str]:
    """The values without repeats of the one before."""
    return [value for i, value in enumerate(values) if i == 0 or values[i - 1] != value]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("memory", ["auto", "one_expert"])
def test_each_expert_is_fetched_ahead_and_loaded_once_when_its_turn_comes(
    client: Client, way: str, memory: str
) -> None:
    """With one_expert the host never holds two at an evaluation; with auto it holds all that had their turn."""
    slots = list(WAYS[way][1])
    log, threads = watched(client, way, {"memory": memory}, sampler_name="dpmpp_2m")
    assert names(log, "load") == slots
    assert in_order(names(log, "evaluate")) == slots
    steps = [(entry["event"], entry["name"]) for entry in log if entry["event"] != "thread"]
    for i, name in enumerate(slots):
        assert steps.index(("load", name)) == steps.index(("evaluate", name)) - 1
        wanted = [name] if memory == "one_expert" else sorted(slots[: i + 1])
        held = [entry["loaded"] for entry in log if entry["event"] == "evaluate" and entry["name"] == name]
        assert held == [wanted] * len(held)
    fetches = [i for i, entry in enumerate(log) if is_fetch(entry)]  # into RAM, while the expert before computes
    turns = [log.index({"event": "load", "name": name}) for name in slots]
    assert len(fetches) == len(slots) - 1
    assert all(first < at < turn for first, at, turn in zip(turns, fetches, turns[1:], strict=False))
    assert "wancast-warm" not in threads


@pytest.mark.parametrize("way", ["sampler", "model", "guider"])
def test_a_solver_that_comes_back_still_has_one_expert_at_a_time(client: Client, way: str) -> None:
    log, _ = watched(client, way, {"memory": "one_expert"}, sampler_name="heunpp2")
    assert in_order(names(log, "evaluate")) == ["high", "low", "high", "low"]
    assert names(log, "load") == ["high", "low", "high", "low"]
    assert all(entry["loaded"] == [entry["name"]] for entry in log if entry["event"] == "evaluate")


@pytest.mark.parametrize("way", ["sampler", "guider", "model"])
def test_an_expert_without_steps_is_never_loaded(client: Client, way: str) -> None:
    """Neither is it fetched into RAM."""
    log, _ = watched(client, way, {}, sampler_name="euler", denoise=0.3)
    assert names(log, "load") == ["low"]
    assert not any(map(is_fetch, log))
    log, _ = watched(client, way, {"switch": "sigma", "switch__sigma": 0.0}, sampler_name="euler")
    assert names(log, "load") == ["high"]
    assert not any(map(is_fetch, log))


def plain_and_failing(memory: str) -> tuple[Callable[[Graph], Link], Callable[[Graph], Link]]:
    """A run, and one that fails on the same models when the low-noise expert has its first turn."""

    def plain(graph: Graph) -> Link:
        return recipes.moe_sample(graph, latent_image=graph.make(**NOISE), sampler_name="heunpp2", memory=memory)

    def failing(graph: Graph) -> Link:
        low = graph.add("WanCastProbeNan", model=recipes.model(graph, recipes.LOW), below_sigma=0.875)[0]
        return recipes.moe_sample(graph, model_low=low, memory=memory)

    return plain, failing


@pytest.mark.parametrize("memory", ["auto", "one_expert"])
def test_a_failed_run_leaves_nothing_behind(client: Client, memory: str) -> None:
    plain, failing = plain_and_failing(memory)
    client.forget()
    graph = Graph()
    before = client.value(graph, plain(graph))
    client.forget()
    graph = Graph()
    graph.hash(failing(graph))
    assert "NaN" in client.fails(graph).message
    graph = Graph()
    link = plain(graph)
    latent, threads = graph.save(link), graph.add("WanCastProbeThreads", after=link)
    run = client.run(graph)
    assert run.saved(latent) == before
    assert "wancast-warm" not in json.loads(run.output(threads)["threads"][0])
