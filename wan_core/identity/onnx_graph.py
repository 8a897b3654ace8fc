"""What an ONNX file may hold to be run at all: the operators of face networks on plain weights, of sizes that fit.

A graph is a program of a stranger: it could loop for ever, read other files, or grow a few bytes to terabytes. Looking
at faces needs none of it. What a run needs beyond the sizes that are known here, the host limits while it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import quoted
from .record import CROP_PX

MOST_FILE_BYTES = 1 << 30  # glintr100, the largest of the published packs, has a quarter of it
MOST_NODES = MOST_TENSORS = 10_000  # an iResNet of 100 layers has less than 500
MOST_NUMBERS = 1 << 29  # that all nodes together make of one picture, 2 GiB in fp32
MOST_RUN_BYTES = 1 << 31  # that a run may need at once
MOST_SIZES = 16  # numbers that say a shape, a padding or axes
MOST_SHAPE_NUMBERS = 1 << 19  # that all nodes together make of shapes; some hundred bytes each while a file is loaded
MOST_AXES = 64  # of a value; pictures have four
LEADING_NODES = 8  # nodes at the beginning of a graph that tell whether it normalises its input itself

# Of SCRFD, ArcFace's iResNets and MobileFaceNets, and the networks for landmarks, sex and age, as MXNet and PyTorch
# write them, and what PyTorch makes of other activations, normalisations and reshapes.
FACE_OPERATORS = """
Abs Add And ArgMax AveragePool BatchNormalization Cast Ceil Clip Concat Constant ConstantOfShape Conv Div Dropout Elu
Equal Erf Exp Expand Flatten Floor Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GroupNormalization
HardSigmoid HardSwish Identity InstanceNormalization LRN LayerNormalization LeakyRelu Less Log LogSoftmax
LpNormalization MatMul Max MaxPool Min Mish Mul Neg Not Or PRelu Pad Pow Reciprocal ReduceL1 ReduceL2 ReduceMax
ReduceMean ReduceMin ReduceSum Relu Reshape Resize Round Selu Shape Sigmoid Sign Size Slice Softmax Softplus Split
Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Upsample Where
"""
OPERATORS = frozenset(FACE_OPERATORS.split())
OWN_DOMAINS = ("", "ai.onnx")
# What takes longer than its outputs are large. A network has no need of it for constants, which onnxruntime would
# compute while it loads the file.
WORK = frozenset(["AveragePool", "Conv", "Gemm", "LRN", "MatMul", "MaxPool"])


@dataclass(frozen=True, slots=True)
class OnnxParams:
    """What an ONNX network looks like from outside. A size that is not fixed is None."""

    inputs: tuple[tuple[int | None, ...], ...]  # shape of each
    outputs: tuple[tuple[int | None, ...], ...]  # shape of each
    first_nodes: tuple[str, ...]  # names of the first LEADING_NODES nodes
    input_types: tuple[str, ...]  # of each
    output_types: tuple[str, ...]  # of each

    @property
    def role(self) -> str:
        """What insightface (model_zoo.py) uses it for: detection, landmarks, genderage, recognition, or unknown."""
        if len(self.outputs) >= 5:
            return "detection"
        height, width = self.inputs[0][2:4] if self.inputs and len(self.inputs[0]) == 4 else (None, None)
        if height == width and height in (192, 96):
            return {192: "landmarks", 96: "genderage"}[height]
        square = height is not None and height == width and height >= CROP_PX and height % 16 == 0
        return "recognition" if square and len(self.inputs) == 1 else "unknown"


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """A weight, or the constant of a node."""

    name: str
    shape: tuple[int, ...]
    stored: int | None  # numbers that lie in the file; None: of a type without a fixed size, or in another file


@dataclass(frozen=True, slots=True)
class OnnxContents:
    """What a file holds."""

    operators: frozenset[tuple[str, str]]  # domain and name of each
    nodes: int
    tensors: tuple[OnnxTensor, ...]
    most_axes: int  # of a value, as far as ONNX's inference would know it
    shape_numbers: int  # that all nodes together make of shapes and of whole constants, at most
    most_sizes: int  # numbers in one attribute of a node
    is_plain: bool  # without functions of its own, graphs in the attributes of nodes, and sparse weights


@dataclass(frozen=True, slots=True)
class OnnxSizes:
    """What the nodes of a graph make of one picture, as far as it is known before it runs."""

    numbers: int  # of all outputs of known size together
    longest_shape: int  # numbers that say one shape
    has_open_constants: bool  # what does not depend on the picture, and is of unknown size all the same
    has_constant_work: bool  # an operator of WORK that does not depend on the picture


def contents_problem(contents: OnnxContents) -> str | None:
    """Why a file is not to be run, in words; None when it may."""
    foreign = sorted(
        f"{domain}.{name}" if domain else name
        for domain, name in contents.operators
        if domain not in OWN_DOMAINS or name not in OPERATORS
    )
    if foreign:
        return f"with the operator {quoted(foreign[0])}, which no face network needs"
    if not contents.is_plain:
        return "with graphs inside its graph, or with weights that are not plain"
    if contents.nodes > MOST_NODES or len(contents.tensors) > MOST_TENSORS:
        return f"of {contents.nodes} nodes and {len(contents.tensors)} weights"
    if contents.most_axes > MOST_AXES or contents.most_sizes > MOST_SIZES:
        return f"with values of {contents.most_axes} axes, or {contents.most_sizes} numbers in an attribute"
    if contents.shape_numbers > MOST_SHAPE_NUMBERS:
        return "with more numbers that say shapes than a face network has"
    for tensor in contents.tensors:
        if tensor.stored is None:
            return f"whose weight {quoted(tensor.name)} lies in another file or is of an unknown type"
        if min(tensor.shape, default=0) < 0 or math.prod(tensor.shape) != tensor.stored:
            shape = " x ".join(map(str, tensor.shape)) or "1"
            return f"whose weight {quoted(tensor.name)} is to have {shape} numbers and has {tensor.stored}"
    return None


def sizes_problem(sizes: OnnxSizes) -> str | None:
    """Why a graph is not to be run, in words; None when it may."""
    if sizes.numbers > MOST_NUMBERS:
        return f"which makes {sizes.numbers:.2g} numbers of one picture"
    if sizes.longest_shape > MOST_SIZES:
        return f"with values of {sizes.longest_shape} axes"
    if sizes.has_constant_work:
        return "which computes with constants alone"
    return "which makes constants of unknown size" if sizes.has_open_constants else None
