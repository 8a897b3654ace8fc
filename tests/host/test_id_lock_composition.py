"""IDLock beside other nodes: each graph gives what the same graph gives around the oracle's model."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import safetensors.torch

from demo.miniature import wan
from demo.miniature.table import Table, fill, layer, norm, prefixed
from devtools.server import HostServer
from tests.host import recipes
from tests.host.id_lock_runs import (
    FULL,
    LITE,
    LORA,
    ON_BOTH_HOSTS,
    PORTRAIT,
    REF,
    Pair,
    compared,
    pair,
    person,
    write_lora,
)
from tests.host.live import Client, Graph
from tests.host.recipes import Link

SAMPLED = 2e-4  # relative, after a run in fp32 with a guidance of 3
EFFECT = 0.05
STEPS = 2
pytestmark = ON_BOTH_HOSTS
EVERYTHING = LITE | REF | PORTRAIT
VACE, CLIP_READER = "probe_vace.safetensors", "probe_i2v_of_wan21.safetensors"
SCAIL, SCAIL_CHANNELS = "probe_scail.safetensors", 20
VACE_LAYERS = 2
CLIP_WIDTH = 1280
SIDES = ("ours", "oracle", "plain")

MASK = {"box": [9, 64, 64], "left": 20, "right": 50, "value": 0.7}
RELATIVES = {
    "model.CameraWanModel": (FULL | PORTRAIT, {"camera_conditions": [1, 24, 3, 64, 64]}),
    "model.HumoWanModel": (EVERYTHING, {"audio_embed": [1, 3, 8, 5, 1280], "reference_latent": [1, 16, 1, 8, 8]}),
    "model_animate.AnimateWanModel": (FULL | PORTRAIT, {"pose_latents": [1, 16, 2, 8, 8]}),
    "model.SCAIL2WanModel": (FULL, {"reference_latent": [1, 16, 1, 8, 8], "pose_latents": [1, 16, 3, 4, 4]}),
    "model_wandancer.WanDancerModel": (FULL, {"audio_embed": [1, 30, 35]}),
}

Rows = dict[str, Callable[[Graph], list[Link]]]


# Files


@pytest.fixture(scope="module", autouse=True)
def files(live_host: HostServer) -> None:
    """A LoRA for the miniatures, a VACE model, a model that reads CLIP pictures, and SCAIL."""
    write_lora(live_host)
    for name, table in {VACE: vace(), CLIP_READER: clip_reader(wan.image_to_video()), SCAIL: scail()}.items():
        file = live_host.base_dir / "models" / "diffusion_models" / name
        safetensors.torch.save_file(fill(table, name), file, metadata=wan.config(speech=False))


def vace() -> Table:
    """A miniature with blocks for control pictures."""
    table = wan.text_to_video()
    table |= prefixed("vace_patch_embedding.", layer(2 * wan.LATENT_CHANNELS + 64, wan.WIDTH, *wan.PATCH))
    for index in range(VACE_LAYERS):
        table |= prefixed(f"vace_blocks.{index}.", wan.block())
        table |= prefixed(f"vace_blocks.{index}.after_proj.", layer(wan.WIDTH, wan.WIDTH, gain=0.3))
    return table | prefixed("vace_blocks.0.before_proj.", layer(wan.WIDTH, wan.WIDTH))


def clip_reader(table: Table) -> Table:
    """A miniature as of Wan2.1's image to video: cross-attention reads a picture's 257 CLIP tokens beside the text."""
    table |= prefixed("img_emb.proj.0.", norm(CLIP_WIDTH)) | prefixed("img_emb.proj.1.", layer(CLIP_WIDTH, CLIP_WIDTH))
    table |= prefixed("img_emb.proj.3.", layer(CLIP_WIDTH, wan.WIDTH)) | prefixed("img_emb.proj.4.", norm(wan.WIDTH))
    for block in range(wan.BLOCKS):
        for name in ("k_img", "v_img"):
            table |= prefixed(f"blocks.{block}.cross_attn.{name}.", layer(wan.WIDTH, wan.WIDTH))
        table |= prefixed(f"blocks.{block}.cross_attn.norm_k_img.", norm(wan.WIDTH, bias=False))
    return table


def scail() -> Table:
    """A miniature that puts a reference's tokens before the video's, and those of poses behind them."""
    table = clip_reader(wan.text_to_video(SCAIL_CHANNELS))
    return table | prefixed("patch_embedding_pose.", layer(SCAIL_CHANNELS, wan.WIDTH, *wan.PATCH))


# Models


def locked(graph: Graph, model: Link, spec: Any = EVERYTHING, *, seed: int = 1, **parts: Link) -> dict[str, Link]:
    """The model with an identity by both, and without."""
    both = pair(graph, model, spec, identity=person(graph, seed), **parts)
    return {"ours": both.ours, "oracle": both.oracle, "plain": model}


def on_all(models: dict[str, Link], change: Callable[[Link], Link]) -> dict[str, Link]:
    return {side: change(models[side]) for side in SIDES}


def node(graph: Graph, name: str, **inputs: Any) -> Callable[[Link], Link]:
    """A node that changes a model."""
    return lambda model: graph.add(name, model=model, **inputs)[0]


def sampled(graph: Graph, models: dict[str, Link], **inputs: Any) -> list[Link]:
    return [recipes.stock_sample(graph, models[side], **{"steps": STEPS} | inputs) for side in SIDES]


def conditioned(graph: Graph, name: str, **inputs: Any) -> dict[str, Link]:
    """Positive, negative and latent of a node that makes them together."""
    given = {"width": 64, "height": 64, "length": 9, "batch_size": 1, "vae": recipes.vae21(graph)}
    video = graph.add(name, **given | recipes.conditioning(graph) | inputs)
    return {"positive": video[0], "negative": video[1], "latent_image": video[2]}


# Samplers


def two_advanced(graph: Graph) -> list[Link]:
    high = locked(graph, recipes.model(graph))
    low = locked(graph, recipes.model(graph, recipes.LOW), LITE | REF | {"stand_in": "mini_stand_in_low.safetensors"})
    first = {"steps": 4, "end_at_step": 2, "return_with_leftover_noise": True}
    then = {"steps": 4, "start_at_step": 2, "add_noise": False}

    def both(side: str) -> Link:
        noisy = recipes.advanced_sample(graph, high[side], **first)
        return recipes.advanced_sample(graph, low[side], latent_image=noisy, **then)

    return [both(side) for side in SIDES]


def experts(graph: Graph) -> list[dict[str, Link]]:
    """The two models of each side."""
    high = locked(graph, recipes.model(graph), EVERYTHING)
    low = locked(graph, recipes.model(graph, recipes.LOW), FULL, seed=2)
    return [{"model_high": high[side], "model_low": low[side]} for side in SIDES]


def moe_sampler(graph: Graph) -> list[Link]:
    return [recipes.moe_sample(graph, steps=4, sampler_name="dpmpp_2m", **models) for models in experts(graph)]


def moe_guider(graph: Graph) -> list[Link]:
    def sample(models: dict[str, Link]) -> Link:
        guiders = {f"guider_{name}": recipes.guider(graph, models[f"model_{name}"]) for name in ("high", "low")}
        guider = recipes.moe_guider(graph, **guiders)
        return recipes.sample_with_guider(graph, guider, sigmas=recipes.sigmas(graph, steps=4))

    return [sample(models) for models in experts(graph)]


def windows(graph: Graph) -> list[Link]:
    """Seven latent frames in windows of four; the weight is by the frame of the whole video."""
    parts = {"mask": graph.make(tensor=[25, 64, 64], fill="unit")}
    models = locked(graph, recipes.model(graph), EVERYTHING | {"frame_weights": "0:1, 24:0.2"}, **parts)
    inputs = {"context_length": 13, "context_overlap": 5, "context_schedule": "standard_static", "context_stride": 1}
    inputs |= {"closed_loop": False, "fuse_method": "pyramid", "freenoise": False, "retain_first_frame": False}
    inputs |= {"split_conds_to_windows": False}
    models = on_all(models, node(graph, "WanContextWindowsManual", **inputs))
    return sampled(graph, models, latent_image=recipes.latent(graph, frames=25), steps=2)


# What others do to a model


def user_lora(graph: Graph) -> Callable[[Link], Link]:
    return node(graph, "LoraLoaderModelOnly", lora_name=LORA, strength_model=0.8)


def hooked(graph: Graph) -> list[Link]:
    """A LoRA on the positive prompt alone, whose strength changes in the run."""
    ends = {"strength_start": 1.0, "strength_end": 0.2, "start_percent": 0.0, "end_percent": 1.0}
    ends |= {"interpolation": "linear", "keyframes_count": 5, "print_keyframes": False}
    hooks = graph.add("CreateHookLoraModelOnly", lora_name=LORA, strength_model=0.8)[0]
    frames = graph.add("CreateHookKeyframesInterpolated", **ends)[0]
    hooks = graph.add("SetHookKeyframes", hooks=hooks, hook_kf=frames)[0]
    inputs = {"cond_NEW": recipes.conditioning(graph)["positive"], "strength": 1.0, "set_cond_area": "default"}
    positive = graph.add("ConditioningSetProperties", hooks=hooks, **inputs)[0]
    return sampled(graph, locked(graph, recipes.model(graph)), positive=positive)


def control(graph: Graph) -> list[Link]:
    """VACE, whose own blocks attend with the index of the block before them."""
    video = graph.make(tensor=[9, 64, 64, 3], fill="unit")
    inputs = conditioned(graph, "WanVaceToVideo", strength=0.7, control_video=video)
    mask = graph.make(**MASK)
    return sampled(graph, locked(graph, recipes.model(graph, VACE), mask=mask), **inputs)


def speech(graph: Graph) -> list[Link]:
    inputs = conditioned(graph, "WanSoundImageToVideo", ref_image=recipes.portrait(graph))
    mask = graph.make(**MASK)
    return sampled(graph, locked(graph, recipes.model(graph, recipes.SPEECH_MODEL), mask=mask), **inputs)


def reference_first(graph: Graph) -> list[Link]:
    """SCAIL, with a reference before the video and poses behind it."""
    given = {"pose_strength": 1.0, "pose_start": 0.0, "pose_end": 1.0, "replacement_mode": False}
    given |= {"video_frame_offset": 0, "previous_frame_count": 5, "reference_image": recipes.portrait(graph)}
    given |= {"pose_video": graph.make(tensor=[9, 64, 64, 3], fill="unit")}
    return sampled(
        graph, locked(graph, recipes.model(graph, SCAIL), FULL), **conditioned(graph, "WanSCAILToVideo", **given)
    )


def relative(graph: Graph, name: str) -> list[Link]:
    """One of the host's other networks with inputs of its own: what may be exact in it is."""
    spec, shapes = RELATIVES[name]
    network = {"network": f"comfy.ldm.wan.{name}", "shapes": json.dumps(shapes)}
    parts = {} if spec is FULL else {"mask": graph.make(**MASK)}
    model = graph.add("WanCastProbeRelative", model=recipes.model(graph), **network)[0]
    return sampled(graph, locked(graph, model, spec, **parts))


def clip_picture(graph: Graph, *, with_clip: bool) -> list[Link]:
    """A model whose cross-attention has a call for a picture and one for the text; identities belong to the second."""
    given = recipes.image_conditioning(graph)
    if with_clip:
        given |= {
            side: graph.add("WanCastProbeClipPicture", conditioning=given[side])[0] for side in ("positive", "negative")
        }
    return sampled(graph, locked(graph, recipes.model(graph, CLIP_READER), FULL | PORTRAIT), **given)


def two_locks(graph: Graph) -> list[Link]:
    """With another node between them."""
    first = pair(graph, recipes.model(graph), EVERYTHING, identity=person(graph, 1))
    shift = node(graph, "ModelSamplingSD3", shift=5.0)
    shifted = Pair(shift(first.ours), shift(first.oracle))
    spec = FULL | PORTRAIT | {"strength": 0.7}
    second = pair(graph, shifted, spec, identity=person(graph, 2))
    return sampled(graph, {"ours": second.ours, "oracle": second.oracle, "plain": shift(recipes.model(graph))})


def before(name: str, **inputs: Any) -> Callable[[Graph], list[Link]]:
    """The other node first, then IDLock."""
    return lambda graph: sampled(graph, locked(graph, node(graph, name, **inputs)(recipes.model(graph))))


def after(name: str, **inputs: Any) -> Callable[[Graph], list[Link]]:
    """IDLock first, then the other node."""
    return lambda graph: sampled(graph, on_all(locked(graph, recipes.model(graph)), node(graph, name, **inputs)))


def eight_bits(graph: Graph) -> list[Link]:
    model = graph.add("UNETLoader", unet_name=recipes.HIGH, weight_dtype="fp8_e4m3fn")[0]
    return sampled(graph, locked(graph, model))


def low_vram(graph: Graph) -> list[Link]:
    """With a LoRA, which then is added each time a layer runs."""
    models = on_all(locked(graph, user_lora(graph)(recipes.model(graph))), node(graph, "WanCastProbeLowVram"))
    return sampled(graph, models)


def compiled(graph: Graph) -> list[Link]:
    models = locked(graph, recipes.model(graph))
    return sampled(graph, models | {"ours": graph.add("WanCastProbeCompile", model=models["ours"])[0]})


def plainly(**inputs: Any) -> Callable[[Graph], list[Link]]:
    """KSampler with these settings."""
    return lambda graph: sampled(graph, locked(graph, recipes.model(graph)), **inputs)


ROWS: Rows = {
    "KSampler": plainly(),
    "KSampler with dpmpp_2m_sde": plainly(sampler_name="dpmpp_2m_sde", scheduler="beta"),
    "cfg 1": plainly(cfg=1.0),
    "batch of two": lambda graph: plainly(latent_image=graph.make(latent=[2, 16, 3, 8, 8]))(graph),
    "KSamplerAdvanced over two experts": two_advanced,
    "MoESampler": moe_sampler,
    "WanCastMoEGuider with SamplerCustomAdvanced": moe_guider,
    "user LoRA before": lambda graph: sampled(graph, locked(graph, user_lora(graph)(recipes.model(graph)))),
    "user LoRA after": lambda graph: sampled(graph, on_all(locked(graph, recipes.model(graph)), user_lora(graph))),
    "LoRA hooks on a conditioning": hooked,
    "context windows": windows,
    "VACE": control,
    "S2V": speech,
    "SCAIL": reference_first,
    **{name: partial(relative, name=name) for name in RELATIVES},
    "image to video of Wan2.1 with a CLIP picture": lambda graph: clip_picture(graph, with_clip=True),
    "image to video of Wan2.1 without one": lambda graph: clip_picture(graph, with_clip=False),
    "NAG before": before("WanCastProbeNag", scale=2.0),
    "NAG after": after("WanCastProbeNag", scale=2.0),
    "override that calls, before": before("WanCastProbeOverride", kind="call"),
    "override that calls, after": after("WanCastProbeOverride", kind="call"),
    "override that replaces, before": before("WanCastProbeOverride", kind="replace"),
    "override that replaces, after": after("WanCastProbeOverride", kind="replace"),
    "attentions that choose their backend": before("WanCastProbeChosenAttention"),
    "two IDLocks": two_locks,
    "fp8 weights": eight_bits,
    "low VRAM with a LoRA": low_vram,
    "compiled": compiled,
}


@pytest.mark.parametrize("name", list(ROWS))
def test_it_composes(client: Client, name: str) -> None:
    graph = Graph()
    found = compared(client, graph, {name: ROWS[name](graph)})[name]
    sys.stdout.write(f"{name}: {found}\n")
    assert found.effect > EFFECT
    assert found.relative < SAMPLED
