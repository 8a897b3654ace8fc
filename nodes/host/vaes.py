"""Video autoencoders of the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import comfy.model_management
import comfy.sd
import torch


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


@contextmanager
def loaded_for_decoding(vae: comfy.sd.VAE, latent_shape: Sequence[int]) -> Iterator[LoadedVae]:
    """Loads a VAE through the host's memory management, with room to decode a latent of this shape."""
    with comfy.model_management.cuda_device_context(vae.device):
        comfy.model_management.load_models_gpu(
            [vae.patcher],
            memory_required=vae.memory_used_decode(latent_shape, vae.vae_dtype),
            force_full_load=vae.disable_offload,
        )
        yield LoadedVae(vae.first_stage_model, vae.device, vae.vae_dtype, vae.process_output)
