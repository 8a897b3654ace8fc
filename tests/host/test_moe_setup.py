"""An expert's set-up sees its own patches, whatever the host had loaded before: schedules, hooks and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file
from tests.host.moe_runs import MASKED_BATCH, unequal
from tests.host.recipes import Link

COPY = "second_copy_of_mini_t2v_high.safetensors"
LORA = "lora_for_hooks.safetensors"
Sample = Callable[[Graph, Link, dict[str, Any]], Link]


@pytest.fixture(scope="module", autouse=True)
def files(live_host: HostServer) -> None:
    """The high-noise expert a second time, and a LoRA for one block."""
    models = live_host.base_dir / "models"
    share_file(models / "diffusion_models" / recipes.HIGH, models / "diffusion_models" / COPY)
    (models / "loras").mkdir(exist_ok=True)
    source, name = torch.Generator().manual_seed(5), "diffusion_model.blocks.1.self_attn.q"
    factors = {
        f"{name}.lora_{part}.weight": torch.randn(shape, generator=source)
        for part, shape in {"A": (4, 96), "B": (96, 4)}.items()
    }
    save_file(factors, models / "loras" / LORA)


def shifted(graph: Graph, shift: float, name: str = recipes.HIGH) -> Link:
    return graph.add("ModelSamplingSD3", model=recipes.model(graph, name), shift=shift)[0]


def stock(graph: Graph, model: Link, inputs: dict[str, Any]) -> Link:
    return recipes.stock_sample(graph, model, **inputs)


def moe_sampler(graph: Graph, model: Link, inputs: dict[str, Any]) -> Link:
    return recipes.moe_sample(graph, model_high=model, model_low=model, **inputs)


def moe_model(graph: Graph, model: Link, inputs: dict[str, Any]) -> Link:
    both = graph.add("WanCastMoEModel", model_high=model, model_low=model, switch="auto")[0]
    return recipes.stock_sample(graph, both, **inputs)


OURS = pytest.mark.parametrize("ours", [moe_sampler, moe_model])


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
    given = recipes.conditioning(graph)
    properties = {"strength": 1.0, "set_cond_area": "default", "hooks": hooks}
    return {
        name: graph.add("ConditioningSetProperties", cond_NEW=cond, **properties)[0] for name, cond in given.items()
    }


@contextmanager
def fresh(client: Client) -> Iterator[None]:
    client.forget()
    yield
    client.forget()


def digests(client: Client, sample: Sample, conditioning: Callable[[Graph], Any], **inputs: Any) -> list[str]:
    """What three runs in a row on a fresh host give: shift 5, shift 1, and shift 5 again."""
    found = []
    with fresh(client):
        for seed, shift in enumerate((5.0, 1.0, 5.0)):
            graph = Graph()
            link = sample(graph, shifted(graph, shift), conditioning(graph) | inputs | {"seed": seed})
            node = graph.hash(link)
            found.append(client.run(graph).digest(node))
    return found


@OURS
def test_ranges_of_prompts_follow_the_shift_of_the_model_from_the_first_run(client: Client, ours: Sample) -> None:
    assert digests(client, ours, ranged) == digests(client, stock, ranged)


@OURS
@pytest.mark.parametrize("sampler", ["euler", "heunpp2"])
def test_hooks_on_prompts_follow_their_keyframes_from_the_first_run(client: Client, ours: Sample, sampler: str) -> None:
    assert digests(client, ours, hooked, sampler_name=sampler) == digests(client, stock, hooked, sampler_name=sampler)


def test_hooks_are_right_each_time_the_run_comes_back_to_an_expert(client: Client) -> None:
    """heunpp2 goes to and fro between the experts; both are the same file, each with weights of its own."""
    client.forget()
    graph = Graph()
    given = hooked(graph) | {"sampler_name": "heunpp2"}
    high, low = shifted(graph, 8.0), shifted(graph, 8.0, COPY)
    ours = recipes.moe_sample(graph, model_high=high, model_low=low, **given)
    assert unequal(client, graph, {"heunpp2": (ours, stock(graph, high, given))}) == []


def test_one_file_with_two_shifts_equals_two_files(client: Client) -> None:
    found = []
    for second in (recipes.HIGH, COPY):
        with fresh(client):
            graph = Graph()
            experts = {"model_high": shifted(graph, 5.0), "model_low": shifted(graph, 1.0, second)}
            node = graph.hash(recipes.moe_sample(graph, **experts, **ranged(graph)))
            found.append(client.run(graph).digest(node))
    assert found[0] == found[1]


def test_a_mask_that_changes_over_the_run_is_that_of_the_expert(client: Client) -> None:
    """Differential Diffusion on one expert acts in its part alone."""
    graph = Graph()
    start = graph.make(**MASKED_BATCH)
    both = recipes.model(graph)
    masked = graph.add("DifferentialDiffusion", model=both, strength=1.0)[0]
    given = {"latent_image": start, "denoise": 0.9} | recipes.conditioning(graph)
    runs = {
        (high, low): recipes.moe_sample(
            graph, model_high=masked if high else both, model_low=masked if low else both, **given
        )
        for high in (False, True)
        for low in (False, True)
    }
    plain = {on: stock(graph, masked if on else both, given) for on in (False, True)}
    same = {"both": (runs[True, True], plain[True]), "none": (runs[False, False], plain[False])}
    other = {"low": (runs[False, True], runs[False, False]), "high": (runs[True, False], runs[True, True])}
    assert unequal(client, graph, same | other) == ["low", "high"]
