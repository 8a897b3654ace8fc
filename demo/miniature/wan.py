"""The diffusion models: the A14B experts for text and for images, and the speech model, at width 96 with 4 blocks.

The patch embedding and the head are near an identity, so that the velocity is about the noise plus what the blocks
add: samples stay of the size of the noise for any number of steps.
Layout: Wan-Video/Wan2.2 wan/modules/model.py and wan/modules/s2v/model_s2v.py.
"""

from __future__ import annotations

import json

import torch
from torch import Tensor

from .table import Entry, Table, joined, layer, norm, prefixed, weight

WIDTH = 96
HEADS = 4
BLOCKS = 4
FFN_WIDTH = 192
TEXT_WIDTH = 64
TIME_WIDTH = 256
LATENT_CHANNELS = 16
MASK_CHANNELS = 4  # which of the four video frames behind a latent frame are given
IMAGE_INPUT_CHANNELS = 2 * LATENT_CHANNELS + MASK_CHANNELS  # noise, mask, given frames
PATCH = (1, 2, 2)
PATCH_SIZE = LATENT_CHANNELS * 4
AUDIO_WIDTH = 1024
AUDIO_LAYERS = 25
AUDIO_TOKENS = 4
AUDIO_BLOCKS = (0, 2)

assert WIDTH % HEADS == 0 and WIDTH // HEADS % 6 == 0 and PATCH_SIZE <= WIDTH

HEAD_GAIN = 0.8  # the head's input has unit size; the noise in it has this share
SELF_SHARPNESS = 1.5  # scale of query and key
CROSS_SHARPNESS = 2.5  # the same: some 500 padding tokens must not drown a dozen words


# Kernels


def patch_rows(input_channels: int) -> Tensor:
    """The patch embedding that copies each noisy value of a patch to a channel of its own and skips other inputs."""
    rows = torch.zeros(WIDTH, input_channels, *PATCH)  # d c 1 2 2
    rows[:, :LATENT_CHANNELS] = torch.eye(WIDTH, PATCH_SIZE).reshape(WIDTH, LATENT_CHANNELS, *PATCH)
    return rows


def patch_columns() -> Tensor:
    """The head that copies those channels back; the host's unpatchify wants the latent channel last."""
    back = torch.eye(PATCH_SIZE, WIDTH).reshape(LATENT_CHANNELS, 4, WIDTH)  # c pixel d
    return HEAD_GAIN * back.transpose(0, 1).reshape(PATCH_SIZE, WIDTH)  # pixel*c d


def open_gates(rows: int) -> Tensor:
    """Modulation rows shift, scale, gate: only gates are open."""
    return torch.tensor([float(row % 3 == 2) for row in range(rows)]).reshape(1, rows, 1)


# Layers


def attention(*, sharpness: float = 1.0, gain: float = 0.5) -> Table:
    """Query, key, value and output with normalised query and key; ``gain`` is the output's."""
    projections = {f"{name}.": layer(WIDTH, WIDTH) for name in "qkv"} | {"o.": layer(WIDTH, WIDTH, gain=gain)}
    norms = {f"{name}.": norm(WIDTH, bias=False, centre=sharpness) for name in ("norm_q", "norm_k")}
    return joined(projections | norms)


def block() -> Table:
    """One transformer block."""
    return (
        {"modulation": Entry((1, 6, WIDTH), std=0.1, centre=open_gates(6))}
        | prefixed("self_attn.", attention(sharpness=SELF_SHARPNESS))
        | prefixed("norm3.", norm(WIDTH))
        | prefixed("cross_attn.", attention(sharpness=CROSS_SHARPNESS, gain=0.5))
        | prefixed("ffn.0.", layer(WIDTH, FFN_WIDTH))
        | prefixed("ffn.2.", layer(FFN_WIDTH, WIDTH, gain=0.5))
    )


def patchify(kernel: tuple[int, ...], *, gain: float) -> Table:
    """A strided convolution that makes tokens of latents."""
    return layer(LATENT_CHANNELS, WIDTH, *kernel, gain=gain)


def patch_embedding(input_channels: int) -> Table:
    """The convolution that makes tokens of the noisy latent and what comes beside it."""
    kernel = layer(input_channels, WIDTH, *PATCH, gain=0.3, centre=patch_rows(input_channels))
    return prefixed("patch_embedding.", kernel)


def speech_parts() -> Table:
    """What the speech model has besides: audio encoder, injectors, motion and pose."""
    quarter, half = WIDTH // 4, WIDTH // 2
    encoder = (
        {"padding_tokens": Entry((1, 1, 1, WIDTH), std=0.5)}
        | prefixed("conv1_local.conv.", layer(AUDIO_WIDTH, quarter * AUDIO_TOKENS, 3))
        | prefixed("conv1_global.conv.", layer(AUDIO_WIDTH, quarter, 3))
        | prefixed("conv2.conv.", layer(quarter, half, 3))
        | prefixed("conv3.conv.", layer(half, WIDTH, 3))
        | prefixed("final_linear.", layer(WIDTH, WIDTH))
    )
    table = (
        {"trainable_cond_mask.weight": Entry((3, WIDTH), std=0.5)}
        | {"casual_audio_encoder.weights": Entry((1, AUDIO_LAYERS, 1, 1), std=0.1, centre=1.0)}
        | prefixed("casual_audio_encoder.encoder.", encoder)
        | prefixed("cond_encoder.", patchify(PATCH, gain=0.1))
    )
    for index in range(len(AUDIO_BLOCKS)):
        table |= prefixed(f"audio_injector.injector.{index}.", attention(gain=0.7))
        table |= prefixed(f"audio_injector.injector_adain_layers.{index}.linear.", layer(WIDTH, 2 * WIDTH))
    for name, kernel in {"proj": PATCH, "proj_2x": (2, 4, 4), "proj_4x": (4, 8, 8)}.items():
        table |= prefixed(f"frame_packer.{name}.", patchify(kernel, gain=1.0))
    return table


# Models


def text_to_video(input_channels: int = LATENT_CHANNELS) -> Table:
    """A text-to-video expert."""
    table = (
        patch_embedding(input_channels)
        | prefixed("text_embedding.0.", layer(TEXT_WIDTH, WIDTH))
        | prefixed("text_embedding.2.", layer(WIDTH, WIDTH))
        | prefixed("time_embedding.0.", layer(TIME_WIDTH, WIDTH))
        | prefixed("time_embedding.2.", layer(WIDTH, WIDTH))
        | prefixed("time_projection.1.", layer(WIDTH, 6 * WIDTH, gain=0.3))
    )
    for index in range(BLOCKS):
        table |= prefixed(f"blocks.{index}.", block())
    return table | {
        "head.modulation": Entry((1, 2, WIDTH), std=0.05),
        "head.head.weight": weight(PATCH_SIZE, WIDTH, gain=0.2, centre=patch_columns()),
        "head.head.bias": Entry((PATCH_SIZE,), std=0.02),
    }


def image_to_video() -> Table:
    """An image-to-video expert: 36 input channels, as Wan2.2-I2V-A14B has no layers of its own for the image."""
    return text_to_video(IMAGE_INPUT_CHANNELS)


def speech_to_video() -> Table:
    """The speech model."""
    return text_to_video() | speech_parts()


def config(*, speech: bool) -> dict[str, str]:
    """The file's metadata: what the host cannot read from shapes."""
    transformer: dict[str, object] = {"num_heads": HEADS, "text_dim": TEXT_WIDTH}
    if speech:
        transformer |= {"audio_dim": AUDIO_WIDTH, "audio_inject_layers": list(AUDIO_BLOCKS)}
    return {"config": json.dumps({"transformer": transformer})}
