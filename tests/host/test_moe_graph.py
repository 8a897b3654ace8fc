"""Both experts in graphs of stock nodes: each has its own patches, whatever the host had loaded before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, share_file
from tests.host.moe_runs import MASKED_BATCH, NOISE, chained, experts, relative, shifted, unequal
from tests.host.recipes import Link

LORAS = {"high": "lora_of_high.safetensors", "low": "lora_of_low.safetensors"}
BAKED = {"high": "baked_high.safetensors", "low": "baked_low.safetensors"}  # the base with each LoRA in its weights
COPY = "second_copy_of_mini_t2v_high.safetensors"
RANK = 4

Sample = Callable[..., Link]


def lora_of(name: str) -> dict[str, torch.Tensor]:
    """A LoRA for query, key and value of one block, in the host's names."""
    source, width = torch.Generator().manual_seed(len(name)), 96
    factors = {}
    for part in "qkv":
        prefix = f"diffusion_model.blocks.1.self_attn.{part}"
        factors[f"{prefix}.lora_A.weight"] = torch.randn(RANK, width, generator=source) / width**0.5
        factors[f"{prefix}.lora_B.weight"] = torch.randn(width, RANK, generator=source)
    return factors


def baked(weights: dict[str, torch.Tensor], lora: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of a model with a LoRA of strength 1 added."""
    downs = [key for key in lora if key.endswith(".lora_A.weight")]
    added = {key: lora[key.replace("lora_A", "lora_B")] @ lora[key] for key in downs}
    names = {key.removeprefix("diffusion_model.").replace(".lora_A", ""): delta for key, delta in added.items()}
    return {key: weight + names.get(key, 0.0) for key, weight in weights.items()}


@pytest.fixture(scope="module", autouse=True)
def files(live_host: HostServer) -> None:
    """Two LoRAs, the base model with either of them in its weights, and a copy of it lie in the folders of the host."""
    models = live_host.base_dir / "models"
    share_file(models / "diffusion_models" / recipes.HIGH, models / "diffusion_models" / COPY)
    (models / "loras").mkdir(exist_ok=True)
    with safe_open(models / "diffusion_models" / recipes.HIGH, "pt") as base:
        weights, metadata = {key: base.get_tensor(key) for key in base.keys()}, base.metadata()  # noqa: SIM118
    for name, file in LORAS.items():
        lora = lora_of(name)
        save_file(lora, models / "loras" / file)
        save_file(baked(weights, lora), models / "diffusion_models" / BAKED[name], metadata=metadata)


# Patches


def with_lora_file(graph: Graph, model: Link, name: str, strength: float = 1.0) -> Link:
    return graph.add("LoraLoaderModelOnly", model=model, lora_name=LORAS[name], strength_model=strength)[0]


def blended(graph: Graph, high: Link, low: Link, share: float) -> Link:
    shares = dict.fromkeys(("input", "middle", "out"), share)
    return graph.add("ModelMergeBlocks", model1=high, model2=low, **shares)[0]


def replaced(graph: Graph, high: Link, low: Link, how: str) -> Link:
    return graph.add("WanCastProbeReplace", model=high, other=low, how=how)[0]


WEIGHTS: dict[str, tuple[Callable[[Graph, Link, Link], Link], bool]] = {  # name -> patch, whether they stay its file's
    "none": (lambda graph, high, low: high, True),
    "a lora": (lambda graph, high, low: with_lora_file(graph, high, "high"), True),
    "nothing of the other": (lambda graph, high, low: blended(graph, high, low, 1.0), True),
    "a part of the other": (lambda graph, high, low: blended(graph, high, low, 0.9), False),
    "sum": (lambda graph, high, low: graph.add("ModelMergeAdd", model1=high, model2=low)[0], False),
    "difference": (
        lambda graph, high, low: graph.add("ModelMergeSubtract", model1=high, model2=low, multiplier=1.0)[0],
        False,
    ),
    **{how: (partial(replaced, how=how), False) for how in ("set", "diff", "network")},
}


def test_the_name_of_a_file_speaks_for_its_own_weights_alone(client: Client) -> None:
    graph = Graph()
    high, low = experts(graph).values()
    lows = {name: make(graph, high, low) for name, (make, _) in WEIGHTS.items()}
    nodes = {name: recipes.moe_sample(graph, model_low=model, steps=2)[0] for name, model in lows.items()}
    reports = {name: graph.add("PreviewAny", source=[node, 1]) for name, node in nodes.items()}
    run = client.run(graph)
    said = "note: both experts are 'mini_t2v_high.safetensors'"
    found = {name: said in run.output(node)["text"][0] for name, node in reports.items()}
    assert found == {name: stays for name, (_, stays) in WEIGHTS.items()}


def override(graph: Graph, model: Link, cfg: float) -> Link:
    return graph.add("CFGOverride", model=model, cfg=cfg, start_percent=0.0, end_percent=1.0)[0]


def cached(graph: Graph, model: Link, threshold: float) -> Link:
    settings = {"reuse_threshold": threshold, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    return graph.add("EasyCache", model=model, **settings)[0]


def scaled(graph: Graph, model: Link, factor: float) -> Link:
    return graph.add("Epsilon Scaling", model=model, scaling_factor=factor)[0]


def patched(
    graph: Graph, *, lora: tuple[float, float] = (1.0, 1.0), cfg: float = 1.0, scale: float = 1.1, cache: float = 3.0
) -> tuple[Link, Link]:
    """The two experts: a LoRA on each, another cfg and a hook after guidance on the high one, a cache on the low."""
    high, low = experts(graph).values()
    high = scaled(graph, override(graph, with_lora_file(graph, high, "high", lora[0]), cfg), scale)
    return high, cached(graph, with_lora_file(graph, low, "low", lora[1]), cache)


def together(graph: Graph, models: tuple[Link, Link], *, cfg: float = 1.5, **common: Any) -> Link:
    high, low = (recipes.guider(graph, model, cfg=cfg) for model in models)
    return recipes.sample_with_guider(graph, recipes.moe_guider(graph, guider_high=high, guider_low=low), **common)


def test_a_whole_graph_of_stock_patches_acts_on_each_expert_by_itself(client: Client) -> None:
    """Each part changes the result, and the whole is what two stock samplers in a row make with the same parts.

    The same parts before WanCast MoE Model or MoE Sampler do the same.
    """
    graph = Graph()
    sigmas = recipes.moe_sigmas(graph, high_steps=3, low_steps=6)
    common = {"latent_image": graph.make(**NOISE), "sigmas": sigmas}
    shots = {
        "whole": patched(graph),
        "no lora on high": patched(graph, lora=(0.0, 1.0)),
        "no lora on low": patched(graph, lora=(1.0, 0.0)),
        "no other cfg": patched(graph, cfg=1.5),
        "no hook": patched(graph, scale=1.0),
        "no cache": patched(graph, cache=0.0),
    }
    saves = {name: graph.save(together(graph, models, **common)) for name, models in shots.items()}
    guiders = [recipes.guider(graph, model, cfg=1.5) for model in shots["whole"]]
    row = graph.save(chained(graph, guiders, (3, 6), **common))
    pair = dict(zip(("model_high", "model_low"), shots["whole"], strict=True))
    of_model = recipes.guider(graph, recipes.moe_model(graph, **pair), cfg=1.5)
    alike = recipes.moe_sample(graph, **pair, **common, cfg_high=1.5, cfg_low=1.5)
    others = [graph.save(latent) for latent in (recipes.sample_with_guider(graph, of_model, **common), alike)]
    run = client.run(graph)
    found = {name: run.saved(node) for name, node in saves.items()}
    whole = found.pop("whole")
    assert relative(whole, run.saved(row)) < 1e-5
    assert [run.saved(node) for node in others] == [whole, whole]
    assert {name for name, other in found.items() if relative(other, whole) < 1e-4} == set()


def test_two_loras_on_one_file_equal_two_files_with_them_in_their_weights(client: Client) -> None:
    """With a solver that comes back to the high-noise expert, twice: the shared weights must follow each time."""
    graph = Graph()
    base = recipes.model(graph)
    stacks = {f"model_{name}": with_lora_file(graph, base, name) for name in LORAS}
    files = {f"model_{name}": recipes.model(graph, file) for name, file in BAKED.items()}
    common = {"sampler_name": "heunpp2", "latent_image": graph.make(**NOISE)}
    pairs = {}
    for seed in (1, 2):
        models = [recipes.moe_model(graph, **pair) for pair in (stacks, files)]
        of_model = [recipes.stock_sample(graph, model, **common, seed=seed) for model in models]
        of_sampler = [recipes.moe_sample(graph, **pair, **common, seed=seed) for pair in (stacks, files)]
        pairs |= {f"sampler {seed}": tuple(of_sampler), f"model {seed}": tuple(of_model)}
    pairs["without lora"] = recipes.moe_sample(graph, **stacks, **common), recipes.moe_sample(graph, **common)
    assert unequal(client, graph, pairs) == ["without lora"]


# The set-up of an expert: schedules, hooks and masks


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
    hooks = graph.add("CreateHookLoraModelOnly", lora_name=LORAS["high"], strength_model=1.0)[0]
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
