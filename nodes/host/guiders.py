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

from ...wan_core.moe.facts import notes_on_run
from ...wan_core.moe.report import RunReport
from ...wan_core.moe.route import Expert, Job, Tools, sample_once
from ...wan_core.moe.setup import OnStep
from ...wan_core.moe.split import split_schedule
from ...wan_core.notes import Note
from .locks import rest_caches
from .memory import release, warmer
from .models import TWO_IN_ONE, Model, facts_of
from .sampling import Conditioning, ModelOptions

TWO = ("high", "low")  # the names of two experts

log = logging.getLogger(__name__)

StockGuider = comfy.samplers.CFGGuider
Run = Callable[["LazyGuider", "LazyGuider", Job], torch.Tensor]  # first, second, what the sampler was given


# One guider


@dataclass(frozen=True, slots=True)
class PutOff:
    """The loading of one model, which waits."""

    model: Model
    load: Callable[[], None]


@dataclass(frozen=True, slots=True)
class LazyGuider:
    """A guider in one run, which leaves its weights where they are until ``load`` is called.

    ``load`` may be called again after another model took the device; it also makes its patcher the current one, which
    matters when two models share their weights.
    """

    model: Model
    cfg: float | None  # None when it guides in another way than by one scale
    sample: Callable[..., torch.Tensor]  # as that of the stock guider
    put_off: dict[int, PutOff]  # by the id of each of its models, once it has been set up

    def load(self) -> None:
        for each in self.put_off.values():
            each.load()

    def let_go(self) -> None:
        """Ends the run: nothing loads any more, and a model that never was loaded is as it was before."""
        for model in (each.model for each in self.put_off.values()):
            if not any(model.is_clone(loaded) for loaded in comfy.model_management.loaded_models()):
                model.unpatch_model(unpatch_weights=False)
        self.put_off.clear()


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
    put_off: dict[int, PutOff] = {}
    put_off_loading(own.model_options, put_off)
    for name, value in list(vars(own).items()):
        if name != "model_patcher" and isinstance(value, Model):
            second = value.clone()
            put_off_loading(second.model_options, put_off)
            setattr(own, name, second)
    return LazyGuider(own.model_patcher, cfg_of(own), own.sample, put_off)


def cfg_of(guider: StockGuider) -> float | None:
    """The scale of a guider that guides as the stock one does."""
    return guider.cfg if type(guider).predict_noise is StockGuider.predict_noise else None


def put_off_loading(model_options: ModelOptions, put_off: dict[int, PutOff]) -> None:
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
            if patcher.hook_patches:
                patcher.clear_cached_hook_weights()  # another expert may have moved their keyframes on

        put_off[id(patcher)] = PutOff(patcher, load)
        put_objects(patcher)
        return patcher.model, conds, loaded

    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING, "wancast_put_off", prepare_later, model_options, is_model_options=True
    )


def put_objects(model: Model) -> None:
    """Puts the objects that a model is patched with in their places, as loading does: the set-up reads its schedule."""
    model.unpatch_model(unpatch_weights=False)
    model.patch_model(load_weights=False)
    model.eject_model()


# Several guiders


@dataclass(frozen=True, slots=True)
class Team:
    """Guiders that sample as one, high noise first."""

    guiders: Sequence[LazyGuider]
    names: tuple[str, ...]
    sigma_mins: tuple[float, ...]  # the lowest sigma of each; the last one takes the rest
    policy: str
    memory: str  # with one_expert, the models of two guiders are never on one device


def sample_together(team: Team, job: Job) -> tuple[torch.Tensor, RunReport]:
    """Runs the job once over several guiders; what the user should know goes into the host's log before the run."""
    sigmas = tuple(job.sigmas.tolist())
    notes = notes_on_team(team, sigmas)
    for note in notes:
        log.warning("WanCast: %s", note.text)
    tools = Tools(merge_options=with_sampler_additions, clock_s=time.perf_counter)
    with experts_of(team) as experts:
        samples, tallies = sample_once(experts, job, team.policy, tools)
    return samples, RunReport(team.names, team.sigma_mins, sigmas, team.policy, tuple(tallies), notes)


def notes_on_team(team: Team, sigmas: tuple[float, ...]) -> tuple[Note, ...]:
    """What is allowed but probably not meant, of each guider beside the one for low noise, without repetition."""
    *firsts, low = team.guiders
    split = split_schedule(sigmas, team.sigma_mins[-2])
    found = [
        note
        for first in firsts
        for note in notes_on_run(facts_of(first.model), facts_of(low.model), sigmas, split, (first.cfg, low.cfg))
    ]
    return tuple(dict.fromkeys(found))


@contextmanager
def experts_of(team: Team) -> Iterator[list[Expert]]:
    """The experts of one run; outside the block they cannot load any more and hold nothing."""

    def load(index: int) -> None:
        if team.memory == "one_expert":
            make_room(team.guiders, index)
        team.guiders[index].load()

    with warmer() as warm:
        try:
            yield [
                Expert(name, each.sample, sigma_min, partial(load, index), partial(warm, each.model))
                for index, (each, name, sigma_min) in enumerate(
                    zip(team.guiders, team.names, team.sigma_mins, strict=True)
                )
            ]
        finally:
            for each in team.guiders:
                each.let_go()


def make_room(guiders: Sequence[LazyGuider], index: int) -> None:
    """Moves the models of the other guiders, and what identities keep, off the device of the one that is coming."""
    coming = guiders[index]
    own = {each.model.clone_base_uuid for each in coming.put_off.values()}
    for other in (each.model for guider in guiders for each in guider.put_off.values()):
        if other.clone_base_uuid not in own and other.load_device == coming.model.load_device:
            release(other)
    rest_caches(each.model for guider in guiders for each in guider.put_off.values())


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
        go_on: comfy.patcher_extension.WrapperExecutor,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: OnStep | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **shapes: Any,
    ) -> torch.Tensor:
        guider = go_on.class_obj
        first = LazyGuider(guider.model_patcher, cfg_of(guider), partial(go_on, **shapes), {})
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
