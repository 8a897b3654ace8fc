"""Both experts as one GUIDER or one MODEL of the host, which sample as one run when a stock sampler uses them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import comfy.patcher_extension
import torch
from comfy.patcher_extension import WrappersMP

from ...wan_core.errors import InputError, errors_of
from ...wan_core.moe import Job, SampleRequest, Schedule, Switch, describe
from ...wan_core.moe.inputs import nested_latent
from ...wan_core.moe.setup import OnStep
from .guiders import (
    TWO,
    LazyGuider,
    StockGuider,
    cfg_of,
    conditions_of,
    defer_loading,
    experts_of,
    lazy,
    sample_on_host,
)
from .models import TWO_IN_ONE, Model, WanParams, wan_experts
from .sampling import job_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the user set in a node whose product samples later, in another node."""

    node: str  # the one that the user set it in
    switch: Switch
    policy: str
    memory: str
    start_steps: int = 0  # of the first of three

    def sample(
        self, guiders: Sequence[LazyGuider], names: Sequence[str], wan: WanParams, sigmas: torch.Tensor, job: Job
    ) -> torch.Tensor:
        """Samples as one run; the report goes into the host's log, for these nodes have no output of their own."""
        with errors_of(self.node), experts_of(guiders, names, wan, self.memory) as experts:
            schedule = Schedule(sigmas)
            request = SampleRequest(experts, self.switch, schedule, self.policy, job, self.start_steps)
            result = sample_on_host(request)
        log.info("WanCast: %s", describe(result).replace("\n", "; "))
        return result.latent


# One guider


@dataclass(frozen=True, slots=True)
class MoEGuider:
    """A GUIDER that samples with two or three guiders as one run, each on its part of the schedule."""

    guiders: tuple[StockGuider, ...] = field(repr=False)  # high noise first
    names: tuple[str, ...]
    wan: WanParams
    settings: RunSettings

    @property
    def model_patcher(self) -> Model:
        return self.guiders[0].model_patcher

    def sample(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler: Any,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: OnStep | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Samples as a stock guider does; raises InputError where the parts do not fit the schedule."""
        if len(sigmas) == 0:
            return latent_image
        with errors_of(self.settings.node):
            job = job_of(noise, latent_image, sampler, denoise_mask, callback, disable_pbar, seed)
        return self.settings.sample([lazy(guider) for guider in self.guiders], self.names, self.wan, sigmas, job)


def moe_guider(given: Mapping[str, StockGuider | None], settings: RunSettings) -> MoEGuider:
    """One guider of several, by the names of their inputs; one that is None is left out.

    Raises InputError unless each guides one Wan expert, and all are of the same kind.
    """
    guiders = {name: guider for name, guider in given.items() if guider is not None}
    for name, guider in guiders.items():
        if not isinstance(guider, StockGuider):
            found = "a WanCast MoE Guider" if isinstance(guider, MoEGuider) else f"a {type(guider).__name__}"
            raise InputError(name, found=found, wanted="the guider of one model", fix="Connect a CFG Guider.")
    wan = wan_experts({name: guider.model_patcher for name, guider in guiders.items()})
    names = tuple(name.removeprefix("guider_") for name in guiders)
    return MoEGuider(tuple(guiders.values()), names, wan, settings)


# One model


def two_in_one(high: Model, low: Model, settings: RunSettings) -> Model:
    """A clone of ``high`` with which any guider of the host samples with both models as one run.

    The second expert has a twin of that guider: the same conditioning and guidance, and the patches of ``low``. Raises
    InputError unless both are Wan experts of the same kind.
    """
    wan = wan_experts({"model_high": high, "model_low": low})

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
        with errors_of(settings.node):
            if len(packed := shapes.get("latent_shapes", [noise.shape])) > 1:
                raise nested_latent(len(packed))
            job = job_of(noise, latent_image, sampler, denoise_mask, callback, disable_pbar, seed)
        guider = go_on.class_obj
        sample_first = partial(go_on, **shapes)
        first = LazyGuider(guider.model_patcher, cfg_of(guider), sample_first, conditions_of(guider), {})
        defer_loading(guider.model_options, first.deferred)  # these options are a copy for this run
        return settings.sample([first, lazy(twin_of(guider, low))], TWO, wan, sigmas, job)

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
