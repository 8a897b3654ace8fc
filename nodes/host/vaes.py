"""Video autoencoders of the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import comfy.model_management
import comfy.sd
import torch

from ...wan_core.errors import InputError
from ...wan_core.vae.pixels import NotFiniteError
from ...wan_core.vae.plan import Plan, plan_for
from ...wan_core.vae.spec import VaeSpec

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class LoadedVae:
    """A VAE whose network can run now."""

    network: torch.nn.Module
    device: torch.device  # where the network computes
    dtype: torch.dtype  # what the network computes in
    to_pixels_: Callable[[torch.Tensor], torch.Tensor]  # the network's range -> [0, 1], in place


def vae_weight_shapes(vae: comfy.sd.VAE) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a VAE by name; empty when the host made no network of the file."""
    network = getattr(vae, "first_stage_model", None)
    return {} if network is None else {name: tuple(weight.shape) for name, weight in network.named_parameters()}


def without_overflow(vae: comfy.sd.VAE, decode: Callable[[torch.dtype], Made]) -> tuple[Made, list[str]]:
    """What ``decode`` makes in the type of the VAE, and nothing to note.

    Where that is fp16 and frames come out that are not finite, what it makes in fp32, all over again, and a note of it.
    """
    try:
        return decode(vae.vae_dtype), []
    except NotFiniteError as error:
        if vae.vae_dtype != torch.float16:
            raise
        note = f"note: frame {error.frame} was not finite in fp16, so everything was decoded again in fp32"
    return decode(torch.float32), [note]


def plan_decoding(
    vae: comfy.sd.VAE,
    spec: VaeSpec,
    latent_shape: Sequence[int],
    tiles: tuple[int, int],
    image_bytes: int,
    dtype: torch.dtype,
) -> Plan:
    """How to decode a latent (b z t h w) in the memory that is there beside an IMAGE of so many bytes in RAM.

    ``tiles`` are rows and columns; 0 and 0 leave them to the planner. ``dtype`` is what the network computes in. Raises
    InputError when no way fits.
    """
    rows, columns = tiles
    on_cpu = comfy.model_management.is_device_cpu(vae.device)
    ram_bytes = None if on_cpu else comfy.model_management.get_free_memory(torch.device("cpu")) - image_bytes
    free_bytes = budget_bytes(vae) - (image_bytes if on_cpu else 0)
    return plan_for(
        spec,
        latent_shape,
        dtype.itemsize,
        free_bytes,
        rows=rows,
        columns=columns,
        ram_bytes=ram_bytes,
        device_is_ram=on_cpu,
    )


def budget_bytes(vae: comfy.sd.VAE) -> int:
    """What decoding may take on the VAE's device beside its weights, once the host has moved other models away."""
    free = comfy.model_management.get_free_memory(vae.device)
    if comfy.model_management.is_device_cpu(vae.device):
        return free
    loaded = [model for model in comfy.model_management.loaded_models() if model.load_device == vae.device]
    missing = max(0, vae.patcher.model_size() - vae.patcher.loaded_size())
    others = sum(model.loaded_size() for model in loaded if model.model is not vae.patcher.model)
    return free + others - missing - comfy.model_management.extra_reserved_memory()


@contextmanager
def loaded_for_decoding(vae: comfy.sd.VAE, plan: Plan, dtype: torch.dtype) -> Iterator[LoadedVae]:
    """Loads a VAE through the host's memory management, with the room that the plan needs beside it.

    Raises InputError when the device runs out of memory all the same.
    """
    with comfy.model_management.cuda_device_context(vae.device):
        comfy.model_management.load_models_gpu(
            [vae.patcher], memory_required=plan.needed_bytes, force_full_load=vae.disable_offload
        )
        try:
            with computing_in(dtype, vae):
                yield LoadedVae(vae.first_stage_model, vae.device, dtype, vae.process_output)
        except Exception as error:
            if not comfy.model_management.is_oom(error):
                raise
            comfy.model_management.unload_all_models()
            raise InputError(
                "tiling",
                found=f"too little device memory ({plan.why})",
                wanted="a way to decode that fits",
                fix="Set tiling to tiles, and raise columns and rows until it fits.",
            ) from error


@contextmanager
def computing_in(dtype: torch.dtype, vae: comfy.sd.VAE) -> Iterator[None]:
    """Lets the layers of a loaded VAE take inputs of a type that is not that of their weights.

    The host has a switch for this in each of its layers, which it sets where weights are not on the device.
    """
    layers = [] if dtype == vae.vae_dtype else list(vae.first_stage_model.modules())
    switched = [layer for layer in layers if getattr(layer, "comfy_cast_weights", None) is False]
    for layer in switched:
        layer.comfy_cast_weights = True
    try:
        yield
    finally:
        for layer in switched:
            layer.comfy_cast_weights = False
