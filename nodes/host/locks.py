"""Identities in the host's models: wrappers, guidance, and the keys and values that they keep."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Hashable, Iterable
from typing import Any
from weakref import WeakSet, finalize

import comfy.model_management
import comfy.samplers
import torch
from comfy.model_base import BaseModel
from comfy.patcher_extension import CallbacksMP, WrappersMP
from comfy_execution.utils import get_executing_context

from ...wan_core.adapters import LockResult, ReadPictures, TargetParams
from ...wan_core.adapters.guidance import with_identity_guidance
from ...wan_core.adapters.inject import IDENTITY_ON_ALL, INJECTION, OVERRIDE, IdentityInjection
from ...wan_core.adapters.kv_cache import KvCache, WeakKey
from ...wan_core.adapters.lock import Lock
from ...wan_core.adapters.passes import RUN, LockedRun, RunFacts
from ...wan_core.checks import kind_of
from ...wan_core.errors import InputError
from .models import Model, level_of, locks_in, require_single, wan_params

CPU = torch.device("cpu")
CACHE_SHARE = 0.1  # of a device's memory, and of the RAM, that keys and values may take
NETWORK = "diffusion_model"  # begins the names of a network and its parts in the host's models
NODE = "IDLock"  # stands in front of what is said while a model runs
SMALLEST_CACHE_BYTES = 2 << 30  # two portraits of Stand-In for one expert of 14B

# Into a model


class ModelLocker:
    """Puts identities into models; all of them share one cache of keys and values on the host's device and in RAM."""

    def __init__(self) -> None:
        totals = map(comfy.model_management.get_total_memory, (comfy.model_management.get_torch_device(), CPU))
        self.cache = KvCache(*(max(SMALLEST_CACHE_BYTES, int(CACHE_SHARE * total_bytes)) for total_bytes in totals))
        self.locked_bases: WeakSet[BaseModel] = WeakSet()  # when one goes, so do its keys and values

    def locked(self, model: Model, result: LockResult, patcher: Model) -> Model:
        """A clone of ``model`` with a lock beside those that it has, and the adapter's weights as an additional model.

        While it samples, transformer_options names the negative conditions and the model's present weights.
        """
        model, lock = model.clone(), result.lock
        if lock is None:
            return model
        earlier = locks_in(model)
        model.remove_wrappers_with_key(WrappersMP.DIFFUSION_MODEL, INJECTION)
        injection = IdentityInjection((*earlier, lock), self.cache, NODE)
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, INJECTION, injection)
        # when a clone goes, the host falls back to its parent
        model.set_additional_models(f"{INJECTION}.{len(earlier)}", [patcher.clone()])
        if not model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, INJECTION):
            model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, INJECTION, sample_informed)
            model.add_callback_with_key(CallbacksMP.ON_DETACH, INJECTION, self.free_unloaded)
            if model.model not in self.locked_bases:
                self.locked_bases.add(model.model)
                finalize(model.model, self.cache.drop_gone).atexit = False
        if result.identity_guidance:
            guide = identity_guide(lock, result.identity_guidance)
            model.set_model_sampler_post_cfg_function(guide, disable_cfg1_optimization=True)
        return model

    def free_unloaded(self, _: Model, is_whole: bool) -> None:
        """Drops all keys and values when the host unloads a locked model while no node runs: it is told to free memory.

        One that makes room for another while a node samples comes back, and finds its keys and values in RAM.
        """
        if is_whole and get_executing_context() is None:
            self.cache.clear()


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
    facts = RunFacts(
        negative=frozenset(
            cond["uuid"] for name, conds in guider.conds.items() if "negative" in name for cond in conds
        ),
        weights_key=lambda: weights_key_of(patcher),  # no partial: a deep copy of the options would copy the model
        sigma_of=lambda percent: float(schedule.percent_to_sigma(percent)),
        latent_shape=tuple(noise.shape[-3:]),
    )
    extra_args["model_options"]["transformer_options"][RUN] = LockedRun(facts)
    try:
        return sample(guider, sigmas, extra_args, callback, noise, *rest, **named)
    finally:
        rest_caches([patcher])


def weights_key_of(patcher: Model) -> Hashable:
    """What tells the weights that a model has now from others: its patches, hooks, injections and replaced parts."""
    parts = [(name, part) for name, part in patcher.object_patches.items() if name.startswith(NETWORK)]
    hooks = patcher.current_hooks.hooks if patcher.current_hooks else ()
    injections = (injection for several in patcher.injections.values() for injection in several)
    return (
        WeakKey(patcher.model),
        patcher.patches_uuid,
        tuple((WeakKey(hook.hook_ref), hook.strength) for hook in hooks),
        tuple(WeakKey(injection) for injection in injections),
        # nothing can refer to a plain value, so what it says stands for it
        tuple((name, WeakKey(part) if type(part).__weakrefoffset__ else repr(part)) for name, part in parts),
    )


def identity_guide(lock: Lock, identity_scale: float) -> Callable[[dict[str, Any]], torch.Tensor]:
    """The host's post-CFG function that guides towards the lock's identity with a scale of its own."""

    def guide(args: dict[str, Any]) -> torch.Tensor:
        options = dict(args["model_options"])
        run = options["transformer_options"][RUN]
        if args["uncond"] is None or not lock.acts_at(args["sigma"].max().item(), run.facts.sigma_of):
            return args["denoised"]
        options["transformer_options"] = {**options["transformer_options"], IDENTITY_ON_ALL: lock}
        (with_identity,) = comfy.samplers.calc_cond_batch(
            args["model"], [args["uncond"]], args["input"], args["sigma"], options
        )
        return with_identity_guidance(
            args["denoised"],
            args["uncond_denoised"],
            with_identity,
            text_scale=args["cond_scale"],
            identity_scale=identity_scale,
        )

    return guide


# Keys and values


def rest_caches(models: Iterable[Model]) -> None:
    """Moves the keys and values that the identities in these models keep off their devices."""
    injections = [one for model in models for one in model.get_wrappers(WrappersMP.DIFFUSION_MODEL, INJECTION)]
    for cache in {injection.cache for injection in injections}:
        cache.rest()


# What a lock is made of


def target_of(model: Model) -> TargetParams:
    """What a lock needs to know of a model; raises InputError unless it is one Wan model."""
    require_single(model, input_name="model")
    wan = wan_params(model)
    override = model.model_options["transformer_options"].get(OVERRIDE)
    name = getattr(override, "__qualname__", type(override).__qualname__)  # an object that acts as a function has none
    return TargetParams(
        network=f"{wan.module}.{wan.network}",
        width_d=wan.width_d,
        blocks=wan.blocks,
        text_d=wan.text_d,
        noise_level=level_of(model),
        attention=None if override is None else f"{override.__module__}.{name}",
    )


def picture_reader(model: Model, vae: Any) -> ReadPictures | None:
    """How pictures (b h w 3) become latents in the model's scale, each for itself, b c 1 h w; None without a VAE.

    It raises InputError for a VAE that is not the model's.
    """

    def read(pictures: torch.Tensor) -> torch.Tensor:
        wanted = model.model.latent_format.latent_channels
        if not hasattr(vae, "encode"):
            raise InputError("vae", found=kind_of(vae), wanted="a VAE that encodes", fix="Connect Load VAE.")
        latents = torch.cat([vae.encode(picture[None]) for picture in pictures])  # b c 1 h w
        if latents.ndim != 5 or latents.shape[1] != wanted:
            raise InputError(
                "vae",
                found=f"a VAE whose latents are {tuple(latents.shape[1:])}",
                wanted=f"the VAE of this model, with {wanted} latent channels",
                fix="Load the Wan2.1 VAE for Wan2.1 and the Wan2.2 A14B models.",
            )
        return model.model.process_latent_in(latents)

    return None if vae is None else read
