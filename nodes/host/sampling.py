"""Schedules, samplers, noise and latents as the stock samplers have them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch

from ...wan_core.errors import InputError
from .devices import intermediate_device, intermediate_dtype
from .models import Model

SAMPLERS = comfy.samplers.SAMPLER_NAMES
SCHEDULERS = comfy.samplers.SCHEDULER_NAMES

Latent = dict[str, Any]
Conditioning = list[Any]
ModelOptions = dict[str, Any]


def schedule(model: Model, sampler_name: str, scheduler: str, steps: int, denoise: float) -> torch.Tensor:
    """The sigmas that the stock KSampler would use with these settings."""
    return comfy.samplers.KSampler(
        model, steps, model.load_device, sampler=sampler_name, scheduler=scheduler, denoise=denoise
    ).sigmas


def sampler_named(name: str) -> Any:
    """The stock sampler of that name."""
    return comfy.samplers.sampler_object(name)


def start_latent(model: Model, latent: Latent) -> torch.Tensor:
    """The latent as the model wants it (an empty one takes the model's shape); raises InputError if it cannot be."""
    samples = comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
    )
    channels = model.get_model_object("latent_format").latent_channels
    if not samples.is_nested and (samples.ndim != 5 or samples.shape[1] != channels or 0 in samples.shape):
        raise InputError(
            "latent_image",
            found=f"a latent of shape {list(samples.shape)}",
            wanted=f"[batch, {channels}, frames, height, width] for this model",
            fix="Use an empty latent for Wan video, or encode with the VAE that belongs to the model.",
        )
    if not samples.is_nested and not samples.isfinite().all():
        raise InputError(
            "latent_image", found="NaN or infinite values", wanted="finite values", fix="Check what made this latent."
        )
    return samples


def noise_for(samples: torch.Tensor, latent: Latent, seed: int, *, add_noise: bool = True) -> torch.Tensor:
    """The noise that the stock KSamplerAdvanced would start from; zeros when none is added."""
    if not add_noise:
        return torch.zeros(samples.size(), dtype=samples.dtype, layout=samples.layout, device="cpu")
    return comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))


def preview_callback(model: Model, steps: int) -> Callable[[int, torch.Tensor, torch.Tensor, int], None]:
    """One progress bar with the host's live preview, called once a step."""
    return latent_preview.prepare_callback(model, steps)


def progress_bar_disabled() -> bool:
    """Whether the host runs without progress bars in its terminal."""
    return not comfy.utils.PROGRESS_BAR_ENABLED


def finished_latent(latent: Latent, samples: torch.Tensor) -> Latent:
    """The LATENT that leaves a sampler: a copy of the one that came in, with the sampled values."""
    out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio_")}
    return out | {"samples": samples.to(device=intermediate_device(), dtype=intermediate_dtype())}
