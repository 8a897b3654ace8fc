"""Guiders of the host that take part in one run of several experts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import comfy.model_patcher
import comfy.patcher_extension
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

from ...wan_core.moe.route import Expert, Job, Tally, Tools, sample_once
from ...wan_core.moe.setup import OnStep
from .memory import release, warmer
from .models import TWO_IN_ONE, Model
from .sampling import Conditioning, ModelOptions

StockGuider = comfy.samplers.CFGGuider
Run = Callable[["LazyGuider", "LazyGuider", Job], torch.Tensor]  # first, second, what the sampler was given


# One guider


@dataclass(frozen=True, slots=True)
class LazyGuider:
    """A guider in one run, which leaves its weights where they are until ``load`` is called.

    ``load`` may be called again after another model took the device; it also makes its patcher the current one, which
    matters when two models share their weights.
    """

    model: Model
    sample: Callable[..., torch.Tensor]  # as that of the stock guider
    put_off: list[Callable[[], None]]  # the loading of each of its models

    def load(self) -> None:
        for load in self.put_off:
            load()


def cfg_guider(model: Model, positive: Conditioning, negative: Conditioning, cfg: float) -> StockGuider:
    """The stock guider of these settings."""
    guider = StockGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    return guider


def lazy(guider: StockGuider) -> LazyGuider:
    """A copy of a guider that puts off the loading of all its models; the guider itself is left as it is."""
    own = copy.copy(guider)
    own.model_options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    put_off: list[Callable[[], None]] = []
    put_off_loading(own.model_options, put_off)
    for name, value in list(vars(own).items()):
        if name != "model_patcher" and isinstance(value, Model):
            second = value.clone()
            put_off_loading(second.model_options, put_off)
            setattr(own, name, second)
    return LazyGuider(own.model_patcher, own.sample, put_off)


def put_off_loading(model_options: ModelOptions, put_off: list[Callable[[], None]]) -> None:
    """Has a guider that samples with these options hand its loading over to ``put_off`` instead of loading."""

    def prepare_later(
        prepare: Callable[..., Any], patcher: Model, shape: torch.Size, conds: dict[str, list], **settings: Any
    ) -> tuple[Any, dict[str, list], list]:
        as_given = {name: list(entries) for name, entries in conds.items()}
        patcher.match_multigpu_clones()
        loaded = [model for model in patcher.get_nested_additional_models() if model.is_multigpu_base_clone]

        def load() -> None:
            loaded[:] = prepare(patcher, shape, as_given, **settings)[2]  # the host cleans these up after the run
            patcher.model.current_patcher = patcher

        put_off.append(load)
        return patcher.model, conds, loaded

    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING, "wancast_put_off", prepare_later, model_options, is_model_options=True
    )


# Several guiders


def sample_together(
    guiders: Sequence[LazyGuider], names: Sequence[str], sigma_mins: Sequence[float], job: Job, policy: str, memory: str
) -> tuple[torch.Tensor, list[Tally]]:
    """Runs the job once over several guiders, high noise first; with ``one_expert`` never two are on one device."""
    tools = Tools(merge_options=with_sampler_additions, clock_s=time.perf_counter)
    with experts_of(guiders, names, sigma_mins, memory) as experts:
        return sample_once(experts, job, policy, tools)


@contextmanager
def experts_of(
    guiders: Sequence[LazyGuider], names: Sequence[str], sigma_mins: Sequence[float], memory: str
) -> Iterator[list[Expert]]:
    """The experts of one run; outside the block they cannot load any more and hold nothing."""

    def load(index: int) -> None:
        if memory == "one_expert":
            make_room(guiders, index)
        guiders[index].load()

    with warmer() as warm:
        try:
            yield [
                Expert(name, each.sample, sigma_min, partial(load, index), partial(warm, each.model))
                for index, (each, name, sigma_min) in enumerate(zip(guiders, names, sigma_mins, strict=True))
            ]
        finally:
            for each in guiders:
                each.put_off.clear()


def make_room(guiders: Sequence[LazyGuider], index: int) -> None:
    """Moves the other models off the device of the one that is about to be loaded."""
    coming = guiders[index].model
    for other in (each.model for each in guiders):
        if other.clone_base_uuid != coming.clone_base_uuid and other.load_device == coming.load_device:
            release(other)


def with_sampler_additions(own: ModelOptions, base: ModelOptions, given: ModelOptions) -> ModelOptions:
    """The model options ``own`` plus the guidance hooks that a sampler added to ``base`` to make ``given``."""
    hooks = "sampler_post_cfg_function"
    added = given.get(hooks, [])[len(base.get(hooks, [])) :]
    merged = own | {hooks: own.get(hooks, []) + added}
    if given.get("disable_cfg1_optimization") and not base.get("disable_cfg1_optimization"):
        merged["disable_cfg1_optimization"] = True
    return merged


# One model that stands for two


def two_in_one(high: Model, low: Model, run: Run) -> Model:
    """A clone of ``high`` with which any guider of the host samples through ``run``.

    It is given that guider and its twin, which has the same conditioning and guidance and the patches of ``low``.
    """

    def sample_both(
        go_on: comfy.patcher_extension.WrapperExecutor, noise: torch.Tensor, latent_image: torch.Tensor, sampler: Any,
        sigmas: torch.Tensor, denoise_mask: torch.Tensor | None = None, callback: OnStep | None = None,
        disable_pbar: bool = False, seed: int | None = None, **shapes: Any,
    ) -> torch.Tensor:
        guider = go_on.class_obj
        first = LazyGuider(guider.model_patcher, partial(go_on, **shapes), [])
        put_off_loading(guider.model_options, first.put_off)  # these options are a copy for this run
        second = lazy(twin_of(guider, low))
        own_sigmas = sigmas.clone()  # uni_pc writes into what it is given
        job = Job(noise, latent_image, sampler, own_sigmas, denoise_mask, seed, callback, disable_pbar)
        return run(first, second, job)

    model = high.clone()
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, TWO_IN_ONE, sample_both)
    return model


def twin_of(guider: StockGuider, model: Model) -> StockGuider:
    """A copy of a guider that samples with another model."""
    twin = copy.copy(guider)
    has_hooks = any("hooks" in cond for conds in guider.original_conds.values() for cond in conds)
    twin.model_patcher = model.get_non_dynamic_delegate() if model.is_dynamic() and has_hooks else model
    twin.model_options = twin.model_patcher.model_options
    return twin
