"""The diffusion models of the miniature cast: the host's own class, small, and how one is trained from nothing.

Sizes: about 1.7 million numbers. Three heads of 48, since the softmax is a fifth of a step on a CPU.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from devtools.host_modules import host_module

WIDTH = 144
HEADS = 3
BLOCKS = 5
FFN_WIDTH = 416
TEXT_WIDTH = 64
TEXT_TOKENS = 512  # of a prompt with its padding, in the host
LATENT_CHANNELS = 16
MASK_CHANNELS = 4  # which of the four video frames behind a latent frame are given
IMAGE_INPUT_CHANNELS = LATENT_CHANNELS + MASK_CHANNELS + LATENT_CHANNELS  # noise, mask, given frames
CONFIG = {"config": json.dumps({"transformer": {"num_heads": HEADS, "text_dim": TEXT_WIDTH}})}

assert WIDTH // HEADS % 6 == 0, "RoPE divides the width of a head among time, height and width"

Attention = Callable[..., Tensor]


def expert(input_channels: int = LATENT_CHANNELS) -> nn.Module:
    """An untrained expert: Xavier matrices, a head of zeros, modulations of 1/sqrt(width)."""
    network = host_module("comfy.ldm.wan.model").WanModel(
        in_dim=input_channels,
        dim=WIDTH,
        ffn_dim=FFN_WIDTH,
        text_dim=TEXT_WIDTH,
        num_heads=HEADS,
        num_layers=BLOCKS,
        dtype=torch.float32,
        operations=nn,
    )
    for name, value in network.named_parameters():
        if name.endswith("modulation"):
            nn.init.normal_(value, std=1 / math.sqrt(WIDTH))
        elif value.ndim > 1:
            nn.init.xavier_uniform_(value.flatten(1))
        elif name.endswith("bias"):
            nn.init.zeros_(value)
    nn.init.zeros_(network.head.head.weight)
    return network


def widened(weights: dict[str, Tensor], input_channels: int) -> dict[str, Tensor]:
    """The weights of an expert that sees more channels, of which it takes no notice yet."""
    kernel = weights["patch_embedding.weight"]
    wide = kernel.new_zeros(len(kernel), input_channels, *kernel.shape[2:])
    wide[:, : kernel.shape[1]] = kernel
    return weights | {"patch_embedding.weight": wide}


# Text


def padding_bias(context: Tensor) -> Tensor:
    """What the padding's scores gain where ``context`` (b n d, zeros after the end) is cut short, b 1 1 n.

    The host's prompts have 512 tokens, all zeros after the end. ``k`` equal keys weigh what one does whose score is
    log(k) higher.
    """
    is_padding = ~context.any(dim=-1)  # b n
    shown = is_padding.sum(dim=1, keepdim=True)
    stands_for = (TEXT_TOKENS - context.shape[1] + shown) / shown
    return torch.where(is_padding, stands_for.log(), 0)[:, None, None]


def with_short_text(context: Tensor) -> dict[str, Any]:
    """The transformer options with which an expert reads a shortened context as it reads the whole one."""
    bias = padding_bias(context)

    def attend(_: Attention, q: Tensor, k: Tensor, v: Tensor, heads: int, **__: Any) -> Tensor:
        """Softmax attention, b n d, by plain products: torch's fused one has a slow gradient on a CPU."""
        is_text = k.shape[1] == context.shape[1] and k.shape[1] != q.shape[1]
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))  # b heads n d
        scores = q @ k.mT * k.shape[-1] ** -0.5
        scores = scores + bias.to(scores) if is_text else scores
        return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)

    return {"optimized_attention_override": attend}
