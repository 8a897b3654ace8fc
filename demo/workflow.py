"""The shipped workflow, made small enough for the miniature networks. Standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Prompt = dict[str, dict[str, Any]]

API_WORKFLOWS = Path(__file__).parent.parent / "workflows" / "api"
MINIATURE_FILES = {
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
}
MINIATURE_NODES: dict[str, tuple[str, dict[str, Any]]] = {  # the stock loader knows only the full-size text encoder
    "CLIPLoader": ("WanCastDemoTextEncoder", {"text_encoder": "mini_umt5.safetensors"}),
}
MINIATURE_PACK = {"face": "insightface pack", "face.pack": "mini_pack"}  # auto would take that of the trained cast
MINIATURE_SIZES: dict[str, dict[str, Any]] = {
    "EmptyHunyuanLatentVideo": {"width": 128, "height": 128, "length": 33},
    "WanSoundImageToVideo": {"width": 128, "height": 128},
    "MoESampler": {"steps": 8},
    "KSampler": {"steps": 8},
    "SolidMask": {"width": 128, "height": 128},
    "MaskComposite": {"x": 64},  # where the right half begins
    "ImageCropV2": {"crop_region": {"x": 34, "y": 18, "width": 60, "height": 60}},
    "EmptyAudio": {"duration": 2.06},  # as long as the first shot, 33 frames at 16 fps
}


def shipped_workflow(name: str = "One character, two shots") -> Prompt:
    """An API workflow that a user would run with the real weights."""
    return json.loads((API_WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def miniature(prompt: Prompt) -> Prompt:
    """The same graph with miniature files, sizes and step counts."""
    small: Prompt = {}
    for node_id, node in prompt.items():
        class_type, inputs = MINIATURE_NODES.get(node["class_type"], (node["class_type"], node["inputs"]))
        inputs = {
            name: MINIATURE_FILES.get(value, value) if isinstance(value, str) else value
            for name, value in inputs.items()
        }
        inputs |= MINIATURE_SIZES.get(class_type, {}) | (MINIATURE_PACK if inputs.get("face") == "auto" else {})
        small[node_id] = node | {"class_type": class_type, "inputs": inputs}
    return small
