"""MoESampler against oracles: the stock sampler, one model that holds both experts, and a log of every call.

The tests name no sampler where they can ask the host, so that a new one is tested by itself.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.live import Client, Graph, Node, Run

Link = list[Any]

NOISE = {"latent": [1, 16, 3, 8, 8]}
MASKED_BATCH = {
    "dict": {
        "samples": {"tensor": [2, 16, 3, 8, 8]},
        "noise_mask": {"tensor": [1, 8, 8], "fill": "unit"},
    }
}
TEXT_BOUNDARY, IMAGE_BOUNDARY = 0.875, 0.9


def samplers(client: Client) -> list[str]:
    """Every sampler of the host."""
    names = client.get("/object_info/KSampler")["KSampler"]["input"]["required"]["sampler_name"][0]
    assert len(names) > 40
    return names


def different(client: Client, graph: Graph, pairs: dict[str, tuple[Link, Link]]) -> list[str]:
    """The names of the pairs of latents that are not the same finite bits."""
    nodes = {name: (graph.save(stock), graph.save(ours)) for name, (stock, ours) in pairs.items()}
    run = client.run(graph)
    return [name for name, (stock, ours) in nodes.items() if not same_finite_bits(run, stock, ours)]


def same_finite_bits(run: Run, stock: Node, ours: Node) -> bool:
    return run.saved(ours) == run.saved(stock) and bool(np.isfinite(run.saved(ours).arrays["/samples"]).all())


def relative(run: Run, node: Node, reference: Node) -> float:
    """The L2 distance of two latents as a share of the second."""
    value, wanted = (run.saved(each).arrays["/samples"].astype(np.float64) for each in (node, reference))
    return float(np.linalg.norm(value - wanted) / np.linalg.norm(wanted))


# One file in both slots


def against_stock(graph: Graph, model: Link, names: Iterable[str], **inputs: Any) -> dict[str, tuple[Link, Link]]:
    """For each sampler, what the stock sampler and MoESampler make of the same model and inputs."""
    pair = {"model_high": model, "model_low": model}
    return {
        name: (
            recipes.stock_sample(graph, model, sampler_name=name, **inputs),
            recipes.moe_sample(graph, **pair, sampler_name=name, **inputs),
        )
        for name in names
    }


def test_the_same_weights_twice_give_the_bits_of_the_stock_sampler_for_every_sampler(client: Client) -> None:
    graph = Graph()
    pairs = against_stock(graph, recipes.model(graph), samplers(client), latent_image=graph.make(**NOISE))
    assert different(client, graph, pairs) == []


def test_so_do_a_mask_half_the_noise_and_a_batch_for_every_sampler(client: Client) -> None:
    graph = Graph()
    inputs = {"latent_image": graph.make(**MASKED_BATCH), "denoise": 0.5, "steps": 4}
    pairs = against_stock(graph, recipes.model(graph), samplers(client), **inputs)
    assert different(client, graph, pairs) == []


def test_so_does_an_image_to_video_expert_for_every_sampler(client: Client) -> None:
    graph = Graph()
    model = recipes.model(graph, recipes.IMAGE_HIGH)
    pairs = against_stock(graph, model, samplers(client), **recipes.image_conditioning(graph), steps=4)
    assert different(client, graph, pairs) == []


@pytest.mark.parametrize("policy", ["latch", "per_step"])
def test_so_do_the_other_policies_for_samplers_that_step_back_or_draw_noise(client: Client, policy: str) -> None:
    """It also shows that the dry run of per_step names each of their evaluations: the run would stop at another."""
    names = ("heunpp2", "dpm_2_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "seeds_3", "sa_solver_pece")
    graph = Graph()
    model = recipes.model(graph)
    pair = {"model_high": model, "model_low": model, "policy": policy}
    pairs = {
        name: (
            recipes.stock_sample(graph, model, sampler_name=name),
            recipes.moe_sample(graph, **pair, sampler_name=name),
        )
        for name in names
    }
    assert different(client, graph, pairs) == []


def test_the_given_frame_reaches_an_image_to_video_expert(client: Client) -> None:
    """Without this the test above would compare two text-to-video runs."""
    graph = Graph()
    inputs = recipes.image_conditioning(graph)
    files = {"model_high": recipes.IMAGE_HIGH, "model_low": recipes.IMAGE_LOW}
    pair = {name: recipes.model(graph, file) for name, file in files.items()}
    with_frame = graph.save(recipes.moe_sample(graph, **pair, **inputs))
    without = graph.save(recipes.moe_sample(graph, **pair, latent_image=inputs["latent_image"]))
    assert relative(client.run(graph), with_frame, without) > 1e-2


def test_a_schedule_from_outside_is_not_written_into(client: Client) -> None:
    """The host's uni_pc puts 0.001 over the last sigma of the schedule that it is given."""
    graph = Graph()
    given = [1.0, 0.9, 0.7, 0.4, 0.0]
    sigmas = graph.make(sigmas=given)
    done = recipes.moe_sample(graph, sigmas=sigmas, sampler_name="uni_pc")
    after = graph.save(graph.hash(sigmas, after=done)[0])
    np.testing.assert_array_equal(client.run(graph).saved(after).array, np.float32(given))


# Two experts against one model that holds both


def against_composite(
    graph: Graph, files: tuple[str, str], boundary: float, names: Iterable[str], **inputs: Any
) -> dict[str, tuple[Link, Link]]:
    """For each sampler, what the stock sampler makes of both networks as one model, and what MoESampler makes."""
    high, low = (recipes.model(graph, file) for file in files)
    whole = graph.add("WanCastProbeComposite", model_high=high, model_low=low, boundary_sigma=boundary)[0]
    switch = {"switch": "sigma", "switch__sigma": boundary}
    return {
        name: (
            recipes.stock_sample(graph, whole, sampler_name=name, **inputs),
            recipes.moe_sample(graph, model_high=high, model_low=low, sampler_name=name, **switch, **inputs),
        )
        for name in names
    }


def test_two_experts_give_the_bits_of_one_model_that_holds_both_for_every_sampler(client: Client) -> None:
    graph = Graph()
    files, start = (recipes.HIGH, recipes.LOW), graph.make(**NOISE)
    pairs = against_composite(graph, files, TEXT_BOUNDARY, samplers(client), latent_image=start)
    assert different(client, graph, pairs) == []


def test_so_do_two_image_to_video_experts(client: Client) -> None:
    graph = Graph()
    files, names = (recipes.IMAGE_HIGH, recipes.IMAGE_LOW), ("euler", "dpmpp_2m", "uni_pc", "heunpp2", "dpmpp_sde")
    pairs = against_composite(graph, files, IMAGE_BOUNDARY, names, **recipes.image_conditioning(graph))
    assert different(client, graph, pairs) == []


# Two experts against two stock samplers in a row


def chained(graph: Graph, sampler: str, files: tuple[str, str], latent: Link, high_steps: int, cfg: float) -> Link:
    """What two KSamplerAdvanced make, the second of what the first leaves noisy."""
    common = {"noise_seed": 42, "steps": 6, "cfg": cfg, "sampler_name": sampler, "scheduler": "simple"}
    common |= recipes.conditioning(graph)
    noisy = graph.add(
        "KSamplerAdvanced",
        model=recipes.model(graph, files[0]),
        latent_image=latent,
        add_noise="enable",
        start_at_step=0,
        end_at_step=high_steps,
        return_with_leftover_noise="enable",
        **common,
    )[0]
    return graph.add(
        "KSamplerAdvanced",
        model=recipes.model(graph, files[1]),
        latent_image=noisy,
        add_noise="disable",
        start_at_step=high_steps,
        end_at_step=10000,
        return_with_leftover_noise="disable",
        **common,
    )[0]


def distances_to_chained(
    client: Client, names: Iterable[str], files: tuple[str, str], high_steps: int, boundary: float, cfg: float
) -> dict[str, float]:
    """How far MoESampler's latent is from that of two samplers in a row, for each sampler."""
    graph = Graph()
    latent = graph.make(**NOISE)
    settings = {"model_high": recipes.model(graph, files[0]), "model_low": recipes.model(graph, files[1])}
    settings |= {"switch": "sigma", "switch__sigma": boundary, "cfg_high": cfg, "cfg_low": cfg, "latent_image": latent}
    nodes = {
        name: (
            graph.save(recipes.moe_sample(graph, **settings, sampler_name=name)),
            graph.save(chained(graph, name, files, latent, high_steps, cfg)),
        )
        for name in names
    }
    run = client.run(graph)
    return {name: relative(run, ours, stock) for name, (ours, stock) in nodes.items()}


def test_samplers_without_memory_equal_two_samplers_in_a_row(client: Client) -> None:
    """The stock samplers round once more where they meet, which guidance would amplify.

    The fifth step of euler ends at 0.615, that of dpm_2 at 0.762 with its half step at 0.808: none is across 0.78.
    """
    names, files = ("euler", "ddim", "euler_cfg_pp", "dpm_2"), (recipes.HIGH, recipes.LOW)
    distances = distances_to_chained(client, names, files, high_steps=5, boundary=0.78, cfg=1.0)
    assert {name: distance for name, distance in distances.items() if distance > 1e-6} == {}


def test_samplers_with_memory_keep_it_across_the_switch(client: Client) -> None:
    """A hidden restart would make them equal to two samplers in a row."""
    names = ("dpmpp_2m", "res_multistep", "deis", "uni_pc", "ipndm", "gradient_estimation", "lms")
    distances = distances_to_chained(client, names, (recipes.HIGH, recipes.LOW), high_steps=3, boundary=0.92, cfg=3.0)
    assert {name: distance for name, distance in distances.items() if distance < 1e-3} == {}


def test_two_samplers_in_a_row_repeat_the_noise_that_one_run_draws_once(client: Client) -> None:
    """The same weights on both sides, so that nothing but the draws can differ from the plain run."""
    names = ("euler", "euler_ancestral", "lcm", "dpmpp_sde")
    distances = distances_to_chained(client, names, (recipes.HIGH, recipes.HIGH), high_steps=3, boundary=0.92, cfg=3.0)
    assert distances.pop("euler") < 1e-5
    assert min(distances.values()) > 1e-2


# Who evaluates what


def official_sigmas(steps: int, shift: float) -> list[float]:
    """The schedule of Wan-Video/Wan2.2, without its last step's end at 0."""
    positions = [0.999 * (1.0 - i / steps) for i in range(steps)]
    return [shift * u / (1.0 + (shift - 1.0) * u) for u in positions]


def shifted(graph: Graph, file: str, shift: float) -> Link:
    return graph.add("ModelSamplingSD3", model=recipes.model(graph, file), shift=shift)[0]


def report_lines(client: Client, graph: Graph, latent: Link) -> list[str]:
    """The report of the MoESampler that made the latent."""
    node = graph.add("PreviewAny", source=[latent[0], 1])
    return client.run(graph).output(node)["text"][0].splitlines()


@pytest.mark.parametrize(
    ("files", "shift", "high", "low"),
    [((recipes.HIGH, recipes.LOW), 12.0, 26, 14), ((recipes.IMAGE_HIGH, recipes.IMAGE_LOW), 5.0, 15, 25)],
    ids=["text", "image"],
)
def test_the_official_settings_split_as_the_official_code_does(
    client: Client, files: tuple[str, str], shift: float, high: int, low: int
) -> None:
    graph = Graph()
    inputs = recipes.image_conditioning(graph) if files[0] == recipes.IMAGE_HIGH else {}
    experts = {"model_high": recipes.model(graph, files[0]), "model_low": recipes.model(graph, files[1])}
    sigmas = graph.make(sigmas=[*official_sigmas(40, shift), 0.0])
    lines = report_lines(client, graph, recipes.moe_sample(graph, **experts, **inputs, sigmas=sigmas))
    assert {f"steps: {high} high + {low} low", f"evaluations: {high} high, {low} low"} <= set(lines)


@pytest.mark.parametrize(
    "files", [(recipes.HIGH, recipes.LOW), (recipes.IMAGE_HIGH, recipes.IMAGE_LOW)], ids=["text", "image"]
)
def test_the_distilled_schedule_gives_two_steps_to_each_expert(client: Client, files: tuple[str, str]) -> None:
    graph = Graph()
    inputs = recipes.image_conditioning(graph) if files[0] == recipes.IMAGE_HIGH else {}
    experts = {name: shifted(graph, file, 5.0) for name, file in zip(("model_high", "model_low"), files, strict=True)}
    guidance = {"cfg_high": 1.0, "cfg_low": 1.0}
    lines = report_lines(client, graph, recipes.moe_sample(graph, **experts, **inputs, **guidance, steps=4))
    assert {"steps: 2 high + 2 low", "evaluations: 2 high, 2 low"} <= set(lines)


@pytest.mark.parametrize(("boundary", "high"), [(0.9, 2), (0.9001, 1)])
def test_a_step_on_the_boundary_is_high_even_where_float32_rounds_it_down(
    client: Client, boundary: float, high: int
) -> None:
    """Four simple steps at shift 3 begin at 1, 0.9, 0.75 and 0.5."""
    assert float(np.float32(0.9)) < 0.9
    graph = Graph()
    experts = {"model_high": shifted(graph, recipes.HIGH, 3.0), "model_low": shifted(graph, recipes.LOW, 3.0)}
    switch = {"switch": "sigma", "switch__sigma": boundary}
    lines = report_lines(client, graph, recipes.moe_sample(graph, **experts, **switch, steps=4))
    assert {f"steps: {high} high + {4 - high} low", f"evaluations: {high} high, {4 - high} low"} <= set(lines)


def logged(client: Client, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """What each expert's wrappers wrote down in one run of MoESampler."""
    graph = Graph()
    probes = {
        name: graph.add("WanCastProbeLog", model=recipes.model(graph, file), name=name)
        for name, file in (("high", recipes.HIGH), ("low", recipes.LOW))
    }
    experts = {"model_high": probes["high"][0], "model_low": probes["low"][0]}
    latent = recipes.moe_sample(graph, **experts, **changes)
    readers = {name: graph.add("WanCastProbeReadLog", log=probe[1], after=latent) for name, probe in probes.items()}
    run = client.run(graph)
    return {name: json.loads(run.output(reader)["log"][0]) for name, reader in readers.items()}


def at(log: list[dict[str, Any]], place: str) -> list[dict[str, Any]]:
    return [entry for entry in log if entry["place"] == place]


@pytest.mark.parametrize(("cfg_high", "cfg_low"), list(itertools.product((1.0, 3.0), repeat=2)))
def test_guidance_of_1_halves_the_rows_of_that_expert_alone(client: Client, cfg_high: float, cfg_low: float) -> None:
    """Six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.801 and 0.616: four high, two low."""
    logs = logged(client, cfg_high=cfg_high, cfg_low=cfg_low)
    rows = {name: sum(call["rows"] for call in at(log, "apply_model")) for name, log in logs.items()}
    assert rows == {"high": 4 * (1 if cfg_high == 1.0 else 2), "low": 2 * (1 if cfg_low == 1.0 else 2)}


@pytest.mark.parametrize("sampler", ["euler", "heunpp2", "dpmpp_2m_cfg_pp", "dpm_adaptive"])
def test_wrappers_and_options_of_an_expert_stay_with_its_own_evaluations(client: Client, sampler: str) -> None:
    logs = logged(client, sampler_name=sampler)
    for name, log in logs.items():
        assert {entry["marker"] for entry in log} == {name}
        assert all(entry["own"] for entry in log)
        assert len(at(log, "outer_sample")) == 1
        evaluated, applied = ([call["sigma"] for call in at(log, place)] for place in ("predict_noise", "apply_model"))
        assert evaluated == applied
    sigmas = {name: [call["sigma"] for call in at(log, "apply_model")] for name, log in logs.items()}
    assert min(sigmas["high"]) >= TEXT_BOUNDARY > max(sigmas["low"])
