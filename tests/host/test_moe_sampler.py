"""MoESampler on a live host: the paths on which a second expert could go wrong, its parts of a run, its policies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from devtools import client as api
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import PROMPT_TIMEOUT_S, Client, Graph, share_file
from tests.host.moe_runs import NOISE, relative
from tests.host.recipes import Link

COPY = "copy_of_mini_t2v_high.safetensors"


@pytest.fixture(scope="module", autouse=True)
def second_file(live_host: HostServer) -> None:
    """The high-noise expert is there a second time, under another name."""
    folder = live_host.base_dir / "models" / "diffusion_models"
    share_file(folder / recipes.HIGH, folder / COPY)


def report_of(client: Client, graph: Graph | None = None, **changes: Any) -> list[str]:
    """The lines of MoESampler's report."""
    graph = graph or Graph()
    report = graph.add("PreviewAny", source=[recipes.moe_sample(graph, **changes)[0], 1])
    return client.run(graph).output(report)["text"][0].splitlines()


def both(client: Client, inputs: dict[str, Any], latent: dict[str, Any]) -> tuple[Any, Any]:
    """What the stock sampler and MoESampler make of the same model and inputs."""
    graph = Graph()
    model = recipes.model(graph)
    start = graph.make(**latent)
    stock = graph.save(recipes.stock_sample(graph, model, latent_image=start, **inputs))
    pair = {"model_high": model, "model_low": recipes.model(graph)}
    ours = graph.save(recipes.moe_sample(graph, **pair, latent_image=start, **inputs))
    run = client.run(graph)
    return run.saved(stock), run.saved(ours)


@pytest.mark.parametrize("sampler", ["euler_cfg_pp", "dpmpp_2m_cfg_pp", "heunpp2", "dpm_adaptive", "ddim", "dpm_2"])
def test_samplers_that_hook_guidance_or_step_back_equal_stock(client: Client, sampler: str) -> None:
    stock, ours = both(client, {"sampler_name": sampler}, NOISE)
    assert ours == stock


@pytest.mark.parametrize(
    "extra",
    [
        {"latent": [2, 16, 3, 8, 8]},
        {"dict": {"samples": {"tensor": [1, 16, 3, 8, 8]}, "noise_mask": {"tensor": [1, 8, 8], "fill": "unit"}}},
        {"dict": {"samples": {"tensor": [2, 16, 3, 8, 8]}, "batch_index": {"value": [4, 1]}}},
    ],
    ids=["batch", "mask", "batch_index"],
)
def test_batches_and_masks_equal_stock(client: Client, extra: dict[str, Any]) -> None:
    stock, ours = both(client, {"sampler_name": "dpmpp_2m", "denoise": 0.5}, extra)
    assert ours == stock


def shifted(graph: Graph, model: Link, shift: float) -> Link:
    return graph.add("ModelSamplingSD3", model=model, shift=shift)[0]


def test_two_patch_sets_on_one_file_equal_two_files(client: Client) -> None:
    """A scaled block on one clone only: the shared weights must follow the expert, to and fro."""
    results = []
    for files in ((recipes.HIGH, recipes.HIGH), (recipes.HIGH, COPY)):
        graph = Graph()
        high, low = (recipes.model(graph, name) for name in files)
        donor = recipes.model(graph, recipes.LOW)
        low = graph.add("ModelMergeSimple", model1=low, model2=donor, ratio=0.5)[0]
        saved = graph.save(recipes.moe_sample(graph, model_high=high, model_low=low, sampler_name="heunpp2"))
        results.append(client.run(graph).saved(saved))
    assert results[0] == results[1]


def test_an_expert_without_steps_is_not_loaded(client: Client) -> None:
    assert "loads: 0 high, 1 low" in report_of(client, denoise=0.3)


def test_another_shift_on_the_low_expert_is_said(client: Client) -> None:
    graph = Graph()
    low = shifted(graph, recipes.model(graph, recipes.LOW), 3.0)
    lines = report_of(client, graph, model_low=low)
    assert "note: model_low has another shift; the schedule is that of model_high" in lines


def test_a_schedule_from_outside_gives_the_same_as_the_same_settings_inside(client: Client) -> None:
    graph = Graph()
    model = recipes.model(graph)
    sigmas = graph.add("BasicScheduler", model=model, scheduler="simple", steps=6, denoise=1.0)[0]
    inside = graph.save(recipes.moe_sample(graph))
    outside = graph.save(recipes.moe_sample(graph, sigmas=sigmas, steps=99, scheduler="karras"))
    run = client.run(graph)
    assert run.saved(outside) == run.saved(inside)


# A part of a run

SAMPLERS = ("dpmpp_2m", "heunpp2", "dpmpp_sde")
PARTS: dict[str, dict[str, Any]] = {  # what is changed of the defaults
    "late start": {"start_at_step": 2},
    "early end": {"end_at_step": 4},
    "early end with noise": {"end_at_step": 4, "return_with_leftover_noise": True},
    "no new noise": {"start_at_step": 1, "add_noise": False},
    "middle": {"start_at_step": 2, "end_at_step": 5, "return_with_leftover_noise": True, "add_noise": False},
    "end beyond the schedule": {"end_at_step": 7, "return_with_leftover_noise": True},
}
WHOLE = {"add_noise": True, "start_at_step": 0, "end_at_step": 10000, "return_with_leftover_noise": False}


def stock_part(graph: Graph, model: Link, latent: Link, *, sampler_name: str, cfg: float = 3.0, **part: Any) -> Link:
    """What the stock KSamplerAdvanced makes of a part of the plain run."""
    switches = {name: value if type(value) is int else ("disable", "enable")[value] for name, value in part.items()}
    inputs = recipes.conditioning(graph) | {"model": model, "latent_image": latent, "cfg": cfg}
    inputs |= {"noise_seed": 42, "steps": 6, "sampler_name": sampler_name, "scheduler": "simple"}
    return graph.add("KSamplerAdvanced", **inputs | switches)[0]


def test_every_part_of_a_run_equals_the_stock_one(client: Client) -> None:
    graph = Graph()
    model, latent = recipes.model(graph), graph.make(**NOISE)
    pair = {"model_high": model, "model_low": model, "latent_image": latent}
    pairs = {
        (name, sampler): (
            graph.hash(stock_part(graph, model, latent, sampler_name=sampler, **WHOLE | part)),
            graph.hash(recipes.moe_sample(graph, **pair, sampler_name=sampler, **part)),
        )
        for name, part in PARTS.items()
        for sampler in SAMPLERS
    }
    run = client.run(graph)
    digests = {name: (run.digest(stock), run.digest(ours)) for name, (stock, ours) in pairs.items()}
    assert [name for name, (stock, ours) in digests.items() if stock != ours] == []
    assert len({ours for _, ours in digests.values()}) == len(pairs)


def test_every_part_of_a_run_of_two_experts_equals_that_of_one_model_that_holds_both(client: Client) -> None:
    graph = Graph()
    experts = {"model_high": recipes.model(graph), "model_low": recipes.model(graph, recipes.LOW)}
    whole = graph.add("WanCastProbeComposite", **experts, boundary_sigma=0.875)[0]
    latent = graph.make(**NOISE)
    pairs = {
        (name, sampler): (
            graph.hash(stock_part(graph, whole, latent, sampler_name=sampler, **WHOLE | part)),
            graph.hash(recipes.moe_sample(graph, latent_image=latent, sampler_name=sampler, **part)),
        )
        for name, part in list(PARTS.items())[::2]
        for sampler in SAMPLERS
    }
    run = client.run(graph)
    assert [name for name, (stock, ours) in pairs.items() if run.digest(stock) != run.digest(ours)] == []


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_a_part_of_a_schedule_from_outside_or_of_less_noise_equals_the_stock_one(
    client: Client, denoise: float
) -> None:
    """The stock way is to split the sigmas; where the end lies before 0, the noise is left."""
    graph = Graph()
    model, latent = recipes.model(graph), graph.make(**NOISE)
    sigmas = recipes.sigmas(graph, denoise=denoise)
    late = graph.add("SplitSigmas", sigmas=sigmas, step=2)
    middle = graph.add("SplitSigmas", sigmas=late[1], step=2)[0]
    common = {"model": model, "cfg": 3.0, "noise_seed": 42, "add_noise": True} | recipes.conditioning(graph)
    common |= {"sampler": graph.add("KSamplerSelect", sampler_name="dpmpp_2m")[0], "latent_image": latent}
    stock = [graph.save(graph.add("SamplerCustom", **common, sigmas=each)[0]) for each in (late[1], middle)]
    ours = {"model_high": model, "model_low": model, "latent_image": latent, "sampler_name": "dpmpp_2m"}
    parts = [{"start_at_step": 2}, {"start_at_step": 2, "end_at_step": 4, "return_with_leftover_noise": True}]
    inside = [graph.save(recipes.moe_sample(graph, **ours, denoise=denoise, **part)) for part in parts]
    outside = [graph.save(recipes.moe_sample(graph, **ours, sigmas=sigmas, **part)) for part in parts]
    run = client.run(graph)
    wanted = [run.saved(node) for node in stock]
    assert [run.saved(node) for node in inside] == wanted
    assert [run.saved(node) for node in outside] == wanted


def test_a_switch_at_a_step_counts_in_the_whole_schedule(client: Client) -> None:
    """Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616."""
    at_step = {"switch": "step", "switch__step": 4, "start_at_step": 3}
    lines = report_of(client, **at_step)
    assert {"steps: 1 high + 2 low", "evaluations: 1 high, 2 low"} <= set(lines)
    graph = Graph()
    sigma = {"switch": "sigma", "switch__sigma": 0.85, "start_at_step": 3}
    latent = graph.make(**NOISE)
    first, second = (graph.save(recipes.moe_sample(graph, latent_image=latent, **each)) for each in (at_step, sigma))
    run = client.run(graph)
    assert run.saved(first) == run.saved(second)


def halves(graph: Graph, latent: Link, **changes: Any) -> Link:
    """Two MoESampler in a row."""
    first = recipes.moe_sample(graph, latent_image=latent, end_at_step=3, return_with_leftover_noise=True, **changes)
    return recipes.moe_sample(graph, latent_image=first, start_at_step=3, add_noise=False, **changes)


def test_two_of_ours_in_a_row_equal_two_stock_samplers_in_a_row(client: Client) -> None:
    graph = Graph()
    model, latent = recipes.model(graph), graph.make(**NOISE)
    ours = graph.save(halves(graph, latent, model_high=model, model_low=model))
    noisy = stock_part(
        graph, model, latent, sampler_name="euler", **WHOLE | {"end_at_step": 3, "return_with_leftover_noise": True}
    )
    rest = WHOLE | {"start_at_step": 3, "add_noise": False}
    stock = graph.save(stock_part(graph, model, noisy, sampler_name="euler", **rest))
    run = client.run(graph)
    assert run.saved(ours) == run.saved(stock)


def test_two_of_ours_in_a_row_with_two_experts_are_one_run(client: Client) -> None:
    """They round once more where they meet, which guidance would amplify."""
    graph = Graph()
    latent = graph.make(**NOISE)
    settings = {"cfg_high": 1.0, "cfg_low": 1.0}
    parts = graph.save(halves(graph, latent, **settings))
    one = graph.save(recipes.moe_sample(graph, latent_image=latent, **settings))
    run = client.run(graph)
    assert relative(run.saved(parts), run.saved(one)) < 1e-6


def test_a_prompt_without_the_newer_inputs_runs_with_their_defaults(client: Client) -> None:
    graph = Graph()
    old = recipes.moe_sample(graph)
    new = recipes.moe_sample(graph, **WHOLE, policy="strict", memory="auto")
    assert not {*WHOLE, "policy", "memory"} & set(graph.prompt[old[0]]["inputs"])
    saves = [graph.save(link) for link in (old, new)]
    run = client.run(graph)
    assert run.saved(saves[0]) == run.saved(saves[1])


# Policies

POLICIES = ("strict", "latch", "per_step")


def test_the_same_weights_twice_give_the_bits_of_the_stock_sampler_under_every_policy(client: Client) -> None:
    graph = Graph()
    model, latent = recipes.model(graph), graph.make(**NOISE)
    pair = {"model_high": model, "model_low": model, "latent_image": latent}
    samplers = ("heun", "heunpp2", "dpm_2", "seeds_2")
    stock = {
        sampler: graph.hash(recipes.stock_sample(graph, model, latent_image=latent, sampler_name=sampler))
        for sampler in samplers
    }
    ours = {
        (sampler, policy): graph.hash(recipes.moe_sample(graph, **pair, sampler_name=sampler, policy=policy))
        for sampler in samplers
        for policy in POLICIES
    }
    run = client.run(graph)
    assert [name for name, node in ours.items() if run.digest(node) != run.digest(stock[name[0]])] == []


# Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616 and end at 0; the boundary is 0.875.
# heun evaluates each step at its start and its end, the last one at its start. By the end: 2 + 2 + 2 + 1 high.
# heunpp2 evaluates four steps at three levels, then two at 0.800 and 0.616, then one: hhh hhh hhl hll ll l.
COUNTS = [  # sampler, policy, evaluations, loads
    ("euler", "strict", (4, 2), (1, 1)),
    ("heun", "strict", (7, 4), (1, 1)),
    ("heun", "latch", (7, 4), (1, 1)),
    ("heun", "per_step", (8, 3), (1, 1)),
    ("heunpp2", "strict", (9, 6), (2, 2)),
    ("heunpp2", "latch", (8, 7), (1, 1)),
    ("heunpp2", "per_step", (12, 3), (1, 1)),
]


@pytest.mark.parametrize(("sampler", "policy", "evaluations", "loads"), COUNTS)
def test_the_report_counts_evaluations_and_loads_under_each_policy(
    client: Client, sampler: str, policy: str, evaluations: tuple[int, int], loads: tuple[int, int]
) -> None:
    lines = report_of(client, sampler_name=sampler, policy=policy)
    wanted = {f"policy: {policy}", "steps: 4 high + 2 low"}
    for name, (high, low) in {"evaluations": evaluations, "loads": loads}.items():
        wanted.add(f"{name}: {high} high, {low} low")
    assert wanted <= set(lines)


def test_per_step_is_two_samplers_in_a_row_and_strict_is_not(client: Client) -> None:
    """The stock samplers round once more where they meet, which guidance would amplify."""
    graph = Graph()
    latent = graph.make(**NOISE)
    first = WHOLE | {"end_at_step": 4, "return_with_leftover_noise": True}
    rest = WHOLE | {"start_at_step": 4, "add_noise": False}
    settings = {"sampler_name": "heun", "cfg": 1.0}
    noisy = stock_part(graph, recipes.model(graph), latent, **settings, **first)
    stock = graph.save(stock_part(graph, recipes.model(graph, recipes.LOW), noisy, **settings, **rest))
    ours = {
        policy: graph.save(
            recipes.moe_sample(
                graph, latent_image=latent, sampler_name="heun", cfg_high=1.0, cfg_low=1.0, policy=policy
            )
        )
        for policy in POLICIES
    }
    run = client.run(graph)
    distances = {policy: relative(run.saved(node), run.saved(stock)) for policy, node in ours.items()}
    assert distances["per_step"] < 1e-6
    assert min(distances["strict"], distances["latch"]) > 1e-3


def test_per_step_refuses_a_solver_that_chooses_its_own_steps_and_latch_takes_it(client: Client) -> None:
    graph = Graph()
    graph.hash(recipes.moe_sample(graph, sampler_name="dpm_adaptive", policy="per_step"))
    failure = client.fails(graph)
    assert failure.node_type == "MoESampler"
    assert failure.message == (
        "MoESampler: policy: found 'per_step' with a sampler that chooses its own steps; wanted 'strict' or 'latch' "
        "for it. Set policy to latch, or take another sampler."
    )
    lines = report_of(client, sampler_name="dpm_adaptive", policy="latch")
    assert {"policy: latch", "loads: 1 high, 1 low"} <= set(lines)


# Progress


def frames_of(client: Client, graph: Graph) -> Iterator[bytes | dict[str, Any]]:
    """What the host sends while the prompt runs with previews on: pictures as bytes, events as messages."""
    import websocket

    client_id = uuid.uuid4().hex
    address = f"{client.url.replace('http', 'ws', 1)}/ws?clientId={client_id}"
    with closing(websocket.create_connection(address, timeout=PROMPT_TIMEOUT_S)) as socket:
        api.submit(client.url, graph.prompt, client_id=client_id, extra_data={"preview_method": "latent2rgb"})
        while True:
            frame = socket.recv()
            message = frame if isinstance(frame, bytes) else json.loads(frame)
            yield message
            if isinstance(message, dict) and message["type"] in ("execution_success", "execution_error"):
                return


def test_one_bar_counts_every_step_once_over_the_switch_and_each_has_its_picture(client: Client) -> None:
    graph = Graph()
    node, _ = recipes.moe_sample(graph, latent_image=graph.make(**NOISE, unseen="progress"), steps=5)
    graph.hash([node, 0])
    frames = list(frames_of(client, graph))
    bars = [
        (frame["data"]["value"], frame["data"]["max"])
        for frame in frames
        if isinstance(frame, dict) and frame["type"] == "progress" and frame["data"]["node"] == node
    ]
    assert frames[-1]["type"] == "execution_success"
    assert bars == [(step, 5) for step in range(1, 6)]
    pictures = [frame for frame in frames if isinstance(frame, bytes)]
    assert len(pictures) == 5
    assert all(b"\xff\xd8\xff" in picture[:16] for picture in pictures)  # JPEG
