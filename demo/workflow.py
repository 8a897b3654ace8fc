"""The shipped workflows, made small enough for the miniature networks. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Inputs = dict[str, Any]
Prompt = dict[str, dict[str, Any]]

API_WORKFLOWS = Path(__file__).parent.parent / "workflows" / "api"
SIX_NODES = "One character, two shots"  # through every node that the product is named for
COMPARISON = "Three shots, with and without the lock"


@dataclass(frozen=True, slots=True)
class Miniature:
    """Networks that stand in for the full-size ones, and what fits them."""

    files: Mapping[str, str]  # by the name of the full-size file, or of what the demo has in its place
    choices: Mapping[tuple[str, str], Inputs]  # (input, its value) -> inputs of the same node, where a name is not all
    text_encoder: str  # the stock loader knows only the full-size one
    sizes: Mapping[str, Inputs]  # inputs by class of node

    def of(self, prompt: Prompt) -> Prompt:
        """The same graph with miniature files, sizes and step counts."""
        return {node_id: node | self._node(node["class_type"], node["inputs"]) for node_id, node in prompt.items()}

    def _node(self, class_type: str, inputs: Inputs) -> dict[str, Any]:
        if class_type == "CLIPLoader":
            return {"class_type": "WanCastDemoTextEncoder", "inputs": {"text_encoder": self.text_encoder}}
        texts = {name: value for name, value in inputs.items() if isinstance(value, str)}
        named = {name: self.files.get(value, value) for name, value in texts.items()}
        chosen = {name: value for choice in texts.items() for name, value in self.choices.get(choice, {}).items()}
        return {"inputs": inputs | named | chosen | self.sizes.get(class_type, {})}


RANDOM = Miniature(
    files={
        "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": "mini_t2v_high.safetensors",
        "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": "mini_t2v_low.safetensors",
        "wan2.2_s2v_14B_fp8_scaled.safetensors": "mini_s2v.safetensors",
        "wan_2.1_vae.safetensors": "mini_wan21_vae.safetensors",
        "wav2vec2_large_english_fp16.safetensors": "mini_wav2vec2.pt",
        "Stand-In_wan2.2_T2V_A14B_high.ckpt": "mini_stand_in_high.safetensors",
        "Stand-In_wan2.2_T2V_A14B_low.ckpt": "mini_stand_in_low.safetensors",
        "Wan2_1-T2V-14B-Lynx_lite_ip_layers_fp16.safetensors": "mini_lynx_lite_ip_layers.safetensors",
        "lynx_lite_resampler_fp32.safetensors": "mini_lynx_lite_resampler.safetensors",
        "recognition_arcface_ir_se50.pth": "mini_ir_se.safetensors",
        "syncnet_v2.pth": "mini_syncnet.safetensors",
    },
    choices={("face", "auto"): {"face": "insightface pack", "face.pack": "mini_pack"}},
    text_encoder="mini_umt5.safetensors",
    sizes={
        "EmptyHunyuanLatentVideo": {"width": 128, "height": 128, "length": 33},
        "WanSoundImageToVideo": {"width": 128, "height": 128},
        "MoESampler": {"steps": 8},
        "KSampler": {"steps": 8},
        "SolidMask": {"width": 128, "height": 128},
        "MaskComposite": {"x": 64},  # where the right half begins
        "ImageCropV2": {"crop_region": {"x": 34, "y": 18, "width": 60, "height": 60}},
        "EmptyAudio": {"duration": 2.06},  # as long as the first shot, 33 frames at 16 fps
    },
)

ADAPTERS = {"high": "Stand-In_wan2.2_T2V_A14B_high.ckpt", "low": "Stand-In_wan2.2_T2V_A14B_low.ckpt"}  # by expert
CAST = Miniature(
    files={
        "portrait.png": "actor.png",
        "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": "cast_t2v_high.safetensors",
        "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": "cast_t2v_low.safetensors",
        "wan_2.1_vae.safetensors": "cast_vae.safetensors",
        "recognition_arcface_ir_se50.pth": "cast_recogniser.safetensors",
        "glint360k_curricular_face_r101_backbone.bin": "cast_judge.onnx",
    },
    choices={("face", "auto"): {"face": "insightface pack", "face.pack": "cast_pack"}}
    | {
        ("stand_in", file): {"stand_in": "none", "ip_layers": f"cast_lynx_t2v_{expert}.safetensors"}
        for expert, file in ADAPTERS.items()
    },
    text_encoder="cast_umt5.safetensors",
    sizes={"EmptyHunyuanLatentVideo": {"width": 96, "height": 96, "length": 17}},
)


def shipped_workflow(name: str) -> Prompt:
    """An API workflow that a user would run with the real weights."""
    return json.loads((API_WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


# The takes of a comparison, each looked at alone

LOCKED, UNLOCKED = "Is it the same person, locked?", "Is it the same person, not locked?"  # titles of the checks


@dataclass(frozen=True, slots=True)
class Probe:
    """The nodes that tell of one clip of a check, by their ids."""

    text: str  # the prompt of the clip
    frames: str  # PreviewImage
    likeness: str  # PreviewAny of the mean cosine to the character
    found: str  # PreviewAny of the share of frames with a face


def probe_clips(prompt: Prompt, check: str) -> tuple[Prompt, list[Probe]]:
    """The same graph with nodes that tell of each clip of a check alone, in the order of the clips."""
    inputs, added, probes = prompt[check]["inputs"], {}, []
    clips = {name: link for name, link in inputs.items() if name.startswith("clips.")}
    others = {name: value for name, value in inputs.items() if name not in clips}
    for number, clip in enumerate(clips.values(), start=1):
        alone = f"{check}-{number}"
        probe = Probe(_text_of(prompt, clip[0]), f"{alone}-frames", f"{alone}-likeness", f"{alone}-found")
        nodes = {
            alone: ("WanCastIdentityCheck", others | {"clips.clip_1": clip}),
            probe.frames: ("PreviewImage", {"images": clip}),
            probe.likeness: ("PreviewAny", {"source": [alone, 1]}),
            probe.found: ("PreviewAny", {"source": [alone, 3]}),
        }
        added |= {
            node_id: {"class_type": class_type, "inputs": values, "_meta": {"title": node_id}}
            for node_id, (class_type, values) in nodes.items()
        }
        probes.append(probe)
    return prompt | added, probes


def _text_of(prompt: Prompt, decoded: str) -> str:
    """The prompt of a clip: of what its sampler reads, which its decoder reads."""
    sampled, _ = prompt[decoded]["inputs"]["samples"]
    encoded, _ = prompt[sampled]["inputs"]["positive"]
    return prompt[encoded]["inputs"]["text"]
