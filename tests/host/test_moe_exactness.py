"""MoESampler against oracles: the stock sampler, one model that holds both experts, and a log of every call.

The tests name no sampler where they can ask the host, so that a new one is tested by itself.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from tests.host import recipes
from tests.host.live import Client, Graph
from tests.host.moe_runs import MASKED_BATCH, NOISE, experts, relative, report_of, shifted
from tests.host.recipes import HIGH, IMAGE_HIGH, IMAGE_LOW, LOW, Link

Pairs = dict[str, tuple[Link, Link]]
TEXT_BOUNDARY, IMAGE_BOUNDARY = 0.875, 0.9
STEPPING_BACK_OR_NOISY = ("heunpp2", "dpm_2_ancestral", "dpmpp_2s_ancestral_cfg_pp", "dpmpp_sde", "seeds_3", "dpm_2")


def samplers(client: Client) -> list[str]:
    """Every sampler of the host."""
    names = client.get("/object_info/KSampler")["KSampler"]["input"]["required"]["sampler_name"][0]
    assert len(names) > 40
    return names


def different(client: Client, graph: Graph, pairs: Pairs) -> list[str]:
    """The names of the pairs of latents that are not the same finite bits."""
    nodes = {name: (graph.save(stock), graph.save(ours)) for name, (stock, ours) in pairs.items()}
    run = client.run(graph)
    saved = {name: (run.saved(stock), run.saved(ours)) for name, (stock, ours) in nodes.items()}
    assert all(np.isfinite(ours.arrays["/samples"]).all() for _, ours in saved.values())
    return [name for name, (stock, ours) in saved.items() if stock != ours]


# One file in both slots


def against_stock(graph: Graph, names: Iterable[str], file: str = HIGH, policy: str = "strict", **inputs: Any) -> Pairs:
    """For each sampler, what the stock sampler and MoESampler make of one model and the inputs."""
    model = recipes.model(graph, file)
    return pairs_of(graph, names, model, {"model_high": model, "model_low": model, "policy": policy}, **inputs)


def pairs_of(graph: Graph, names: Iterable[str], model: Link, ours: dict[str, Any], **inputs: Any) -> Pairs:
    return {
        name: (
            recipes.stock_sample(graph, model, sampler_name=name, **inputs),
            recipes.moe_sample(graph, **ours, sampler_name=name, **inputs),
        )
        for name in names
    }


INPUTS: dict[str, Callable[[Graph], dict[str, Any]]] = {
    "whole": lambda graph: {"latent_image": graph.make(**NOISE)},
    "half a masked batch": lambda graph: {"latent_image": graph.make(**MASKED_BATCH), "denoise": 0.5, "steps": 4},
    "image to video": lambda graph: {**recipes.image_conditioning(graph), "steps": 4, "file": IMAGE_HIGH},
}


@pytest.mark.parametrize("inputs", INPUTS)
def test_one_file_twice_gives_the_bits_of_the_stock_sampler_for_every_sampler(client: Client, inputs: str) -> None:
    graph = Graph()
    assert different(client, graph, against_stock(graph, samplers(client), **INPUTS[inputs](graph))) == []


@pytest.mark.parametrize("policy", ["latch", "per_step"])
def test_so_do_the_other_policies_for_samplers_that_step_back_or_draw_noise(client: Client, policy: str) -> None:
    """It also shows that the dry run of per_step names each of their evaluations: the run would stop at another."""
    graph = Graph()
    names = (*STEPPING_BACK_OR_NOISY, "heun", "seeds_2", "sa_solver_pece")
    assert different(client, graph, against_stock(graph, names, policy=policy)) == []


def test_the_given_frame_reaches_an_image_to_video_expert(client: Client) -> None:
    """Without this the test above would compare two text-to-video runs."""
    graph = Graph()
    inputs = recipes.image_conditioning(graph)
    pair = {name: recipes.model(graph, IMAGE_HIGH) for name in ("model_high", "model_low")}
    texts = [inputs, {"latent_image": inputs["latent_image"]}]
    latents = [recipes.moe_sample(graph, **pair, **given) for given in texts]
    assert relative(*client.values(graph, latents)) > 1e-2


def test_a_schedule_from_outside_is_not_written_into(client: Client) -> None:
    """The host's uni_pc puts 0.001 over the last sigma of the schedule that it is given."""
    graph = Graph()
    given = [1.0, 0.9, 0.7, 0.4, 0.0]
    sigmas = graph.make(sigmas=given)
    latent = recipes.moe_sample(graph, sigmas=sigmas, sampler_name="uni_pc")
    after = client.value(graph, graph.hash(sigmas, after=latent)[0])
    np.testing.assert_array_equal(after.array, np.float32(given))


# Two experts against one model that holds both


def against_composite(
    graph: Graph, files: tuple[str, str], boundary: float, names: Iterable[str], **inputs: Any
) -> Pairs:
    """For each sampler, what the stock sampler makes of both networks as one model, and what MoESampler makes."""
    pair = {name: recipes.model(graph, file) for name, file in zip(("model_high", "model_low"), files, strict=True)}
    whole = graph.add("WanCastProbeComposite", **pair, boundary_sigma=boundary)[0]
    return pairs_of(graph, names, whole, pair | {"switch": "sigma", "switch__sigma": boundary}, **inputs)


def test_two_experts_give_the_bits_of_one_model_that_holds_both_for_every_sampler(client: Client) -> None:
    graph = Graph()
    text = against_composite(graph, (HIGH, LOW), TEXT_BOUNDARY, samplers(client), latent_image=graph.make(**NOISE))
    names, inputs = ("euler", "dpmpp_2m", "uni_pc", "heunpp2", "dpmpp_sde"), recipes.image_conditioning(graph)
    image = against_composite(graph, (IMAGE_HIGH, IMAGE_LOW), IMAGE_BOUNDARY, names, **inputs)
    assert different(client, graph, text | {f"{name}, image": pair for name, pair in image.items()}) == []


# Who evaluates what


def official_sigmas(steps: int, shift: float) -> list[float]:
    """The schedule of Wan-Video/Wan2.2."""
    positions = [0.999 * (1.0 - i / steps) for i in range(steps)]
    return [*(shift * u / (1.0 + (shift - 1.0) * u) for u in positions), 0.0]


def pair_of(graph: Graph, files: tuple[str, str], shift: float) -> dict[str, Any]:
    """Two experts of that shift, with what image-to-video experts need."""
    inputs = recipes.image_conditioning(graph) if files[0] == IMAGE_HIGH else {}
    return inputs | {"model_high": shifted(graph, shift, files[0]), "model_low": shifted(graph, shift, files[1])}


TEXT, IMAGE = (HIGH, LOW), (IMAGE_HIGH, IMAGE_LOW)
ON_THE_BOUNDARY, ABOVE_IT = ({"steps": 4, "switch": "sigma", "switch__sigma": sigma} for sigma in (0.9, 0.9001))


@pytest.mark.parametrize(
    ("files", "shift", "settings", "high", "low"),
    [
        (TEXT, 12.0, {"sigmas": official_sigmas(40, 12.0)}, 26, 14),
        (IMAGE, 5.0, {"sigmas": official_sigmas(40, 5.0)}, 15, 25),
        (TEXT, 5.0, {"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0}, 2, 2),  # of a distilled model
        (IMAGE, 5.0, {"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0}, 2, 2),
        # four simple steps at shift 3 begin at 1, 0.9, 0.75 and 0.5; float32 rounds 0.9 down
        (TEXT, 3.0, ON_THE_BOUNDARY, 2, 2),
        (TEXT, 3.0, ABOVE_IT, 1, 3),
    ],
)
def test_the_run_splits_as_the_official_code_does(
    client: Client, files: tuple[str, str], shift: float, settings: dict[str, Any], high: int, low: int
) -> None:
    graph = Graph()
    given = {"sigmas": graph.make(sigmas=settings["sigmas"])} if "sigmas" in settings else {}
    lines = report_of(client, graph, **pair_of(graph, files, shift) | settings | given)
    assert {f"steps: {high} high + {low} low", f"evaluations: {high} high, {low} low"} <= set(lines)


def logged(client: Client, **changes: Any) -> dict[str, list[dict[str, Any]]]:
    """What each expert's wrappers wrote down in one run of MoESampler."""
    graph = Graph()
    probes = {
        name: graph.add("WanCastProbeLog", model=model, name=name.removeprefix("model_"))
        for name, model in experts(graph).items()
    }
    latent = recipes.moe_sample(graph, **{name: probe[0] for name, probe in probes.items()}, **changes)
    readers = {name: graph.add("WanCastProbeReadLog", log=probe[1], after=latent) for name, probe in probes.items()}
    run = client.run(graph)
    logs = {name: json.loads(run.output(reader)["log"][0]) for name, reader in readers.items()}
    return {"high": logs["model_high"], "low": logs["model_low"]}


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
