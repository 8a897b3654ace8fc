"""MoESampler on a live host: its parts of a run, its policies, its notes and errors, its progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, prepare_base
from tests.host.moe_runs import NOISE, experts, relative, report_of, shifted, unequal
from tests.host.recipes import Link

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


@pytest.mark.parametrize("two_files", [False, True])
def test_every_part_of_a_run_equals_that_of_the_stock_sampler(client: Client, two_files: bool) -> None:
    """Of two files, against one model that holds both."""
    graph = Graph()
    latent, pair = graph.make(**NOISE), experts(graph)
    whole = pair["model_high"]
    if two_files:
        whole = graph.add("WanCastProbeComposite", **pair, boundary_sigma=0.875)[0]
    else:
        pair["model_low"] = whole
    nodes = {
        (name, sampler): (
            graph.hash(recipes.advanced_sample(graph, whole, latent_image=latent, sampler_name=sampler, **part)),
            graph.hash(recipes.moe_sample(graph, **pair, latent_image=latent, sampler_name=sampler, **part)),
        )
        for name, part in PARTS.items()
        for sampler in SAMPLERS
    }
    run = client.run(graph)
    digests = {name: (run.digest(stock), run.digest(ours)) for name, (stock, ours) in nodes.items()}
    assert [name for name, (stock, ours) in digests.items() if stock != ours] == []
    assert len({ours for _, ours in digests.values()}) == len(nodes)


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
    ours = {"model_high": model, "model_low": model, "latent_image": latent, "sampler_name": "dpmpp_2m"}
    parts = {"late": {"start_at_step": 2}, "middle": {"start_at_step": 2, "end_at_step": 4}}
    parts["middle"] |= {"return_with_leftover_noise": True}
    pairs = {}
    for name, part in parts.items():
        stock = graph.add("SamplerCustom", **common, sigmas={"late": late[1], "middle": middle}[name])[0]
        pairs[name, "inside"] = stock, recipes.moe_sample(graph, **ours, denoise=denoise, **part)
        unread = {"steps": 99, "scheduler": "karras"}
        pairs[name, "outside"] = stock, recipes.moe_sample(graph, **ours, sigmas=sigmas, **unread, **part)
    assert unequal(client, graph, pairs) == []


def test_a_prompt_without_the_newer_inputs_runs_with_their_defaults(client: Client) -> None:
    graph = Graph()
    old = recipes.moe_sample(graph)
    new = recipes.moe_sample(graph, **recipes.WHOLE, policy="strict", memory="auto")
    assert not {*recipes.WHOLE, "policy", "memory"} & set(graph.prompt[old[0]]["inputs"])
    assert unequal(client, graph, {"old and new": (old, new)}) == []


# Policies

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
    lines = report_of(client, Graph(), sampler_name=sampler, policy=policy)
    wanted = {f"policy: {policy}", "steps: 4 high + 2 low"}
    for name, (high, low) in {"evaluations": evaluations, "loads": loads}.items():
        wanted.add(f"{name}: {high} high, {low} low")
    assert wanted <= set(lines)


def test_per_step_is_two_samplers_in_a_row_and_strict_is_not(client: Client) -> None:
    """The stock samplers round once more where they meet, which guidance would amplify."""
    graph = Graph()
    latent, (high, low) = graph.make(**NOISE), experts(graph).values()
    heun = {"sampler_name": "heun", "cfg": 1.0}
    first = {"latent_image": latent, "end_at_step": 4, "return_with_leftover_noise": True}
    noisy = recipes.advanced_sample(graph, high, **heun, **first)
    then = {"latent_image": noisy, "start_at_step": 4, "add_noise": False}
    stock = graph.save(recipes.advanced_sample(graph, low, **heun, **then))
    settings = {"latent_image": latent, "sampler_name": "heun", "cfg_high": 1.0, "cfg_low": 1.0}
    ours = {
        policy: graph.save(recipes.moe_sample(graph, **settings, policy=policy))
        for policy in ("strict", "latch", "per_step")
    }
    run = client.run(graph)
    distances = {policy: relative(run.saved(node), run.saved(stock)) for policy, node in ours.items()}
    assert distances["per_step"] < 1e-6
    assert min(distances["strict"], distances["latch"]) > 1e-3


def test_latch_takes_a_solver_that_chooses_its_own_steps(client: Client) -> None:
    lines = report_of(client, Graph(), sampler_name="dpm_adaptive", policy="latch")
    assert {"policy: latch", "loads: 1 high, 1 low"} <= set(lines)


# What it says: word for word in the unit tests


def broken(graph: Graph, slot: str, below: float) -> dict[str, Any]:
    model = experts(graph)[f"model_{slot}"]
    return {f"model_{slot}": graph.add("WanCastProbeNan", model=model, below_sigma=below)[0]}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            lambda graph: {"sampler_name": "dpm_adaptive", "policy": "per_step"},
            "MoESampler: policy: found 'per_step' with a sampler that chooses its own steps; wanted ",
        ),
        # six simple steps at shift 8 begin at 1, 0.976, 0.941, 0.889, 0.800 and 0.616
        (
            lambda graph: broken(graph, "low", 0.875),
            "MoESampler: low expert: found NaN or infinite values in step 5 of 6 (sigma 0.8005); wanted finite values.",
        ),
        (
            lambda graph: broken(graph, "high", 0.95),
            "MoESampler: high expert: found NaN or infinite values in step 3 of 6 (sigma 0.9413); wanted finite ",
        ),
    ],
)
def test_what_it_sees_only_while_it_runs_is_an_error_of_the_node(
    client: Client, inputs: Callable[[Graph], dict[str, Any]], message: str
) -> None:
    graph = Graph()
    graph.hash(recipes.moe_sample(graph, **inputs(graph)))
    failure = client.fails(graph)
    assert failure.node_type == "MoESampler"
    assert failure.message.startswith(message)


def test_a_latent_that_the_hosts_type_cannot_hold_is_an_error(
    tmp_path: Path, models_dir: Path, host_dir: Path, boots: list[HostServer]
) -> None:
    """Close to pure noise it is large: what is sampled is divided by 1 - sigma."""
    base = prepare_base(tmp_path, models_dir)
    with HostServer(sys.executable, host_dir, base, extra_args=["--fp16-intermediates"]) as server:
        boots.append(server)
        graph = Graph()
        graph.hash(recipes.moe_sample(graph, sigmas=graph.make(sigmas=[0.5, 0.99999])))
        failure = Client(server.url).fails(graph)
    assert failure.message.startswith("MoESampler: latent_image: found NaN or infinite values in the sampled latent; ")


def windowed(graph: Graph) -> Link:
    """A model that samples at most nine frames at a time."""
    settings: dict[str, Any] = {"context_length": 9, "context_overlap": 4, "context_schedule": "standard_static"}
    settings |= {"context_stride": 1, "closed_loop": False, "fuse_method": "pyramid", "dim": 2, "freenoise": False}
    settings |= {"split_conds_to_windows": False, "causal_window_fix": True}
    settings |= {"cond_retain_index_list": "", "latent_retain_index_list": ""}
    return graph.add("ContextWindowsManual", model=recipes.model(graph), **settings)[0]


def merged(graph: Graph, ratio: float) -> Link:
    """A merge that is the low-noise expert at 0 and the high-noise expert, from whose file it comes, at 1."""
    pair = {"model1": recipes.model(graph), "model2": recipes.model(graph, recipes.LOW)}
    return graph.add("ModelMergeSimple", **pair, ratio=ratio)[0]


def distilled(graph: Graph, sampler: str, **more: Any) -> dict[str, Any]:
    """Four steps of shift 5 without guidance."""
    models = {"model_high": shifted(graph, 5.0), "model_low": shifted(graph, 5.0, recipes.LOW)}
    return models | {"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0, "sampler_name": sampler} | more


def of_images(graph: Graph) -> dict[str, Link]:
    pair = {"model_high": recipes.IMAGE_HIGH, "model_low": recipes.IMAGE_LOW}
    return {slot: recipes.model(graph, name) for slot, name in pair.items()}


def referenced(graph: Graph) -> dict[str, Link]:
    latent = graph.make(latent=[1, 16, 1, 8, 8])
    positive = recipes.conditioning(graph)["positive"]
    return {"positive": graph.add("ReferenceLatent", conditioning=positive, latent=latent)[0]}


def video_inputs(graph: Graph) -> dict[str, Any]:
    """What the stock nodes that make conditioning for a video have in common."""
    sizes = {"width": 64, "height": 64, "length": 9, "batch_size": 1}
    return recipes.conditioning(graph) | {"vae": recipes.vae21(graph)} | sizes


def seen(graph: Graph) -> dict[str, Link]:
    tokens = graph.make(clip_vision=[1, 7, 1280])
    video = graph.add("WanImageToVideo", **video_inputs(graph), clip_vision_output=tokens)
    return {"positive": video[0], "negative": video[1]}


def half_pictured(graph: Graph) -> dict[str, Any]:
    """Two experts for images and a positive prompt of which one part brings the picture."""
    video = recipes.image_conditioning(graph)
    both = {"conditioning_1": video["positive"], "conditioning_2": recipes.conditioning(graph)["positive"]}
    return of_images(graph) | video | {"positive": graph.add("ConditioningCombine", **both)[0]}


def of_speech(graph: Graph) -> dict[str, Any]:
    """A picture and a control video for the speech model in both slots."""
    video = graph.add("WanSoundImageToVideo", **video_inputs(graph), ref_image=recipes.portrait(graph))
    pair = dict.fromkeys(("model_high", "model_low"), recipes.model(graph, recipes.SPEECH_MODEL))
    return pair | {"positive": video[0], "negative": video[1], "switch": "sigma", "switch__sigma": 0.9}


def controlled(graph: Graph) -> dict[str, Link]:
    video = graph.add("WanVaceToVideo", **video_inputs(graph), strength=1.0)
    return {"positive": video[0], "negative": video[1]}


BOTH = "the high-noise expert and the low-noise expert"


@pytest.mark.parametrize(
    ("inputs", "note"),
    [
        (lambda graph: {}, None),
        (lambda graph: {"model_high": merged(graph, 0.7), "model_low": merged(graph, 0.0)}, None),
        (lambda graph: {"model_low": merged(graph, 1.0)}, "both experts are 'mini_t2v_high.safetensors', whose name "),
        (lambda graph: distilled(graph, "euler"), None),
        (lambda graph: distilled(graph, "uni_pc"), "for uni_pc the host makes a schedule of 5 steps and leaves its "),
        (
            lambda graph: distilled(graph, "dpm_2", sigmas=recipes.sigmas(graph, model=shifted(graph, 5.0), steps=4)),
            None,
        ),
        (lambda graph: {"sigmas": graph.make(sigmas=[1e-4, 0.5, 0.95, 0.999]), "add_noise": False}, None),
        (recipes.image_conditioning, f"{BOTH} cannot read a start picture or control video (concat_latent_image)"),
        (referenced, f"{BOTH} cannot read a reference picture (reference_latents), which the conditioning brings"),
        (seen, f"{BOTH} cannot read a CLIP vision output (clip_vision_output), which the conditioning brings"),
        (of_speech, None),
        (controlled, f"{BOTH} cannot read a VACE control video (vace_frames), which the conditioning brings"),
        (of_images, f"{BOTH} will see an empty picture, because there is none in positive and negative (concat_"),
        (half_pictured, f"{BOTH} will see an empty picture, because there is none in an entry of positive (concat_"),
        (lambda graph: of_images(graph) | recipes.image_conditioning(graph), None),
        (lambda graph: {"model_low": recipes.model(graph)}, "both experts are 'mini_t2v_high.safetensors', whose "),
        (lambda graph: {"model_low": shifted(graph, 3.0, recipes.LOW)}, "model_low has another shift; the schedule "),
        (lambda graph: {"scheduler": "karras", "steps": 10}, "the high-noise expert takes 1 of 10 steps, an even "),
        (lambda graph: {"steps": 4, "cfg_high": 1.0, "cfg_low": 1.0}, "4 steps at cfg 1 look like a distilled "),
        (
            lambda graph: distilled(graph, "uni_pc") | {"scheduler": "beta"},
            "set the shift to 5 and scheduler to simple; for uni_pc the host makes a schedule of 5 steps",
        ),
        (lambda graph: {"model_high": windowed(graph)}, "only the high-noise expert has context windows; the low"),
    ],
)
def test_the_report_notes_what_is_allowed_but_probably_not_meant(
    client: Client, inputs: Callable[[Graph], dict[str, Any]], note: str | None
) -> None:
    graph = Graph()
    notes = [line for line in report_of(client, graph, **inputs(graph)) if line.startswith("note: ")]
    assert len(notes) == (note is not None)
    assert all(str(note) in line for line in notes)


def test_a_merge_that_is_another_expert_than_its_file_takes_the_portrait_of_that_expert(client: Client) -> None:
    graph = Graph()
    adapter = recipes.adapter(graph, ip_layers="none", resampler="none", stand_in="mini_stand_in_low.safetensors")
    lock, _ = recipes.locked(graph, merged(graph, 0.0), adapter=adapter, vae=recipes.vae21(graph))
    report = graph.add("PreviewAny", source=[lock, 1])
    assert "note: " not in client.run(graph).output(report)["text"][0]


# Progress


def test_one_bar_counts_every_step_once_over_the_switch_and_each_has_its_picture(client: Client) -> None:
    graph = Graph()
    latent = graph.make(**NOISE, unseen="progress")
    node, _ = recipes.moe_sample(graph, latent_image=latent, steps=6, start_at_step=1)
    graph.hash([node, 0])
    frames = list(client.frames(graph, preview_method="latent2rgb"))
    pictures = [frame for frame in frames if isinstance(frame, bytes)]
    events = [frame for frame in frames if not isinstance(frame, bytes)]
    bars = [(data["value"], data["max"]) for kind, data in events if kind == "progress" and data["node"] == node]
    assert events[-1][0] == frames[-1][0] == "execution_success"
    assert bars == [(step, 5) for step in range(1, 6)]
    assert len(pictures) == 5
    assert all(b"\xff\xd8\xff" in picture[:16] for picture in pictures)  # JPEG
