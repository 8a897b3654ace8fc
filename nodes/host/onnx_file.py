"""What an ONNX file is and holds, read before anything is run."""

from __future__ import annotations

import math
import os.path
from types import ModuleType
from typing import Any

from ...wan_core.errors import InputError, optional_package, quoted, require_parts
from ...wan_core.identity.onnx_graph import (
    LEADING_NODES,
    MOST_FILE_BYTES,
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
SMALL_TENSOR = 1024  # numbers: constants that say sizes have less
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
        is_plain=not (model.functions or graph.sparse_initializer or inner or sparse),
    )


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
    inferred = onnx.shape_inference.infer_shapes(_skeleton(onnx, model), data_prop=True).graph
    known = {value.name: _count(value) for value in (*inferred.value_info, *inferred.output)}
    of_picture = {value.name for value in _pictures(model.graph)}
    has_open_constants = False
    for node in model.graph.node:
        if of_picture.intersection(node.input):
            of_picture.update(node.output)
        else:
            has_open_constants |= any(known.get(name) is None for name in node.output if name)
    made = (known.get(name) or 0 for node in model.graph.node for name in node.output)
    return OnnxSizes(sum(made), has_open_constants)


def _skeleton(onnx: Any, model: Any) -> Any:
    """A graph without its large weights, for a picture of a known size, and without what it says of sizes itself."""
    graph, skeleton = model.graph, onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    skeleton.graph.name = "skeleton"
    skeleton.graph.node.extend(graph.node)
    value_of = onnx.helper.make_tensor_value_info
    for value in _pictures(graph):
        shape = [size or PICTURE_SHAPE[min(axis, 3)] for axis, size in enumerate(_shape(value))]
        skeleton.graph.input.append(value_of(value.name, value.type.tensor_type.elem_type, shape))
    for weight in graph.initializer:
        skeleton.graph.input.append(value_of(weight.name, weight.data_type, weight.dims))
        if math.prod(weight.dims) <= SMALL_TENSOR:
            skeleton.graph.initializer.append(weight)
    for value in graph.output:
        skeleton.graph.output.append(value_of(value.name, value.type.tensor_type.elem_type, None))
    return skeleton


def _count(value: Any) -> int | None:
    """How many numbers a value has; None where a size of it is not known."""
    tensor = value.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    return None if not tensor.HasField("shape") or None in sizes else math.prod(sizes)
