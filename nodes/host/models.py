"""Wan models: their sizes, their schedule, and wrappers around their forward."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.ldm.wan.ar_model
import comfy.ldm.wan.model
import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

from ...wan_core.adapters.inject import NEGATIVE_UUIDS
from ...wan_core.errors import InputError
from ...wan_core.moe.facts import ExpertFacts

TWO_IN_ONE = "wancast_two_in_one"  # names the wrapper of a model that stands for two

Model = comfy.model_patcher.ModelPatcher


@dataclass(frozen=True, slots=True)
class WanSize:
    """The sizes of a Wan model that others have to fit."""

    network: str  # class name: WanModel for text and image to video, others for its relatives
    width_d: int
    blocks: int
    input_channels: int  # 16 for text to video, 36 for image to video
    text_d: int  # of the text embeddings that it reads

    def __str__(self) -> str:
        return (
            f"a {self.network} of {self.blocks} blocks of width {self.width_d}, "
            f"{self.input_channels} input channels and text of width {self.text_d}"
        )


def wan_size(model: Model, *, input_name: str = "model") -> WanSize:
    """Measures a Wan model; raises InputError for any other kind, and for the causal one with its attention cache."""
    network = model.get_model_object("diffusion_model") if isinstance(model, Model) else model
    network = getattr(network, "_orig_mod", network)  # of a compiled one
    causal = isinstance(network, comfy.ldm.wan.ar_model.CausalWanModel)
    if causal or not isinstance(network, comfy.ldm.wan.model.WanModel):
        raise InputError(
            input_name,
            found=f"a {type(network).__name__}",
            wanted="a Wan2.1 or Wan2.2 video model",
            fix="Connect the Wan model, for example from Load Diffusion Model.",
        )
    return WanSize(
        network=type(network).__name__,
        width_d=network.dim,
        blocks=len(network.blocks),
        input_channels=network.in_dim,
        text_d=network.text_embedding[0].in_features,
    )


def wan_pair(models: Mapping[str, Model]) -> WanSize:
    """The size of Wan experts, by the names of their inputs.

    Raises InputError unless all have the same, each is an expert for itself, and each has the schedule of a flow.
    """
    for name, model in models.items():
        if isinstance(model, Model) and model.get_wrappers(WrappersMP.OUTER_SAMPLE, TWO_IN_ONE):
            raise InputError(
                name, found="a model that WanCast MoE Model made of two", wanted="one expert",
                fix="Connect the expert itself.",
            )
    sizes = {name: wan_size(model, input_name=name) for name, model in models.items()}
    for name, model in models.items():
        shift_of(model, input_name=name)
    (first_name, first), *others = sizes.items()
    for name, size in others:
        if size != first:
            raise InputError(
                name,
                found=size,
                wanted=f"what {first_name} is: {first}",
                fix="Load the high-noise and the low-noise file of the same Wan2.2 model.",
            )
    return first


def sigma_range(model: Model, start_percent: float, end_percent: float) -> tuple[float, float]:
    """The sigmas at two percents of the model's own schedule; the first is the larger one."""
    sampling = model.get_model_object("model_sampling")
    return float(sampling.percent_to_sigma(start_percent)), float(sampling.percent_to_sigma(end_percent))


def shift_of(model: Model, *, input_name: str = "model") -> float:
    """The shift of a model's schedule; raises InputError for one that is no flow."""
    middle, _ = sigma_range(model, 0.5, 0.5)
    if not 0.0 < middle < 1.0:
        raise InputError(
            input_name, found=f"a schedule with sigma {middle:.4g} in the middle", wanted="that of a flow model",
            fix="Take the model sampling patch off, or use ModelSamplingSD3.",
        )
    return round(middle / (1.0 - middle), 9)  # sigma = shift * u / (1 + (shift - 1) * u) at u = 0.5


def facts_of(model: Model) -> ExpertFacts:
    """What is known of a model that has the schedule of a flow, before it samples."""
    match model.cached_patcher_init:
        case (_, (str(path), *_), *_):
            file = path
        case _:
            file = None
    return ExpertFacts(file, shift_of(model), has_context_windows="context_handler" in model.model_options)


def with_model_wrapper(model: Model, name: str, wrapper: Callable[..., torch.Tensor], patcher: Model) -> Model:
    """A clone of ``model`` whose forward goes through ``wrapper``, with the patcher's network loaded beside it.

    Clones stack. While it samples, transformer_options names the negative conditions (NEGATIVE_UUIDS).
    """
    model = model.clone()
    key = f"{name}.{sum(other.startswith(name) for other in model.additional_models)}"
    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, key, wrapper)
    model.set_additional_models(key, [patcher.clone()])  # when a clone goes, the host falls back to its parent
    if not model.get_wrappers(WrappersMP.SAMPLER_SAMPLE, NEGATIVE_UUIDS):
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, NEGATIVE_UUIDS, name_negative)
    return model


def name_negative(
    sample: Callable[..., torch.Tensor], guider: comfy.samplers.CFGGuider, sigmas: torch.Tensor,
    extra_args: dict[str, Any], *rest: Any, **named: Any,
) -> torch.Tensor:
    """Samples with the ids of the guider's negative conditions in the run's own transformer_options.

    A condition that the host copied from one list into another, for an area, has the first one's id: it gets a new one.
    """
    for name, conds in guider.conds.items():
        own = {cond["uuid"] for cond in guider.original_conds.get(name, ())}
        for cond in conds:
            if cond["uuid"] not in own:
                cond["uuid"] = uuid.uuid4()
    negative = frozenset(cond["uuid"] for name, conds in guider.conds.items() if "negative" in name for cond in conds)
    extra_args["model_options"]["transformer_options"][NEGATIVE_UUIDS] = negative
    return sample(guider, sigmas, extra_args, *rest, **named)
