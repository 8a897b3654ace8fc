"""The face recogniser; layout: facexlib's ArcFace ``Backbone(mode="ir_se")``."""

from __future__ import annotations

from dataclasses import replace

from .table import Entry, Table, batch_norm, joined, layer, prefixed, weight

EMBEDDING = 512
STEM_WIDTH = 16
STAGES = ((16, 2), (24, 2), (32, 2), (48, 2))  # width and units; the first unit of a stage halves the picture
SE_REDUCTION = 16
FINAL_SIDE = 7


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
    return joined(parts)


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
