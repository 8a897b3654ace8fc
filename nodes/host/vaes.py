"""Video autoencoders of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.sd
import torch

from ...wan_core.checks import is_latent, kind_of
from ...wan_core.errors import InputError
from ...wan_core.vae import DecodePlan, DecodeRequest, FreeMemory, LoadedVae, tiling_of
from .prompts import stated


def decode_request(
    vae: comfy.sd.VAE, latent: object, tiling: dict[str, Any] | None, hidden: Any, *, to_video: bool = False
) -> DecodeRequest:
    """What a decode node is asked for, checked; raises InputError for what can not be decoded."""
    network = getattr(vae, "first_stage_model", None)
    return DecodeRequest.of(
        torch.nn.Module() if network is None else network,  # the host made none of the file
        samples_of(latent),
        dtype=getattr(vae, "vae_dtype", None),
        tiling=tiling_of(tiling or stated(hidden, "tiling")),
        to_video=to_video,
    )


def samples_of(latent: object) -> Any:
    """The samples of the host's LATENT, a tensor or a nested one; raises InputError for anything else."""
    if not is_latent(latent):
        raise InputError(
            "samples", found=kind_of(latent), wanted="a LATENT", fix="Connect the LATENT of a Wan sampler."
        )
    return latent["samples"]


def free_memory(vae: comfy.sd.VAE, image_bytes: int) -> FreeMemory:
    """The memory for decoding with a VAE, beside an IMAGE of so many bytes in RAM."""
    if comfy.model_management.is_device_cpu(vae.device):
        return FreeMemory(device_bytes=budget_bytes(vae) - image_bytes, device_is_ram=True)
    ram_bytes = comfy.model_management.get_free_memory(torch.device("cpu")) - image_bytes
    return FreeMemory(device_bytes=budget_bytes(vae), ram_bytes=ram_bytes)


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
def loaded_for_decoding(vae: comfy.sd.VAE, network: Any, plan: DecodePlan, dtype: torch.dtype) -> Iterator[LoadedVae]:
    """Loads a VAE's network through the host's memory management, with the room that the plan needs beside it.

    Raises InputError when the device runs out of memory all the same.
    """
    with comfy.model_management.cuda_device_context(vae.device):
        comfy.model_management.load_models_gpu(
            [vae.patcher], memory_required=plan.needed_bytes, force_full_load=vae.disable_offload
        )
        try:
            with computing_in(dtype, vae):
                yield LoadedVae(network, vae.device, dtype)
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
