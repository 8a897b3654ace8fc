"""The two video autoencoders at small widths. Layout: Wan-Video/Wan2.2 wan/modules/vae2_1.py and vae2_2.py."""

from __future__ import annotations

from dataclasses import replace

from .table import Entry, Table, layer, prefixed

MULTIPLES = (1, 2, 4, 4)
SHRINKS_TIME = (False, True, True)  # per encoder stage; the decoder has them the other way round
RES_BLOCKS = 2

WAN21_WIDTH = 4
WAN21_CHANNELS = 16
WAN22_ENCODER_WIDTH = 4
WAN22_DECODER_WIDTH = 4
WAN22_CHANNELS = 48
WAN22_PATCH_CHANNELS = 12  # 3 colours of 2 x 2 pixels

BLUR = 0.6  # makes clouds of what would be speckle
PICTURE_GAIN = 0.9  # nearly all pixels stay inside [-1, 1]
LATENT_GAIN = 5.0  # a blurred picture has little contrast; its latent has about unit size


# Layers


def conv(inputs: int, outputs: int, *kernel: int, gain: float = 1.0) -> Table:
    """A convolution that mixes channels and mostly blurs; a kernel with an extent answers to differences only."""
    table = layer(inputs, outputs, *kernel, gain=gain)
    return table | {"weight": replace(table["weight"], blur=BLUR, zero_sum=max(kernel) > 1)}


def rms_gamma(width: int, *, images: bool = False) -> Table:
    """The scale of a channel normalisation, shaped to broadcast over space or over time and space."""
    return {"gamma": Entry((width, *[1] * (2 if images else 3)), std=0.02, centre=1.0)}


def res_block(inputs: int, outputs: int) -> Table:
    """Two causal convolutions with a shortcut, which is a convolution where the width changes."""
    table = (
        prefixed("residual.0.", rms_gamma(inputs))
        | prefixed("residual.2.", conv(inputs, outputs, 3, 3, 3))
        | prefixed("residual.3.", rms_gamma(outputs))
        | prefixed("residual.6.", conv(outputs, outputs, 3, 3, 3))
    )
    return table if inputs == outputs else table | prefixed("shortcut.", conv(inputs, outputs, 1, 1, 1))


def middle(width: int) -> Table:
    """Residual block, attention within each frame, residual block."""
    return (
        prefixed("0.", res_block(width, width))
        | prefixed("1.norm.", rms_gamma(width, images=True))
        | prefixed("1.to_qkv.", conv(width, 3 * width, 1, 1))
        | prefixed("1.proj.", conv(width, width, 1, 1))
        | prefixed("2.", res_block(width, width))
    )


def head(width: int, outputs: int, *, gain: float = 1.0) -> Table:
    """Normalisation and the last convolution."""
    return prefixed("0.", rms_gamma(width)) | prefixed("2.", conv(width, outputs, 3, 3, 3, gain=gain))


def stage_widths(width: int) -> list[int]:
    """Channels at the entrance of each encoder stage, and at the exit of the last."""
    return [width * multiple for multiple in (1, *MULTIPLES)]


def ends(latent: int) -> Table:
    """The 1x1x1 convolutions around the latent."""
    both = 2 * latent
    return prefixed("conv1.", conv(both, both, 1, 1, 1)) | prefixed("conv2.", conv(latent, latent, 1, 1, 1))


# Wan2.1: stages are a flat list


def down_21(width: int, *, time: bool) -> Table:
    """Halves space, and time where asked."""
    table = prefixed("resample.1.", conv(width, width, 3, 3))
    return table | prefixed("time_conv.", conv(width, width, 3, 1, 1)) if time else table


def up_21(width: int, *, time: bool) -> Table:
    """Doubles space and halves the channels, and doubles time where asked."""
    table = prefixed("resample.1.", conv(width, width // 2, 3, 3))
    return table | prefixed("time_conv.", conv(width, 2 * width, 3, 1, 1)) if time else table


def encoder_21(width: int, latent: int) -> Table:
    """Picture to twice the latent channels (mean and spread)."""
    widths = stage_widths(width)
    parts: list[Table] = []
    for stage, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        parts += [res_block(inputs, outputs)] + [res_block(outputs, outputs)] * (RES_BLOCKS - 1)
        if stage < len(SHRINKS_TIME):
            parts.append(down_21(outputs, time=SHRINKS_TIME[stage]))
    table = prefixed("conv1.", conv(3, widths[0], 3, 3, 3))
    for index, part in enumerate(parts):
        table |= prefixed(f"downsamples.{index}.", part)
    last = head(widths[-1], 2 * latent, gain=LATENT_GAIN)
    return table | prefixed("middle.", middle(widths[-1])) | prefixed("head.", last)


def decoder_21(width: int, latent: int) -> Table:
    """Latent to picture; every stage after the first starts at half the width that the one before left."""
    widths = [stage_widths(width)[-1], *stage_widths(width)[:0:-1]]
    parts: list[Table] = []
    for stage, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        entrance = inputs // 2 if stage else inputs
        parts += [res_block(entrance, outputs)] + [res_block(outputs, outputs)] * RES_BLOCKS
        if stage < len(SHRINKS_TIME):
            parts.append(up_21(outputs, time=SHRINKS_TIME[::-1][stage]))
    table = prefixed("conv1.", conv(latent, widths[0], 3, 3, 3)) | prefixed("middle.", middle(widths[0]))
    for index, part in enumerate(parts):
        table |= prefixed(f"upsamples.{index}.", part)
    return table | prefixed("head.", head(widths[-1], 3, gain=PICTURE_GAIN))


def wan21() -> Table:
    """The 16-channel autoencoder."""
    return (
        prefixed("encoder.", encoder_21(WAN21_WIDTH, WAN21_CHANNELS))
        | ends(WAN21_CHANNELS)
        | prefixed("decoder.", decoder_21(WAN21_WIDTH, WAN21_CHANNELS))
    )


# Wan2.2: stages are nested lists with parameter-free shortcuts around them


def resample_22(width: int, *, time_outputs: int) -> Table:
    """Changes the size of space at constant width, and of time where ``time_outputs`` is not 0."""
    table = prefixed("resample.1.", conv(width, width, 3, 3))
    return table | prefixed("time_conv.", conv(width, time_outputs, 3, 1, 1)) if time_outputs else table


def stages_22(name: str, widths: list[int], blocks: int, times: tuple[bool, ...], time_factor: int) -> Table:
    """Stages of ``blocks`` residual blocks, all but the last ending in a resampling."""
    table: Table = {}
    for stage, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        parts = [res_block(inputs, outputs)] + [res_block(outputs, outputs)] * (blocks - 1)
        if stage < len(times):
            parts.append(resample_22(outputs, time_outputs=time_factor * outputs if times[stage] else 0))
        for index, part in enumerate(parts):
            table |= prefixed(f"{name}.{stage}.{name}.{index}.", part)
    return table


def wan22() -> Table:
    """The 48-channel autoencoder."""
    down = stage_widths(WAN22_ENCODER_WIDTH)
    up = [stage_widths(WAN22_DECODER_WIDTH)[-1], *stage_widths(WAN22_DECODER_WIDTH)[:0:-1]]
    encoder = (
        prefixed("conv1.", conv(WAN22_PATCH_CHANNELS, down[0], 3, 3, 3))
        | stages_22("downsamples", down, RES_BLOCKS, SHRINKS_TIME, 1)
        | prefixed("middle.", middle(down[-1]))
        | prefixed("head.", head(down[-1], 2 * WAN22_CHANNELS, gain=LATENT_GAIN))
    )
    decoder = (
        prefixed("conv1.", conv(WAN22_CHANNELS, up[0], 3, 3, 3))
        | prefixed("middle.", middle(up[0]))
        | stages_22("upsamples", up, RES_BLOCKS + 1, SHRINKS_TIME[::-1], 2)
        | prefixed("head.", head(up[-1], WAN22_PATCH_CHANNELS, gain=PICTURE_GAIN))
    )
    return prefixed("encoder.", encoder) | ends(WAN22_CHANNELS) | prefixed("decoder.", decoder)
