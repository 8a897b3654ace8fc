"""What an ONNX file must be to serve as a recogniser, and how it wants its pictures: as insightface decides both.

Follows insightface's model_zoo (arcface_onnx.py): the normalisation by the names of the first nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import InputError, quoted
from .onnx_graph import OnnxParams
from .record import CROP_PX, IDENTITY_D

INPUT_TYPES, OUTPUT_TYPES = ("float32", "uint8"), ("float32", "float16", "float64")


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is taken off pixels from 0 to 255, and what they are divided by then."""

    mean: float
    std: float


OUTSIDE = Normalisation(127.5, 127.5)
EMBEDDED = Normalisation(0.0, 1.0)  # the graph begins with its own subtraction and multiplication


def normalisation_of(params: OnnxParams) -> Normalisation:
    """How the pictures must be normalised before the network."""
    subtracts = any(name.startswith(("Sub", "_minus")) for name in params.first_nodes)
    multiplies = any(name.startswith(("Mul", "_mul")) for name in params.first_nodes)
    return EMBEDDED if subtracts and multiplies else OUTSIDE


def require_recogniser(params: OnnxParams, name: str) -> None:
    """Raises InputError unless the network takes one 112 px face and gives one vector of 512."""
    found = None
    if params.role != "recognition":
        sizes = ", ".join(_shape(shape) for shape in params.inputs) or "nothing"
        found = f"{quoted(name)}, a network for {params.role} (it takes {sizes} and has {len(params.outputs)} outputs)"
    elif params.inputs[0][1] not in (3, None) or params.inputs[0][2] != CROP_PX:
        found = f"{quoted(name)}, which takes {_shape(params.inputs[0])}"
    elif len(params.outputs) != 1:
        found = f"{quoted(name)} with {len(params.outputs)} outputs"
    elif params.outputs[0][-1:] not in ((IDENTITY_D,), (None,)):
        found = f"{quoted(name)}, whose output is {_shape(params.outputs[0])}"
    elif params.input_types[0] not in INPUT_TYPES:
        found = f"{quoted(name)}, which takes pictures as {params.input_types[0]}"
    elif params.output_types[0] not in OUTPUT_TYPES:
        found = f"{quoted(name)}, whose output is of {params.output_types[0]}"
    if found:
        raise not_a_recogniser(found)


def require_embedding(shape: Sequence[int], name: str) -> None:
    """Raises InputError unless what a network gave for one face is one vector of 512."""
    if tuple(shape) != (1, IDENTITY_D):
        raise not_a_recogniser(f"{quoted(name)}, which gave numbers of shape {_shape(tuple(shape))}")


def not_a_recogniser(found: str) -> InputError:
    """The error for an ONNX file that cannot serve as a recogniser."""
    return InputError(
        "encoder",
        found=found,
        wanted=f"a recogniser that makes {IDENTITY_D} numbers of one face of {CROP_PX} x {CROP_PX} px",
        fix="Pick w600k_r50.onnx of buffalo_l, glintr100.onnx of antelopev2, or a network of the same kind.",
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if size is None else str(size) for size in shape)
