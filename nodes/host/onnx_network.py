"""ONNX networks through onnxruntime: where they run, and runs that keep within bounds and end when the user cancels."""

from __future__ import annotations

import logging
import os.path
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from types import ModuleType
from typing import Any

import comfy.model_management
import torch

from ...wan_core.errors import InputError, optional_package, quoted, require_parts
from ...wan_core.identity.onnx_graph import MOST_RUN_BYTES
from ...wan_core.identity.recogniser_file import require_embedding
from .onnx_file import PICK_PUBLISHED

log = logging.getLogger(__name__)

POLL_S = 0.02  # how often a run is asked whether the user has cancelled
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
SAME_AS_REQUESTED = 1  # how the arena of onnxruntime grows: by what is asked for, not by doubling
CUDA_ARENA = {"gpu_mem_limit": str(MOST_RUN_BYTES), "arena_extend_strategy": "kSameAsRequested"}
DEFAULT = -1
OWN_ARENA = "session.use_env_allocators"
WEIGHTS_OUTSIDE = "session.use_device_allocator_for_initializers"
GIVE_BACK = "memory.enable_memory_arena_shrinkage"

Provider = tuple[str, dict[str, str]]  # its name, its options


def load_onnxruntime(*, needed_for: str) -> ModuleType:
    """The onnxruntime package; raises MissingDependencyError when it cannot be used."""
    with optional_package("onnxruntime", needed_for=needed_for):
        import onnxruntime

        require_parts(onnxruntime, "InferenceSession", "RunOptions", "OrtArenaCfg", "create_and_register_allocator")
    return onnxruntime


def providers() -> list[Provider]:
    """Where onnxruntime is to run: on the host's GPU with an arena of its own; a line in the log says when it cannot.

    torch calls the GPUs of AMD "cuda" too, for which onnxruntime's CUDA build is of no use.
    """
    onnxruntime = load_onnxruntime(needed_for="an .onnx file")
    if comfy.model_management.get_torch_device().type != "cuda" or torch.version.hip is not None:
        return [(CPU, {})]
    if CUDA in onnxruntime.get_available_providers():
        return [(CUDA, CUDA_ARENA), (CPU, {})]
    log.warning(
        "IdentityEncode: onnxruntime has no CUDA provider, so faces are looked at on the CPU. With the builds for CPU "
        "and GPU both installed the CPU one wins: python -m pip install --force-reinstall --no-deps onnxruntime-gpu"
    )
    return [(CPU, {})]


# Sessions


@cache
def _limit_memory() -> None:
    """Gives onnxruntime an arena on the CPU for the runs of those sessions that ask for it, and no more than that."""
    onnxruntime = load_onnxruntime(needed_for="an .onnx file")
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    settings = {
        "max_mem": MOST_RUN_BYTES,
        "arena_extend_strategy": SAME_AS_REQUESTED,
        "initial_chunk_size_bytes": DEFAULT,
        "max_dead_bytes_per_chunk": DEFAULT,
    }
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(settings))


class BoundedSession:
    """An onnxruntime session of a file that was read before; raises InputError when it cannot be run.

    A run takes MOST_RUN_BYTES of each device at most, and ends when the user cancels. Everything else is the session's
    own.
    """

    def __init__(self, path: str, *, input_name: str) -> None:
        self.path = path
        self.input_name = input_name
        self._onnxruntime = load_onnxruntime(needed_for="an .onnx file")
        _limit_memory()
        options = self._onnxruntime.SessionOptions()
        options.add_session_config_entry(OWN_ARENA, "1")
        options.add_session_config_entry(WEIGHTS_OUTSIDE, "1")
        try:
            self._session = self._onnxruntime.InferenceSession(path, options, providers=providers())
        except Exception as error:
            raise self._not_runnable(error) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, output_names: Any, inputs: Any) -> list[Any]:
        """The outputs for these inputs, as the session's own method."""
        options, pool = self._onnxruntime.RunOptions(), ThreadPoolExecutor(max_workers=1)
        arenas = "cpu:0;gpu:0" if CUDA in self._session.get_providers() else "cpu:0"
        options.add_run_config_entry(GIVE_BACK, arenas)
        outcome = pool.submit(self._session.run, output_names, inputs, options)
        pool.shutdown(wait=False)
        try:
            while not wait([outcome], timeout=POLL_S).done:
                comfy.model_management.throw_exception_if_processing_interrupted()
        finally:
            options.terminate = True
        if error := outcome.exception():
            raise self._not_runnable(error)
        return outcome.result()

    def _not_runnable(self, error: BaseException) -> InputError:
        return InputError(
            self.input_name,
            found=f"{quoted(os.path.basename(self.path))}, which cannot be run ({type(error).__name__})",
            wanted=f"a network for faces that runs in {MOST_RUN_BYTES >> 30} GiB",
            fix=PICK_PUBLISHED,
        )


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
