"""A pack for the real insightface, and a recogniser of the same kind alone, as ONNX.

The detector has the outputs of SCRFD (insightface, model_zoo/scrfd.py) and finds a face wherever the picture is orange:
its nose is at the mark. In a picture whose channels are swapped it finds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from .face import conv
from .table import Table, batch_norm, fill, joined, layer, prefixed

DETECTOR_PX = 640
STRIDES, ANCHORS = (8, 16, 32), 2
# Points and box of a face around its nose, in pixels of the detector's input: the ArcFace template, twice as large.
POINTS = ((-35.5, -40.1), (35.0, -40.5), (0.0, 0.0), (-29.0, 41.3), (29.4, 40.9))
BOX = (96.0, 144.0, 96.0, 80.0)  # to the left, up, right, down
AGE_YEARS, FEMALE, MALE = 31, 0.9, 0.1

STEM = 8
STAGES = (8, 8, 16, 16)  # width of each; every stage halves the picture
EMBEDDING, FACE_PX = 512, 112
FINAL_SIDE = 7
HALF = ".half"  # ends the name of a weight that is stored as fp16

assert FINAL_SIDE * 2 ** len(STAGES) == FACE_PX


# Graphs


class Graph:
    """An ONNX graph under construction; each call adds one node and returns the name of its output.

    Weights that come as fp16 are stored so, and made fp32 by the graph's first nodes.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.nodes: list[NodeProto] = []
        self.weights = dict(weights)
        for key, value in weights.items():
            if value.dtype == torch.float16:
                self.add("Cast", f"{key}{HALF}", out=key, to=TensorProto.FLOAT)

    def add(self, kind: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out or f"{name}_out"], name=name, **attributes))
        return out or f"{name}_out"

    def constant(self, name: str, values: object, dtype: torch.dtype = torch.float32) -> str:
        """A weight that is known."""
        self.weights[name] = torch.as_tensor(values, dtype=dtype)
        return name

    def file(self, input_shape: Sequence[int | str], output_shapes: dict[str, Sequence[int | str]]) -> bytes:
        """The whole file, with the shapes of its input ``input`` and of its outputs."""
        graph = helper.make_graph(
            self.nodes,
            "miniature",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in output_shapes.items()],
            [
                numpy_helper.from_array(value.numpy(), f"{name}{HALF}" if value.dtype == torch.float16 else name)
                for name, value in self.weights.items()
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        return model.SerializeToString(deterministic=True)


# Detector


def detector(name: str) -> bytes:
    """Nine outputs: scores, boxes and points at three strides; only the finest finds anything."""
    graph = Graph({})
    cells = graph.add("AveragePool", "input", kernel_shape=[8, 8], strides=[8, 8])  # 1 3 80 80
    orange = graph.constant("orange", [[[[1.0]], [[0.0]], [[-1.0]]]])
    red_not_blue = graph.add("Conv", cells, orange, graph.constant("less", [-1.0]))  # 1 1 80 80; skin stays below 0.5
    score = graph.add("Clip", red_not_blue, graph.constant("zero", 0.0), graph.constant("one", 1.0))
    column = graph.add("Reshape", score, graph.constant("column", [-1, 1], torch.int64))
    pair = graph.add("Concat", column, graph.add("Mul", column, "zero"), axis=1)
    shapes: dict[str, Sequence[int | str]] = {}
    counts = [(DETECTOR_PX // stride) ** 2 * ANCHORS for stride in STRIDES]
    for stride, count in zip(STRIDES, counts, strict=True):
        shape = graph.constant(f"scores{stride}", [count, 1], torch.int64)
        kind, source = ("Reshape", pair) if stride == STRIDES[0] else ("Expand", "zero")
        graph.add(kind, source, shape, out=f"score_{stride}")
        shapes[f"score_{stride}"] = (count, 1)
    points = [coordinate for point in POINTS for coordinate in point]
    for part, values in (("box", BOX), ("points", points)):
        for stride, count in zip(STRIDES, counts, strict=True):
            row = graph.constant(f"{part}{stride}", [[value / stride for value in values]])
            shape = graph.constant(f"{part}{stride}_shape", [count, len(values)], torch.int64)
            graph.add("Expand", row, shape, out=f"{part}_{stride}")
            shapes[f"{part}_{stride}"] = (count, len(values))
    return graph.file((1, 3, DETECTOR_PX, DETECTOR_PX), shapes)


def gender_age(name: str) -> bytes:
    """The same person for every face."""
    graph = Graph({})
    means = graph.add("Flatten", graph.add("GlobalAveragePool", "input"))  # 1 3
    graph.constant("none", torch.zeros(3, 3))
    graph.add("Gemm", means, "none", graph.constant("answer", [FEMALE, MALE, AGE_YEARS / 100]), out="answer_out")
    return graph.file(("None", 3, 96, 96), {"answer_out": ("None", 3)})


# Recogniser


def unit(inputs: int, outputs: int) -> Table:
    """One iResNet unit: BN, conv, BN, PReLU, conv of stride 2, BN, beside a convolution."""
    parts = {
        "bn1.": batch_norm(inputs),
        "conv1.": conv(inputs, outputs, 3),
        "bn2.": batch_norm(outputs),
        "prelu.": {"weight": layer(1, outputs, bias=False)["weight"]},
        "conv2.": conv(outputs, outputs, 3),
        "bn3.": batch_norm(outputs),
        "downsample.0.": conv(inputs, outputs, 1),
        "downsample.1.": batch_norm(outputs),
    }
    return joined(parts)


def weights(name: str) -> dict[str, Tensor]:
    """The recogniser's weights in the key layout of insightface's iResNet in PyTorch."""
    table = prefixed("conv1.", conv(3, STEM, 3)) | prefixed("bn1.", batch_norm(STEM))
    table |= prefixed("prelu.", {"weight": layer(1, STEM, bias=False)["weight"]})
    inputs = STEM
    for index, width in enumerate(STAGES, start=1):
        table |= prefixed(f"layer{index}.0.", unit(inputs, width))
        inputs = width
    table |= prefixed("bn2.", batch_norm(inputs))
    final = layer(inputs * FINAL_SIDE**2, EMBEDDING)
    final["weight"] = replace(final["weight"], zero_sum=True)
    table |= prefixed("fc.", final) | prefixed("features.", batch_norm(EMBEDDING))
    filled = fill(table, name)
    return {key: value for key, value in filled.items() if not key.endswith("num_batches_tracked")}


def recogniser(name: str, *, normalises: bool = False) -> bytes:
    """Aligned faces to embeddings; ``normalises``: the graph takes pixels from 0 to 255, as MXNet's exports do."""
    return iresnet(weights(name), normalises=normalises)


def iresnet(filled: dict[str, Tensor], *, normalises: bool = False) -> bytes:
    """The graph of weights in that layout, with one unit a stage."""
    prelus = {key: value.reshape(-1, 1, 1) for key, value in filled.items() if "prelu." in key}
    stages = sum(key.endswith(".0.conv1.weight") for key in filled)
    graph = Graph(filled | prelus)
    x = "input"
    if normalises:
        x = graph.add("Sub", x, graph.constant("mean", 127.5))
        x = graph.add("Mul", x, graph.constant("scale", 1 / 128))
    x = graph.add("PRelu", _norm(graph, _conv(graph, x, "conv1"), "bn1"), "prelu.weight")
    for index in range(1, stages + 1):
        key = f"layer{index}.0"
        y = _conv(graph, _norm(graph, x, f"{key}.bn1"), f"{key}.conv1")
        y = graph.add("PRelu", _norm(graph, y, f"{key}.bn2"), f"{key}.prelu.weight")
        y = _norm(graph, _conv(graph, y, f"{key}.conv2", stride=2), f"{key}.bn3")
        x = graph.add("Add", y, _norm(graph, _conv(graph, x, f"{key}.downsample.0", stride=2), f"{key}.downsample.1"))
    x = graph.add("Flatten", _norm(graph, x, "bn2"))
    x = graph.add("Gemm", x, "fc.weight", "fc.bias", transB=1)
    _norm(graph, x, "features", out="embedding")
    return graph.file(("None", 3, FACE_PX, FACE_PX), {"embedding": ("None", EMBEDDING)})


def _conv(graph: Graph, x: str, key: str, *, stride: int = 1) -> str:
    side = graph.weights[f"{key}.weight"].shape[-1]
    return graph.add(
        "Conv", x, f"{key}.weight", kernel_shape=[side, side], strides=[stride, stride], pads=[side // 2] * 4
    )


def _norm(graph: Graph, x: str, key: str, *, out: str | None = None) -> str:
    parts = (f"{key}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))
    return graph.add("BatchNormalization", x, *parts, out=out, epsilon=1e-5)
