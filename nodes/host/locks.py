"""Identities in the host's models: wrappers, guidance, and the keys and values that they keep."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.sd
import torch
from comfy.patcher_extension import WrappersMP

from ...wan_core.adapters.adapter import AdapterNetwork
from ...wan_core.adapters.guidance import with_identity_guidance
from ...wan_core.adapters.inject import INJECTION, PERSON_ON_ALL, IdentityInjection
from ...wan_core.adapters.kv_cache import KeysValues, KvCache, Same
from ...wan_core.adapters.lock import Lock
from ...wan_core.adapters.run import RUN, Run
from ...wan_core.errors import InputError
from .models import Model, locks_in

CACHE_SHARE = 0.1  # of a device's memory, and of the RAM, that keys and values may take
NETWORK = "diffusion_model"  # begins the names of a network and its parts in the host's models
SMALLEST_CACHE_BYTES = 2 << 30  # two portraits of Stand-In for one expert of 14B

Pictures = torch.Tensor  # b h w 3


def _cache_bytes(device: torch.device) -> int:
    return max(SMALLEST_CACHE_BYTES, int(CACHE_SHARE * comfy.model_management.get_total_memory(device)))


CACHE = KvCache(_cache_bytes(comfy.model_management.get_torch_device()), _cache_bytes(torch.device("cpu")))


# Into a model


@dataclass(frozen=True, slots=True, eq=False)
class LockedModel:
    """A model with one identity more."""

    model: Model
    locks: tuple[Lock, ...]  # all that are in it


def with_lock(model: Model, lock: Lock, patcher: Model, *, identity_guidance: float) -> LockedModel:
    """A clone of ``model`` with a lock beside those that it has, and the adapter's weights as an additional model.

    While it samples, transformer_options names the negative conditions and the model's present weights.
    """
    model = model.clone()
    earlier = locks_in(model)
    locks = (*earlier, lock)
    model.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, INJECTION)
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, INJECTION, IdentityInjection(locks, CACHE))
    # when a clone goes, the host falls back to its parent
    model.set_additional_models(f"{INJECTION}.{len(earlier)}", [patcher.clone()])
    if not model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, INJECTION):
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, INJECTION, sample_informed)
    if identity_guidance:
        guide = identity_guide(lock, identity_guidance)
        model.set_model_sampler_post_cfg_function(guide, disable_cfg1_optimization=True)
    return LockedModel(model, locks)


def sample_informed(
    sample: Callable[..., torch.Tensor],
    guider: comfy.samplers.CFGGuider,
    sigmas: torch.Tensor,
    extra_args: dict[str, Any],
    callback: Any,
    noise: torch.Tensor,
    *rest: Any,
    **named: Any,
) -> torch.Tensor:
    """Samples with what the identities need to know of the run in its own transformer_options.

    A condition that the host copied from one list into another, for an area, has the first one's id: it gets a new one.
    """
    for name, conds in guider.conds.items():
        own = {cond["uuid"] for cond in guider.original_conds.get(name, ())}
        for cond in conds:
            if cond["uuid"] not in own:
                cond["uuid"] = uuid.uuid4()
    patcher = guider.model_patcher
    schedule = patcher.get_model_object("model_sampling")
    extra_args["model_options"]["transformer_options"][RUN] = Run(
        negative=frozenset(
            cond["uuid"] for name, conds in guider.conds.items() if "negative" in name for cond in conds
        ),
        weights_of=lambda: weights_of(patcher),
        sigma_of=lambda percent: float(schedule.percent_to_sigma(percent)),
        latent_shape=tuple(noise.shape[-3:]),
    )
    try:
        return sample(guider, sigmas, extra_args, callback, noise, *rest, **named)
    finally:
        CACHE.rest()


def same(part: object) -> Hashable:
    """A part of a key: the object itself, or for a plain value, to which nothing can refer, what it says."""
    return Same(part) if type(part).__weakrefoffset__ else repr(part)


def weights_of(patcher: Model) -> Hashable:
    """What tells the weights that a model has now from others: its patches, hooks, injections and replaced parts."""
    hooks = patcher.current_hooks.hooks if patcher.current_hooks else ()
    injections = (injection for several in patcher.injections.values() for injection in several)
    return (
        Same(patcher.model),
        patcher.patches_uuid,
        tuple((Same(hook.hook_ref), hook.strength) for hook in hooks),
        tuple(Same(injection) for injection in injections),
        tuple((name, same(part)) for name, part in patcher.object_patches.items() if name.startswith(NETWORK)),
    )


def identity_guide(lock: Lock, identity_scale: float) -> Callable[[dict[str, Any]], torch.Tensor]:
    """The host's post-CFG function that guides towards the lock's person with a scale of its own."""

    def guide(args: dict[str, Any]) -> torch.Tensor:
        options = dict(args["model_options"])
        run = options["transformer_options"][RUN]
        if args["uncond"] is None or not lock.acts_at(args["sigma"].max().item(), run.sigma_of):
            return args["denoised"]
        options["transformer_options"] = {**options["transformer_options"], PERSON_ON_ALL: lock}
        (with_person,) = comfy.samplers.calc_cond_batch(
            args["model"], [args["uncond"]], args["input"], args["sigma"], options
        )
        return with_identity_guidance(
            args["denoised"],
            args["uncond_denoised"],
            with_person,
            text_scale=args["cond_scale"],
            identity_scale=identity_scale,
        )

    return guide


# What goes into a lock


def identity_keys_values(network: AdapterNetwork, embeddings: torch.Tensor) -> KeysValues:
    """Keys (before their norm) and values of a person's tokens and of nobody's, 2 n d in fp32 and in RAM, by block.

    The layers stay where they rest; each is cast to the device for this one use.
    """
    device = comfy.model_management.get_torch_device()
    person = embeddings.to(device, torch.float32)  # m 512
    tokens = network.resampler(torch.stack((person, torch.zeros_like(person))))  # 2 n d
    return {block: tuple(part.cpu() for part in network.ip.keys_values(block, tokens)) for block in network.ip.blocks}


def content_of(*tensors: torch.Tensor) -> str:
    """The SHA-256 of what tensors hold, hexadecimal: equal contents give equal keys and values."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def picture_latents(model: Model, vae: comfy.sd.VAE, pictures: Pictures) -> torch.Tensor:
    """Pictures (b h w 3) as latents in the model's scale, each for itself, b c 1 h w; raises InputError if unfit."""
    wanted = model.model.latent_format.latent_channels
    if not isinstance(vae, comfy.sd.VAE):
        raise InputError("vae", found=type(vae).__name__, wanted="the VAE of this model", fix="Connect Load VAE.")
    latents = torch.cat([vae.encode(picture[None]) for picture in pictures])  # b c 1 h w
    if latents.ndim != 5 or latents.shape[1] != wanted:
        raise InputError(
            "vae",
            found=f"a VAE whose latents are {tuple(latents.shape[1:])}",
            wanted=f"the VAE of this model, with {wanted} latent channels",
            fix="Load the Wan2.1 VAE for Wan2.1 and the Wan2.2 A14B models.",
        )
    return model.model.process_latent_in(latents)
