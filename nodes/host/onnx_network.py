"""ONNX networks through onnxruntime: what a file is, where it runs, and running it."""

from __future__ import annotations

import logging
import os.path
from collections.abc import Callable
from types import ModuleType
from typing import Any

import comfy.model_management
import torch

from ...wan_core.errors import InputError, MissingDependencyError
from ...wan_core.identity.iresnet import (
    LEADING_NODES,
    OnnxParams,
    choose_providers,
    not_a_recogniser,
    require_embedding,
)

log = logging.getLogger(__name__)


def load_onnxruntime(*, needed_for: str) -> ModuleType:
    """The onnxruntime package; raises MissingDependencyError when it is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime", needed_for=needed_for) from error
    return onnxruntime


def load_onnx() -> ModuleType:
    """The onnx package; raises MissingDependencyError when it is not installed."""
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError("onnx", needed_for="an .onnx file") from error
    return onnx


def providers() -> list[str]:
    """Where onnxruntime is to run; a line in the log says when that is not the host's GPU though there is one."""
    onnxruntime = load_onnxruntime(needed_for="an .onnx file")
    device = comfy.model_management.get_torch_device()
    chosen, note = choose_providers(
        device.type, onnxruntime.get_available_providers(), is_amd=torch.version.hip is not None
    )
    if note:
        log.warning("IdentityEncode: %s", note.text)
    return chosen


def read_params(path: str, *, input_name: str) -> OnnxParams:
    """What an ONNX file looks like from outside; raises InputError when it cannot be read."""
    onnx = load_onnx()
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:
        raise InputError(
            input_name,
            found=f"{os.path.basename(path)!r}, which cannot be read as ONNX ({type(error).__name__})",
            wanted="a complete .onnx file",
            fix=f"Copy or download {path} again.",
        ) from error
    weights = {weight.name for weight in graph.initializer}
    return OnnxParams(
        inputs=tuple(_shape(value) for value in graph.input if value.name not in weights),
        outputs=tuple(_shape(value) for value in graph.output),
        first_nodes=tuple(node.name for node in graph.node[:LEADING_NODES]),
    )


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(size.dim_value or None for size in value.type.tensor_type.shape.dim)


def open_session(path: str) -> Any:
    """An onnxruntime session of a recogniser; raises InputError when the file cannot be run."""
    onnxruntime = load_onnxruntime(needed_for="an .onnx file")
    try:
        return onnxruntime.InferenceSession(path, providers=providers())
    except Exception as error:
        raise not_a_recogniser(f"{os.path.basename(path)!r}, which cannot be run ({type(error).__name__})") from error


def runner(session: Any, name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that runs a recogniser: 1 3 112 112 fp32 -> 1 512; raises InputError when it gives something else."""
    entrance = session.get_inputs()[0]
    takes_bytes = entrance.type == "tensor(uint8)"

    def run(blob: torch.Tensor) -> torch.Tensor:
        array = (blob.round().to(torch.uint8) if takes_bytes else blob).numpy()
        answer = torch.from_numpy(session.run(None, {entrance.name: array})[0])
        require_embedding(answer.shape, name)
        return answer

    return run
