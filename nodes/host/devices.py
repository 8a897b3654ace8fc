"""Where networks and tensors live, how much memory there is, progress and interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.utils
import torch

operations = comfy.ops.manual_cast


def resting_patcher(network: torch.nn.Module) -> comfy.model_patcher.ModelPatcher:
    """How the host holds a network whose layers are each used once: it never loads them, they are cast when used."""
    resting_place = comfy.model_management.unet_offload_device()
    return comfy.model_patcher.CoreModelPatcher(network, load_device=resting_place, offload_device=resting_place)


@contextmanager
def on_device(network: torch.nn.Module) -> Iterator[torch.device]:
    """Loads a network through the host's memory management for as long as the block runs; gives its device."""
    patcher = comfy.model_patcher.ModelPatcher(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    comfy.model_management.load_models_gpu([patcher])
    yield patcher.load_device


def intermediate_device() -> torch.device:
    """Where the host wants tensors that travel between nodes."""
    return comfy.model_management.intermediate_device()


def intermediate_dtype() -> torch.dtype:
    """The floating-point type of tensors that travel between nodes."""
    return comfy.model_management.intermediate_dtype()


def free_bytes(device: torch.device) -> int:
    """The memory that is free on a device; for the CPU, the RAM that can be had without swapping."""
    return comfy.model_management.get_free_memory(device)


# Progress and interruption


def progress(total: int) -> Callable[[int], None]:
    """A callback that shows ``done`` of ``total`` on the node and raises when the user has cancelled."""
    bar = comfy.utils.ProgressBar(total)

    def report(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done)

    return report
