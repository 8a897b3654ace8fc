"""What a run with two experts loads and when, and what it leaves behind after success and after a failure."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file
from tests.host.moe_runs import NOISE, with_guider, with_model, with_sampler
from tests.host.recipes import Link

START = "start_copy_of_mini_t2v_low.safetensors"
FILES = {"start": START, "high": recipes.HIGH, "low": recipes.LOW}

Entry = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def third_file(live_host: HostServer) -> None:
    """One expert is there a second time, under another name."""
    folder = live_host.base_dir / "models" / "diffusion_models"
    share_file(folder / recipes.LOW, folder / START)


METHODS: dict[str, tuple[Callable[..., Link], tuple[str, ...]]] = {
    "sampler": (with_sampler, ("high", "low")),
    "model": (with_model, ("high", "low")),
    "guider": (with_guider, ("high", "low")),
    "guider of three": (with_guider, ("start", "high", "low")),
}


def watched(client: Client, method: str, settings: dict[str, Any], **common: Any) -> tuple[list[Entry], list[str]]:
    """The log of a run on a host that has loaded nothing yet, and the threads that are alive after it."""
    client.forget()
    graph, models, log = Graph(), {}, {}
    build, slots = METHODS[method]
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


def turns(log: list[Entry]) -> list[str]:
    """Who evaluates, without repeats of the one before."""
    evaluated = names(log, "evaluate")
    return [name for i, name in enumerate(evaluated) if i == 0 or evaluated[i - 1] != name]


def fetches(log: list[Entry]) -> list[int]:
    """Where a thread of ours starts to fetch weights; the host starts some threads of its own."""
    return [i for i, entry in enumerate(log) if entry == {"event": "thread", "name": "wancast-warm"}]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("memory", ["auto", "one_expert"])
def test_each_expert_is_fetched_ahead_and_loaded_once_when_its_turn_comes(
    client: Client, method: str, memory: str
) -> None:
    """With one_expert the host never holds two at an evaluation; with auto it holds all that had their turn."""
    slots = list(METHODS[method][1])
    log, threads = watched(client, method, {"memory": memory}, sampler_name="dpmpp_2m")
    assert names(log, "load") == turns(log) == slots
    steps = [(entry["event"], entry["name"]) for entry in log if entry["event"] != "thread"]
    for i, name in enumerate(slots):
        assert steps.index(("load", name)) == steps.index(("evaluate", name)) - 1
        wanted = [name] if memory == "one_expert" else sorted(slots[: i + 1])
        assert all(entry["loaded"] == wanted for entry in log if (entry["event"], entry["name"]) == ("evaluate", name))
    loads = [log.index({"event": "load", "name": name}) for name in slots]
    assert len(fetches(log)) == len(slots) - 1  # into RAM, while the expert before computes
    assert all(first < at < turn for first, at, turn in zip(loads, fetches(log), loads[1:], strict=False))
    assert "wancast-warm" not in threads


@pytest.mark.parametrize("method", ["sampler", "model", "guider"])
def test_a_solver_that_comes_back_still_has_one_expert_at_a_time(client: Client, method: str) -> None:
    log, _ = watched(client, method, {"memory": "one_expert"}, sampler_name="heunpp2")
    assert names(log, "load") == turns(log) == ["high", "low", "high", "low"]
    assert all(entry["loaded"] == [entry["name"]] for entry in log if entry["event"] == "evaluate")


@pytest.mark.parametrize("method", ["sampler", "guider", "model"])
def test_an_expert_without_steps_is_neither_loaded_nor_fetched(client: Client, method: str) -> None:
    all_high = {"switch": "sigma", "switch__sigma": 0.0}
    for used, settings, inputs in (("low", {}, {"denoise": 0.3}), ("high", all_high, {})):
        log, _ = watched(client, method, settings, sampler_name="euler", **inputs)
        assert names(log, "load") == [used]
        assert fetches(log) == []


@pytest.mark.parametrize("memory", ["auto", "one_expert"])
def test_a_failed_run_leaves_nothing_behind(client: Client, memory: str) -> None:
    """It fails when the low-noise expert has its first turn; the run before and after it is on the same models."""

    def plain(graph: Graph) -> Link:
        return recipes.moe_sample(graph, latent_image=graph.make(**NOISE), sampler_name="heunpp2", memory=memory)

    client.forget()
    graph = Graph()
    before = client.value(graph, plain(graph))
    client.forget()
    graph = Graph()
    low = graph.add("WanCastProbeNan", model=recipes.model(graph, recipes.LOW), below_sigma=0.875)[0]
    graph.hash(recipes.moe_sample(graph, model_low=low, memory=memory))
    assert "NaN" in client.fails(graph).message
    graph = Graph()
    link = plain(graph)
    latent, threads = graph.save(link), graph.add("WanCastProbeThreads", after=link)
    run = client.run(graph)
    assert run.saved(latent) == before
    assert "wancast-warm" not in json.loads(run.output(threads)["threads"][0])
