"""Guiders of the host that take part in one run of several experts."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

from ...wan_core.checks import require_conditioning
from ...wan_core.moe import Conditions, Expert, sample
from ...wan_core.moe.setup import ModelOptions
from ...wan_core.notes import Note
from .locks import rest_caches
from .memory import offload, warmer
from .models import Model, WanParams, expert_params
from .sampling import Conditioning

TWO = ("high", "low")  # the names of two experts

log = logging.getLogger(__name__)

StockGuider = comfy.samplers.CFGGuider


# One guider


@dataclass(frozen=True, slots=True)
class DeferredLoad:
    """The loading of one model, which waits."""

    model: Model
    load: Callable[[], None]


@dataclass(slots=True, eq=False)
class LazyGuider:
    """A guider in one run, which leaves its weights where they are until ``load`` is called.

    ``load`` may be called again after another model took the device; it also makes its patcher the current one, which
    matters when two models share their weights.
    """

    model: Model
    cfg: float | None  # None when it guides in another way than by one scale
    sample: Callable[..., torch.Tensor]  # as that of the stock guider
    conditions: tuple[Conditions, ...]
    deferred: dict[int, DeferredLoad]  # by the id of each of its models, once it has been set up

    def load(self) -> None:
        for loading in self.deferred.values():
            loading.load()

    def release(self) -> None:
        """Ends the run: nothing loads any more, and a model that never was loaded is as it was before."""
        for model in (loading.model for loading in self.deferred.values()):
            if not any(model.is_clone(loaded) for loaded in comfy.model_management.loaded_models()):
                model.unpatch_model(unpatch_weights=False)
        self.deferred.clear()


def cfg_guiders(
    models: Sequence[Model], cfgs: Sequence[float], positive: Conditioning, negative: Conditioning, wan: WanParams
) -> list[LazyGuider]:
    """The stock guider of each model with its scale; raises InputError for text that the models cannot read."""
    require_conditioning(positive, wan.text_d, name="positive")
    require_conditioning(negative, wan.text_d, name="negative")
    guiders = [StockGuider(model) for model in models]
    for guider, cfg in zip(guiders, cfgs, strict=True):
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
    return [lazy(guider) for guider in guiders]


def lazy(guider: StockGuider) -> LazyGuider:
    """A copy of a guider that defers the loading of all its models; the guider itself is left as it is."""
    own = copy.copy(guider)
    own.model_options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    deferred: dict[int, DeferredLoad] = {}
    defer_loading(own.model_options, deferred)
    for name, value in list(vars(own).items()):
        if name != "model_patcher" and isinstance(value, Model):
            second = value.clone()
            defer_loading(second.model_options, deferred)
            setattr(own, name, second)
    return LazyGuider(own.model_patcher, cfg_of(own), own.sample, conditions_of(own), deferred)


def cfg_of(guider: StockGuider) -> float | None:
    """The scale of a guider that guides as the stock one does."""
    return guider.cfg if type(guider).predict_noise is StockGuider.predict_noise else None


def conditions_of(guider: StockGuider) -> tuple[Conditions, ...]:
    """What each entry of the lists of conditions of a guider holds."""
    return tuple(
        Conditions(name, frozenset(key for key, value in entry.items() if value is not None))
        for name, entries in guider.original_conds.items()
        for entry in entries
    )


def defer_loading(model_options: ModelOptions, deferred: dict[int, DeferredLoad]) -> None:
    """Has a guider that samples with these options hand its loading over to ``deferred`` instead of loading."""

    def prepare_later(
        prepare: Callable[..., Any], patcher: Model, shape: torch.Size, conds: dict[str, list], **settings: Any
    ) -> tuple[Any, dict[str, list], list]:
        as_given = {name: list(entries) for name, entries in conds.items()}
        patcher.match_multigpu_clones()
        loaded = [model for model in patcher.get_nested_additional_models() if model.is_multigpu_base_clone]

        def load() -> None:
            # here the host moves the weights; it cleans up after the run what comes back
            loaded[:] = prepare(patcher, shape, as_given, **settings)[2]
            patcher.model.current_patcher = patcher
            if patcher.hook_patches:
                patcher.clear_cached_hook_weights()  # another expert may have moved their keyframes on

        deferred[id(patcher)] = DeferredLoad(patcher, load)
        # the set-up reads the schedule, so the objects that the model is patched with are put in place, as by loading
        patcher.unpatch_model(unpatch_weights=False)
        patcher.patch_model(load_weights=False)
        patcher.eject_model()
        return patcher.model, conds, loaded

    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING, "wancast_defer_loading", prepare_later, model_options, is_model_options=True
    )


# Several guiders


@contextmanager
def experts_of(
    guiders: Sequence[LazyGuider], names: Sequence[str], wan: WanParams, memory: str
) -> Iterator[tuple[Expert, ...]]:
    """Guiders as the experts of one run, high noise first; outside the block they cannot load and hold nothing.

    With ``memory`` one_expert, the models of two of them are never on one device.
    """

    def load(index: int) -> None:
        if memory == "one_expert":
            make_room(guiders, index)
        guiders[index].load()

    with warmer() as warm:
        try:
            yield tuple(
                Expert(
                    name=name,
                    params=expert_params(guider.model, wan, guider.cfg, guider.conditions),
                    sample=guider.sample,
                    load=partial(load, index),
                    warm=partial(warm, guider.model),
                )
                for index, (guider, name) in enumerate(zip(guiders, names, strict=True))
            )
        finally:
            for guider in guiders:
                guider.release()


def make_room(guiders: Sequence[LazyGuider], index: int) -> None:
    """Moves the models of the other guiders, and what identities keep, off the device of the one that is coming."""
    coming = guiders[index]
    own = {loading.model.clone_base_uuid for loading in coming.deferred.values()}
    for other in (loading.model for guider in guiders for loading in guider.deferred.values()):
        if other.clone_base_uuid not in own and other.load_device == coming.model.load_device:
            offload(other)
    rest_caches(loading.model for guider in guiders for loading in guider.deferred.values())


def with_sampler_additions(own: ModelOptions, base: ModelOptions, given: ModelOptions) -> ModelOptions:
    """The model options ``own`` plus the guidance hooks that a sampler added to ``base`` to make ``given``."""
    hooks = "sampler_post_cfg_function"
    added = given.get(hooks, [])[len(base.get(hooks, [])) :]
    merged = own | {hooks: own.get(hooks, []) + added}
    if given.get("disable_cfg1_optimization") and not base.get("disable_cfg1_optimization"):
        merged["disable_cfg1_optimization"] = True
    return merged


def log_note(note: Note) -> None:
    """Warns in the host's log, which is read while the run goes on."""
    log.warning("WanCast: %s", note.text)


sample_on_host = partial(sample, merge_options=with_sampler_additions, clock_s=time.perf_counter, on_note=log_note)
