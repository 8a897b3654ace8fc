"""Schedules, samplers, noise and latents as the stock samplers have them."""

from __future__ import annotations

from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch

from ...wan_core.errors import InputError
from ...wan_core.moe import Job
from ...wan_core.moe.inputs import require_finite, require_latent, require_start
from ...wan_core.moe.setup import OnStep
from .devices import intermediate_device, intermediate_dtype
from .models import Model

SAMPLERS = comfy.samplers.SAMPLER_NAMES
SCHEDULERS = comfy.samplers.SCHEDULER_NAMES
DISCARDERS = {  # the samplers for which the stock KSampler leaves the last sigma but one out, by their functions
    comfy.samplers.sampler_object(name).sampler_function: name
    for name in comfy.samplers.KSampler.DISCARD_PENULTIMATE_SIGMA_SAMPLERS
}

Latent = dict[str, Any]
Conditioning = list[Any]


def schedule(model: Model, sampler_name: str, scheduler: str, steps: int, denoise: float) -> torch.Tensor:
    """The sigmas of the stock KSampler with these settings; raises InputError when there is nothing to denoise."""
    if denoise <= 0.0:
        raise InputError("denoise", found=denoise, wanted="more than 0", fix="Raise denoise, or leave the sampler out.")
    return comfy.samplers.KSampler(
        model, steps, model.load_device, sampler=sampler_name, scheduler=scheduler, denoise=denoise
    ).sigmas


def stock_job(model: Model, latent: Latent, seed: int, sampler_name: str, steps: int, *, add_noise: bool) -> Job:
    """A run with the noise, mask, preview and progress bar that the stock KSamplerAdvanced would have.

    Raises InputError for a latent that the model cannot sample.
    """
    require_latent(latent)
    samples = start_latent(model, latent)
    if add_noise:
        noise = comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))
    else:
        noise = torch.zeros(samples.size(), dtype=samples.dtype, layout=samples.layout, device="cpu")
    return job_of(
        noise,
        samples,
        comfy.samplers.sampler_object(sampler_name),
        latent.get("noise_mask"),
        latent_preview.prepare_callback(model, steps),
        not comfy.utils.PROGRESS_BAR_ENABLED,
        seed,
    )


def job_of(
    noise: torch.Tensor,
    latent_image: torch.Tensor,
    sampler: Any,
    denoise_mask: torch.Tensor | None,
    callback: OnStep | None,
    disable_pbar: bool,
    seed: int | None,
) -> Job:
    """What a guider of the host is given to sample, beside its schedule.

    Raises InputError for a latent or a noise mask that no run can start from.
    """
    require_start(latent_image, denoise_mask)
    discarder = DISCARDERS.get(getattr(sampler, "sampler_function", None))
    return Job(noise, latent_image, sampler, denoise_mask, seed, callback, disable_pbar, discarder)


def start_latent(model: Model, latent: Latent) -> torch.Tensor:
    """The latent as the model wants it (an empty one takes the model's shape); raises InputError if it cannot be."""
    samples = latent["samples"]
    if samples.ndim in (4, 5) and 0 not in samples.shape:
        ratios = latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
        samples = comfy.sample.fix_empty_latent_channels(model, samples, *ratios)
    channels = model.get_model_object("latent_format").latent_channels
    if samples.ndim != 5 or samples.shape[1] != channels or 0 in samples.shape:
        raise InputError(
            "latent_image",
            found=f"a latent of shape {list(samples.shape)}",
            wanted=f"[batch, {channels}, frames, height, width] for this model",
            fix="Use an empty latent for Wan video, or encode with the VAE that belongs to the model.",
        )
    return samples


def finished_latent(latent: Latent, samples: torch.Tensor) -> Latent:
    """The LATENT that leaves a sampler: a copy of the one that came in, with the sampled values.

    Raises InputError where they are too large for the type that the host keeps latents in.
    """
    out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio_")}
    sampled = samples.to(device=intermediate_device(), dtype=intermediate_dtype())
    require_finite(sampled)
    return out | {"samples": sampled}
