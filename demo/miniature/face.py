"""The face recogniser, and the adapter that brings its embedding into a Wan model.

Layouts: facexlib's ArcFace ``Backbone(mode="ir_se")`` and Lynx lite (bytedance/lynx, modules/lite and
modules/common/resampler.py).
"""

from __future__ import annotations

from dataclasses import replace

from . import wan
from .table import Entry, Table, batch_norm, layer, norm, prefixed, weight

EMBEDDING = 512
STEM_WIDTH = 16
STAGES = ((16, 2), (24, 2), (32, 2), (48, 2))  # width and units; the first unit of a stage halves the picture
SE_REDUCTION = 16
FINAL_SIDE = 7

RESAMPLER_WIDTH = 64
RESAMPLER_DEPTH = 2
RESAMPLER_HEAD = 64
QUERIES = 16
TOKEN_WIDTH = 80
FF_FACTOR = 4

assert RESAMPLER_WIDTH % RESAMPLER_HEAD == 0


# Recogniser


def conv(inputs: int, outputs: int, side: int) -> Table:
    """A square convolution without bias that answers to contrast, not to brightness."""
    return {"weight": replace(weight(outputs, inputs, side, side), zero_sum=inputs * side > 1)}


def prelu(width: int) -> Table:
    """One negative slope per channel."""
    return {"weight": Entry((width,), std=0.02, centre=0.25)}


def unit(inputs: int, outputs: int) -> Table:
    """One IR-SE unit; the shortcut is a convolution where the width changes."""
    squeezed = max(1, outputs // SE_REDUCTION)
    parts = {
        "res_layer.0.": batch_norm(inputs),
        "res_layer.1.": conv(inputs, outputs, 3),
        "res_layer.2.": prelu(outputs),
        "res_layer.3.": conv(outputs, outputs, 3),
        "res_layer.4.": batch_norm(outputs),
        "res_layer.5.fc1.": layer(outputs, squeezed, 1, 1, bias=False),
        "res_layer.5.fc2.": layer(squeezed, outputs, 1, 1, bias=False),
    }
    if inputs != outputs:
        parts |= {"shortcut_layer.0.": conv(inputs, outputs, 1), "shortcut_layer.1.": batch_norm(outputs)}
    return {f"{prefix}{key}": entry for prefix, part in parts.items() for key, entry in part.items()}


def recogniser() -> Table:
    """Aligned 112 x 112 face to a 512-d embedding."""
    table = prefixed("input_layer.0.", conv(3, STEM_WIDTH, 3))
    table |= prefixed("input_layer.1.", batch_norm(STEM_WIDTH)) | prefixed("input_layer.2.", prelu(STEM_WIDTH))
    inputs, index = STEM_WIDTH, 0
    for width, units in STAGES:
        for _ in range(units):
            table |= prefixed(f"body.{index}.", unit(inputs, width))
            inputs, index = width, index + 1
    flat = inputs * FINAL_SIDE * FINAL_SIDE
    final = layer(flat, EMBEDDING)
    final["weight"] = replace(final["weight"], zero_sum=True)
    return (
        table
        | prefixed("output_layer.0.", batch_norm(inputs))
        | prefixed("output_layer.3.", final)
        | prefixed("output_layer.4.", batch_norm(EMBEDDING))
    )


# Adapter


def resampler() -> Table:
    """Embedding to 16 tokens: a Perceiver."""
    width, inner = RESAMPLER_WIDTH, RESAMPLER_WIDTH
    table = {"latents": Entry((1, QUERIES, width), std=1.0)} | prefixed("proj_in.", layer(EMBEDDING, width, gain=20.0))
    for index in range(RESAMPLER_DEPTH):
        attention = (
            prefixed("norm1.", norm(width))
            | prefixed("norm2.", norm(width))
            | prefixed("to_q.", layer(width, inner, bias=False))
            | prefixed("to_kv.", layer(width, 2 * inner, bias=False))
            | prefixed("to_out.", layer(inner, width, bias=False, gain=2.0))
        )
        feed_forward = (
            prefixed("0.", norm(width))
            | prefixed("1.", layer(width, FF_FACTOR * width, bias=False))
            | prefixed("3.", layer(FF_FACTOR * width, width, bias=False))
        )
        table |= prefixed(f"layers.{index}.0.", attention) | prefixed(f"layers.{index}.1.", feed_forward)
    return table | prefixed("proj_out.", layer(width, TOKEN_WIDTH)) | prefixed("norm_out.", norm(TOKEN_WIDTH))


def ip_layers() -> Table:
    """Key and value of the identity tokens in every second block of a Wan model."""
    table: Table = {}
    for index in range(wan.BLOCKS // 2):
        table |= prefixed(f"{index}.to_k_ip.", layer(TOKEN_WIDTH, wan.WIDTH, bias=False))
        table |= prefixed(f"{index}.to_v_ip.", layer(TOKEN_WIDTH, wan.WIDTH, bias=False))
    return table
