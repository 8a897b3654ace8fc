"""Loads the two miniature networks whose size the host's own loaders take as given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import comfy.ldm.wan.vae2_2
import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.wan
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import ComfyExtension, io

CATEGORY = "WanCast/demo"

StateDict = dict[str, torch.Tensor]


def load(folder: str, name: str) -> StateDict:
    """The tensors of a file in one of the host's model folders."""
    return comfy.utils.load_torch_file(folder_paths.get_full_path_or_raise(folder, name), safe_load=True)


# Text encoder


def umt5_config(state_dict: StateDict) -> dict[str, int]:
    """The sizes of a UMT5 encoder, read from its tensors, under the names of the host's config file."""
    attention = "encoder.block.0.layer.0.SelfAttention"
    heads = state_dict[f"{attention}.relative_attention_bias.weight"].shape[1]
    vocabulary, width = state_dict["shared.weight"].shape
    return {
        "vocab_size": vocabulary,
        "d_model": width,
        "d_ff": state_dict["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"].shape[0],
        "d_kv": state_dict[f"{attention}.q.weight"].shape[0] // heads,
        "num_heads": heads,
        "num_layers": len({key.split(".")[2] for key in state_dict if key.startswith("encoder.block.")}),
    }


def umt5_clip(state_dict: StateDict) -> comfy.sd.CLIP:
    """The host's Wan text encoder around a UMT5 of any size."""
    target = comfy.supported_models_base.ClipTarget(
        comfy.text_encoders.wan.WanT5Tokenizer, comfy.text_encoders.wan.te(dtype_t5=state_dict["shared.weight"].dtype)
    )
    return comfy.sd.CLIP(
        target,
        tokenizer_data={"spiece_model": state_dict["spiece_model"]},
        parameters=sum(tensor.numel() for tensor in state_dict.values()),
        state_dict=[state_dict],
        model_options={"umt5xxl_model_config": umt5_config(state_dict)},
    )


class WanCastDemoTextEncoder(io.ComfyNode):
    """Load CLIP for a UMT5 that is not of the one size that Load CLIP knows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanCastDemoTextEncoder",
            display_name="Load Miniature UMT5",
            category=CATEGORY,
            description="Loads a UMT5 text encoder of any size. Real UMT5-XXL files load with Load CLIP.",
            inputs=[
                io.Combo.Input(
                    "text_encoder",
                    options=folder_paths.get_filename_list("text_encoders"),
                    tooltip="A file in models/text_encoders that carries its tokenizer, such as mini_umt5.safetensors.",
                ),
            ],
            outputs=[io.Clip.Output("clip", tooltip="For CLIP Text Encode.")],
        )

    @classmethod
    def execute(cls, text_encoder: str) -> io.NodeOutput:
        return io.NodeOutput(umt5_clip(load("text_encoders", text_encoder)))


# Wan2.2 VAE


@contextmanager
def wan22_width(state_dict: StateDict) -> Iterator[None]:
    """While it lasts, the host builds a Wan2.2 VAE of the file's widths instead of the widths it has as numbers."""
    stock = comfy.ldm.wan.vae2_2.WanVAE
    widths = {
        "dim": state_dict["encoder.conv1.weight"].shape[0],
        "dec_dim": state_dict["decoder.head.0.gamma"].shape[0],
    }

    def build(**options: Any) -> torch.nn.Module:
        return stock(**options | widths)

    with mock.patch.object(comfy.ldm.wan.vae2_2, "WanVAE", build):
        yield


class WanCastDemoWan22VAE(io.ComfyNode):
    """Load VAE for a Wan2.2 VAE that is not of the one width that Load VAE knows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="WanCastDemoWan22VAE",
            display_name="Load Miniature Wan2.2 VAE",
            category=CATEGORY,
            description="Loads a Wan2.2 VAE of any width. Real Wan2.2 VAE files load with Load VAE.",
            inputs=[
                io.Combo.Input(
                    "vae_file",
                    options=folder_paths.get_filename_list("vae"),
                    tooltip="A Wan2.2 VAE (48 channels) in models/vae, such as mini_wan22_vae.safetensors.",
                ),
            ],
            outputs=[io.Vae.Output("vae", tooltip="For every node that takes a VAE.")],
        )

    @classmethod
    def execute(cls, vae_file: str) -> io.NodeOutput:
        state_dict = load("vae", vae_file)
        with wan22_width(state_dict):
            return io.NodeOutput(comfy.sd.VAE(sd=state_dict))


class WanCastDemoExtension(ComfyExtension):
    """Registers the two loaders."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [WanCastDemoTextEncoder, WanCastDemoWan22VAE]


async def comfy_entrypoint() -> WanCastDemoExtension:
    """What the host calls."""
    return WanCastDemoExtension()
