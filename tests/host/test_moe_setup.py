"""An expert's set-up sees its own patches, whatever the host had loaded before: schedules, hooks and masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file
from tests.host.moe_runs import MASKED_BATCH, shifted, unequal
from tests.host.recipes import Link

COPY = "second_copy_of_mini_t2v_high.safetensors"
LORA = "lora_for_hooks.safetensors"
Sample = Callable[..., Link]


@pytest.fixture(scope="module", autouse=True)
def files(live_host: HostServer) -> None:
    """The high-noise expert a second time, and a LoRA for one block."""
    models = live_host.base_dir / "models"
    share_file(models / "diffusion_models" / recipes.HIGH, models / "diffusion_models" / COPY)
    (models / "loras").mkdir(exist_ok=True)
    source, name = torch.Generator().manual_seed(5), "diffusion_model.blocks.1.self_attn.q"
    shapes = {f"{name}.lora_A.weight": (4, 96), f"{name}.lora_B.weight": (96, 4)}
    save_file({key: torch.randn(shape, generator=source) for key, shape in shapes.items()}, models / "loras" / LORA)


def moe_sampler(graph: Graph, model: Link, **inputs: Any) -> Link:
    return recipes.moe_sample(graph, model_high=model, model_low=model, **inputs)


def moe_model(graph: Graph, model: Link, **inputs: Any) -> Link:
    return recipes.stock_sample(graph, recipes.moe_model(graph, model_high=model, model_low=model), **inputs)


def ranged(graph: Graph) -> dict[str, Link]:
    """Two prompts, each for a part of the run: where they change depends on the shift."""
    given = recipes.conditioning(graph)
    parts = [
        graph.add("ConditioningSetTimestepRange", conditioning=given[name], start=start, end=end)[0]
        for name, start, end in (("positive", 0.0, 0.3), ("negative", 0.3, 1.0))
    ]
    joined = graph.add("ConditioningCombine", conditioning_1=parts[0], conditioning_2=parts[1])[0]
    return given | {"positive": joined}


def hooked(graph: Graph) -> dict[str, Link]:
    """A prompt with a LoRA of its own that begins with half its strength."""
    hooks = graph.add("CreateHookLoraModelOnly", lora_name=LORA, strength_model=1.0)[0]
    first = graph.add("CreateHookKeyframe", strength_mult=0.5, start_percent=0.0)[0]
    both = graph.add("CreateHookKeyframe", strength_mult=1.5, start_percent=0.35, prev_hook_kf=first)[0]
    hooks = graph.add("SetHookKeyframes", hooks=hooks, hook_kf=both)[0]
    properties = {"strength": 1.0, "set_cond_area": "default", "hooks": hooks}
    return {
        name: graph.add("ConditioningSetProperties", cond_NEW=cond, **properties)[0]
        for name, cond in recipes.conditioning(graph).items()
    }


def digests(client: Client, sample: Sample, conditioning: Callable[[Graph], Any], sampler_name: str) -> list[str]:
    """What three runs in a row on a fresh host give: shift 5, shift 1, and shift 5 again."""
    client.forget()
    found = []
    for seed, shift in enumerate((5.0, 1.0, 5.0)):
        graph = Graph()
        inputs = conditioning(graph) | {"sampler_name": sampler_name, "seed": seed}
        node = graph.hash(sample(graph, shifted(graph, shift), **inputs))
        found.append(client.run(graph).digest(node))
    return found


@pytest.mark.parametrize(("conditioning", "sampler"), [(ranged, "euler"), (hooked, "euler"), (hooked, "heunpp2")])
def test_ranges_and_hooks_of_prompts_follow_the_model_from_the_first_run(
    client: Client, conditioning: Callable[[Graph], Any], sampler: str
) -> None:
    """Ranges follow its shift, hooks their keyframes."""
    stock = digests(client, recipes.stock_sample, conditioning, sampler)
    assert digests(client, moe_sampler, conditioning, sampler) == stock
    assert digests(client, moe_model, conditioning, sampler) == stock


def test_hooks_are_right_each_time_the_run_comes_back_to_an_expert(client: Client) -> None:
    """heunpp2 goes to and fro between the experts; both are the same file, each with weights of its own."""
    client.forget()
    graph = Graph()
    given = hooked(graph) | {"sampler_name": "heunpp2"}
    high, low = shifted(graph, 8.0), shifted(graph, 8.0, COPY)
    ours = recipes.moe_sample(graph, model_high=high, model_low=low, **given)
    assert unequal(client, graph, {"heunpp2": (ours, recipes.stock_sample(graph, high, **given))}) == []


def test_one_file_with_two_shifts_equals_two_files(client: Client) -> None:
    found = []
    for second in (recipes.HIGH, COPY):
        client.forget()
        graph = Graph()
        pair = {"model_high": shifted(graph, 5.0), "model_low": shifted(graph, 1.0, second)}
        node = graph.hash(recipes.moe_sample(graph, **pair, **ranged(graph)))
        found.append(client.run(graph).digest(node))
    assert found[0] == found[1]


def test_a_mask_that_changes_over_the_run_is_that_of_the_expert(client: Client) -> None:
    """Differential Diffusion on one expert acts in its part alone."""
    graph = Graph()
    plain = recipes.model(graph)
    models = {False: plain, True: graph.add("DifferentialDiffusion", model=plain, strength=1.0)[0]}
    given = {"latent_image": graph.make(**MASKED_BATCH), "denoise": 0.9} | recipes.conditioning(graph)
    stock = {on: recipes.stock_sample(graph, model, **given) for on, model in models.items()}
    ours = {
        (high, low): recipes.moe_sample(graph, model_high=models[high], model_low=models[low], **given)
        for high in models
        for low in models
    }
    pairs = {"both": (ours[True, True], stock[True]), "none": (ours[False, False], stock[False])}
    pairs |= {"low": (ours[False, True], ours[False, False]), "high": (ours[True, False], ours[True, True])}
    assert unequal(client, graph, pairs) == ["low", "high"]
