"""MoESampler on a live host: the paths on which a second expert could go wrong."""

from __future__ import annotations

from typing import Any

import pytest

from demo.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file

NOISE = {"latent": [1, 16, 3, 8, 8]}
COPY = "copy_of_mini_t2v_high.safetensors"


@pytest.fixture(scope="module", autouse=True)
def second_file(live_host: HostServer) -> None:
    """The high-noise expert is there a second time, under another name."""
    folder = live_host.base_dir / "models" / "diffusion_models"
    share_file(folder / recipes.HIGH, folder / COPY)


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


def shifted(graph: Graph, model: list[Any], shift: float) -> list[Any]:
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
    graph = Graph()
    link = recipes.moe_sample(graph, denoise=0.3)
    report = graph.add("PreviewAny", source=[link[0], 1])
    text = client.run(graph).output(report)["text"][0]
    assert "loads: 0 high, 1 low" in text


def test_another_shift_on_the_low_expert_is_said(client: Client) -> None:
    graph = Graph()
    low = shifted(graph, recipes.model(graph, recipes.LOW), 3.0)
    link = recipes.moe_sample(graph, model_low=low)
    report = graph.add("PreviewAny", source=[link[0], 1])
    assert "note: model_low has another shift" in client.run(graph).output(report)["text"][0]


def test_a_schedule_from_outside_gives_the_same_as_the_same_settings_inside(client: Client) -> None:
    graph = Graph()
    model = recipes.model(graph)
    sigmas = graph.add("BasicScheduler", model=model, scheduler="simple", steps=6, denoise=1.0)[0]
    inside = graph.save(recipes.moe_sample(graph))
    outside = graph.save(recipes.moe_sample(graph, sigmas=sigmas, steps=99, scheduler="karras"))
    run = client.run(graph)
    assert run.saved(outside) == run.saved(inside)
