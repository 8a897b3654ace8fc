"""ONNX files that look like a recogniser from outside and do something else inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper

from demo.miniature.face_onnx import EMBEDDING, FACE_PX, Graph

INT64 = torch.int64
TERABYTES, SECONDS = 1 << 40, 25  # numbers in a tensor; about as long as a run of the slow one takes


def ending(graph: Graph, x: str, *, side_px: int = FACE_PX, numbers: int = EMBEDDING) -> bytes:
    """The file whose embedding is made of the mean of a tensor."""
    mean = graph.add("ReduceMean", x, keepdims=0)
    row = graph.constant("row", torch.ones(1, numbers))
    graph.add("Mul", row, mean, out="embedding")
    return graph.file((1, 3, side_px, side_px), {"embedding": (1, numbers)})


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    """A harmless file after a change."""
    model = onnx.load_from_string(ending(Graph({}), "input"))
    change(model)
    return model.SerializeToString()


def add_loop(model: onnx.ModelProto) -> None:
    """A loop before the end."""
    loop = helper.make_node("Loop", ["", "", "input"], ["looped"], body=model.graph)
    model.graph.node.append(loop)


def add_function(model: onnx.ModelProto) -> None:
    """A function of the file's own that nothing calls."""
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "F", ["x"], ["y"], [node], [helper.make_opsetid("", 13)]))


def move_weights_out(model: onnx.ModelProto) -> None:
    """Weights in a file somewhere else."""
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../secret.bin")


def take_halves(model: onnx.ModelProto) -> None:
    """Pictures in fp16."""
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def constant_terabytes() -> bytes:
    """One number, repeated."""
    graph = Graph({})
    repeated = graph.add("Expand", graph.constant("zero", 0.0), graph.constant("size", [TERABYTES], INT64))
    return ending(graph, graph.add("Add", "input", graph.add("ReduceMax", repeated, keepdims=0)))


def terabytes_of_the_picture() -> bytes:
    """As many numbers as the picture says, and so unknown before the run."""
    graph = Graph({})
    of_picture = graph.add("ReduceMax", graph.add("Mul", "input", graph.constant("zero", 0.0)), keepdims=0)
    many = graph.add("Add", of_picture, graph.constant("many", float(TERABYTES)))
    size = graph.add("Reshape", graph.add("Cast", many, to=TensorProto.INT64), graph.constant("one", [1], INT64))
    return ending(graph, graph.add("Expand", graph.constant("number", [1.0]), size))


def doubled_shape() -> bytes:
    """The size of the picture, again and again."""
    graph = Graph({})
    shape = graph.add("Shape", "input")
    for _ in range(24):
        shape = graph.add("Concat", shape, shape, axis=0)
    return ending(graph, graph.add("Cast", graph.add("ReduceMax", shape, keepdims=0), to=TensorProto.FLOAT))


def slow(*, of_the_picture: bool = True) -> bytes:
    """Plain convolutions, of few numbers each and of far too much work."""
    graph = Graph({})
    number = graph.add("ReduceMean", "input", keepdims=0) if of_the_picture else graph.constant("number", 1.0)
    x = graph.add("Expand", number, graph.constant("x", [1, 512, 32, 32], INT64))
    weight = graph.add("Expand", graph.constant("zero", 0.0), graph.constant("w", [512, 512, 7, 7], INT64))
    for _ in range(5 * SECONDS):
        x = graph.add("Conv", x, weight, kernel_shape=[7, 7], pads=[3] * 4)
    return ending(graph, x)


def not_a_number(**sizes: int) -> bytes:
    """An answer of NaN."""
    graph = Graph({})
    return ending(graph, graph.add("Mul", "input", graph.constant("nan", float("nan"))), **sizes)


FILES: dict[str, Callable[[], bytes]] = {
    "loop.onnx": lambda: changed(add_loop),
    "function.onnx": lambda: changed(add_function),
    "external.onnx": lambda: changed(move_weights_out),
    "halves.onnx": lambda: changed(take_halves),
    "constant_terabytes.onnx": constant_terabytes,
    "terabytes.onnx": terabytes_of_the_picture,
    "slow.onnx": slow,
    "slow_to_load.onnx": lambda: slow(of_the_picture=False),
    "doubled_shape.onnx": doubled_shape,
    "nan.onnx": not_a_number,
}


def write(folder: Path) -> list[Path]:
    """Writes all of them into a folder."""
    for name, make in FILES.items():
        (folder / name).write_bytes(make())
    return [folder / name for name in FILES]
