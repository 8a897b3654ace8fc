"""What an ONNX file is and holds, read before anything is run."""

from __future__ import annotations

import math
import os.path
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from ...wan_core.errors import InputError, optional_package, quoted, require_parts
from ...wan_core.identity.onnx_graph import (
    LEADING_NODES,
    MOST_AXES,
    MOST_FILE_BYTES,
    MOST_SIZES,
    WORK,
    OnnxContents,
    OnnxParams,
    OnnxSizes,
    OnnxTensor,
    contents_problem,
    sizes_problem,
)
from ...wan_core.identity.onnx_wire import require_bounded_onnx
from ...wan_core.weights import WeightFileError
from . import files

PUBLISHED_PACKS = {"buffalo_l": "det_10g.onnx", "antelopev2": "scrfd_10g_bnkps.onnx"}  # pack -> its detector
PICK_PUBLISHED = f"Pick a file of a published pack: {' or '.join(PUBLISHED_PACKS)}."
PICTURE_SHAPE = (1, 3, 640, 640)  # what an input takes where its graph leaves a size open
TYPES = {  # by the number that ONNX gives each: name, bytes
    1: ("float32", 4),
    2: ("uint8", 1),
    3: ("int8", 1),
    6: ("int32", 4),
    7: ("int64", 8),
    9: ("bool", 1),
    10: ("float16", 2),
    11: ("float64", 8),
}
SHAPED = frozenset(["ConstantOfShape", "Expand", "Reshape"])  # the last input says the shape of the output
INTEGERS = (6, 7)
EXTERNAL = 1  # the data location of a tensor whose numbers lie in another file


def load_onnx() -> ModuleType:
    """The onnx package; raises MissingDependencyError when it cannot be used."""
    with optional_package("onnx", needed_for="an .onnx file"):
        import onnx

        require_parts(onnx, "load_from_string", "helper", "shape_inference")
    return onnx


def read_params(path: str, *, input_name: str) -> OnnxParams:
    """What an ONNX file looks like from outside; raises InputError when it cannot be read or is not to be run."""
    onnx, file_bytes = load_onnx(), os.path.getsize(path)
    if file_bytes > MOST_FILE_BYTES:
        raise _unfit(path, input_name, f"a file of {file_bytes} bytes")
    try:
        content = files.file_content(path)
        require_bounded_onnx(content)
        model = onnx.load_from_string(content)
        if not all(isinstance(node.name, str) for node in model.graph.node):
            raise WeightFileError("a name that is no text")
        problem = contents_problem(_contents(model)) or sizes_problem(_sizes(onnx, model))
    except Exception as error:
        reason = error if isinstance(error, WeightFileError) else type(error).__name__
        raise InputError(
            input_name,
            found=f"{quoted(os.path.basename(path))}, which cannot be read as ONNX ({reason})",
            wanted="a complete .onnx file",
            fix="Copy or download the file again.",
        ) from error
    if problem:
        raise _unfit(path, input_name, problem)
    graph = model.graph
    pictures = _pictures(graph)
    return OnnxParams(
        inputs=tuple(_shape(value) for value in pictures),
        outputs=tuple(_shape(value) for value in graph.output),
        first_nodes=tuple(node.name for node in graph.node[:LEADING_NODES]),
        input_types=tuple(_type_name(value) for value in pictures),
        output_types=tuple(_type_name(value) for value in graph.output),
    )


def _unfit(path: str, input_name: str, problem: str) -> InputError:
    return InputError(
        input_name,
        found=f"{quoted(os.path.basename(path))}, {problem}",
        wanted="a plain network for faces with all its weights in the file",
        fix=PICK_PUBLISHED,
    )


# Reading


def _pictures(graph: Any) -> list[Any]:
    """The inputs of a graph that are no weights."""
    weights = {weight.name for weight in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim)


def _type_name(value: Any) -> str:
    name, _ = TYPES.get(value.type.tensor_type.elem_type, ("another type", 0))
    return name


def _contents(model: Any) -> OnnxContents:
    graph = model.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]
    inner = [a for a in attributes if a.HasField("g") or a.graphs or a.tensors or a.sparse_tensors]
    sparse = [a for a in attributes if a.HasField("sparse_tensor")]
    return OnnxContents(
        operators=frozenset((node.domain, node.op_type) for node in graph.node),
        nodes=len(graph.node),
        tensors=tuple(OnnxTensor(tensor.name, tuple(tensor.dims), _stored(tensor)) for tensor in tensors),
        most_axes=_most_axes(graph),
        shape_numbers=_shape_numbers(graph),
        most_sizes=max((len(a.ints) + len(a.floats) for a in attributes), default=0),
        is_plain=not (model.functions or graph.sparse_initializer or inner or sparse),
    )


def _most_axes(graph: Any) -> int:
    """How many axes a value has at most, as far as ONNX's inference would know it, node by node."""
    axes = {value.name: len(_shape(value)) for value in graph.input}
    numbers: dict[str, int] = {}
    for name, tensor in _constants(graph):
        axes[name], numbers[name] = len(tensor.dims), math.prod(tensor.dims)
    for node in graph.node:
        taken = [axes.get(name, 1) for name in node.input]
        most = max(taken, default=1)
        match node.op_type:
            case "Constant":
                continue
            case "Shape" | "Size" | "Flatten":
                most = 2
            case "Reshape" | "ConstantOfShape":
                most = MOST_SIZES
            case "Expand":
                most = max(most, MOST_SIZES)
            case "Gather":
                most = sum(taken)
            case "Unsqueeze":
                most += sum(len(a.ints) for a in node.attribute) + sum(numbers.get(name, 0) for name in node.input[1:])
        axes.update(dict.fromkeys(node.output, most))
    return max(axes.values(), default=0)


def _shape_numbers(graph: Any) -> int:
    """How many numbers the nodes make of shapes and whole constants, at most: onnxruntime follows them in loading."""
    numbers = {name: math.prod(tensor.dims) for name, tensor in _constants(graph) if tensor.data_type in INTEGERS}
    made = 0
    for node in graph.node:
        known = [numbers[name] for name in node.input if name in numbers]
        match node.op_type:
            case "Shape":
                count = MOST_AXES
            case "Concat":
                count = sum(known)
            case "Add" | "Sub" | "Mul" | "Div":
                count = max(known, default=0)
            case "Cast" | "Gather" | "Identity" | "Slice" | "Squeeze" | "Unsqueeze" if node.input[0] in numbers:
                count = max(known)
            case _:
                continue
        numbers |= dict.fromkeys(node.output, count)
        made += count
    return made


def _constants(graph: Any) -> Iterator[tuple[str, Any]]:
    """The names and tensors of the weights, and of the nodes that are a constant."""
    yield from ((weight.name, weight) for weight in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], attribute.t) for attribute in node.attribute if attribute.HasField("t"))


def _stored(tensor: Any) -> int | None:
    """How many numbers of a tensor lie in the file."""
    if tensor.data_location == EXTERNAL or tensor.external_data or tensor.data_type not in TYPES:
        return None
    _, number_bytes = TYPES[tensor.data_type]
    typed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return len(tensor.raw_data) // number_bytes or max(map(len, typed))


# Sizes


def _sizes(onnx: Any, model: Any) -> OnnxSizes:
    """What the nodes make of one picture, as far as ONNX's own inference knows it."""
    inferred = onnx.shape_inference.infer_shapes(_skeleton(onnx, model)).graph
    known = {value.name: _count(value) for value in (*inferred.value_info, *inferred.output)}
    of_picture = {value.name for value in _pictures(model.graph)}
    of_constants = []
    for node in model.graph.node:
        if of_picture.intersection(node.input):
            of_picture.update(node.output)
        elif node.op_type != "Constant":
            of_constants.append(node)
    made = (known.get(name) or 0 for node in model.graph.node for name in node.output)
    lengths = known | {value.name: _count(value) for value in inferred.input}
    shapes = (lengths.get(node.input[-1]) or 0 for node in model.graph.node if node.op_type in SHAPED)
    return OnnxSizes(
        numbers=sum(made),
        longest_shape=max(shapes, default=0),
        has_open_constants=any(known.get(name) is None for node in of_constants for name in node.output if name),
        has_constant_work=any(node.op_type in WORK for node in of_constants),
    )


def _skeleton(onnx: Any, model: Any) -> Any:
    """A graph without its large weights, for a picture of a known size, and without what it says of sizes itself."""
    graph, skeleton = model.graph, onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    skeleton.graph.name = "skeleton"
    value_of = onnx.helper.make_tensor_value_info
    for value in _pictures(graph):
        shape = [size or PICTURE_SHAPE[min(axis, 3)] for axis, size in enumerate(_shape(value))]
        skeleton.graph.input.append(value_of(value.name, value.type.tensor_type.elem_type, shape))
    constants = dict(_constants(graph))
    for name, tensor in constants.items():
        skeleton.graph.input.append(value_of(name, tensor.data_type, tensor.dims))
        if math.prod(tensor.dims) <= MOST_SIZES:
            skeleton.graph.initializer.append(tensor)
            skeleton.graph.initializer[-1].name = name
    shapes = {weight.name for weight in skeleton.graph.initializer}
    for node in graph.node:
        has_open_shape = node.op_type in SHAPED and node.input[-1] not in shapes
        if not has_open_shape and not constants.keys() & set(node.output):
            skeleton.graph.node.append(node)
    for value in graph.output:
        skeleton.graph.output.append(value_of(value.name, value.type.tensor_type.elem_type, None))
    return skeleton


def _count(value: Any) -> int | None:
    """How many numbers a value has; None where a size of it is not known."""
    tensor = value.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    return None if not tensor.HasField("shape") or None in sizes else math.prod(sizes)
