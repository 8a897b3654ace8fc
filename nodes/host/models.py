"""Wan models: their parameters, their schedule, and what is known of them before they sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import comfy.ldm.wan.ar_model
import comfy.ldm.wan.model
import comfy.model_patcher
from comfy.patcher_extension import WrappersMP

from ...wan_core.adapters.inject import INJECTION
from ...wan_core.adapters.lock import Lock
from ...wan_core.errors import InputError
from ...wan_core.moe import ExpertParams

TWO_IN_ONE = "wancast_two_in_one"  # names the wrapper of a model that stands for two

Model = comfy.model_patcher.ModelPatcher


@dataclass(frozen=True, slots=True)
class WanParams:
    """What of a Wan model others have to fit."""

    network: str  # class name: WanModel for text and image to video, others for its relatives
    width_d: int
    blocks: int
    input_channels: int  # 16 for text to video, 36 for image to video
    text_d: int  # of the text embeddings that it reads
    module: str  # that the class is from

    def __str__(self) -> str:
        return (
            f"a {self.network} of {self.blocks} blocks of width {self.width_d}, "
            f"{self.input_channels} input channels and text of width {self.text_d}"
        )


def wan_params(model: Model, *, input_name: str = "model") -> WanParams:
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
    return WanParams(
        network=type(network).__name__,
        width_d=network.dim,
        blocks=len(network.blocks),
        input_channels=network.in_dim,
        text_d=network.text_embedding[0].in_features,
        module=type(network).__module__,
    )


def wan_experts(models: Mapping[str, Model]) -> WanParams:
    """The parameters of Wan experts, by the names of their inputs.

    Raises InputError unless all have the same, each is an expert for itself, and each has the schedule of a flow.
    """
    for name, model in models.items():
        require_single(model, input_name=name)
    found = {name: wan_params(model, input_name=name) for name, model in models.items()}
    for name, model in models.items():
        shift_of(model, input_name=name)
    (first_name, first), *others = found.items()
    for name, params in others:
        if params != first:
            raise InputError(
                name,
                found=params,
                wanted=f"what {first_name} is: {first}",
                fix="Load the high-noise and the low-noise file of the same Wan2.2 model.",
            )
    return first


def require_single(model: object, *, input_name: str) -> None:
    """Raises InputError for a model that stands for two: what is put into it would reach the first alone."""
    if isinstance(model, Model) and model.get_wrappers(WrappersMP.OUTER_SAMPLE, TWO_IN_ONE):
        raise InputError(
            input_name,
            found="a model that WanCast MoE Model made of two",
            wanted="one expert",
            fix="Connect the expert itself.",
        )


def shift_of(model: Model, *, input_name: str = "model") -> float:
    """The shift of a model's schedule; raises InputError for one that is no flow."""
    middle = float(model.get_model_object("model_sampling").percent_to_sigma(0.5))
    if not 0.0 < middle < 1.0:
        raise InputError(
            input_name,
            found=f"a schedule with sigma {middle:.4g} in the middle",
            wanted="that of a flow model",
            fix="Take the model sampling patch off, or use ModelSamplingSD3.",
        )
    return round(middle / (1.0 - middle), 9)  # sigma = shift * u / (1 + (shift - 1) * u) at u = 0.5


def file_of(model: Model) -> str | None:
    """The path of the file that a model was loaded from; None where the host does not know it."""
    match model.cached_patcher_init:
        case (_, (str(path), *_), *_):
            return path
        case _:
            return None


def expert_params(model: Model, wan: WanParams, cfg: float | None = None) -> ExpertParams:
    """What is known of a model that has the schedule of a flow, before it samples; ``cfg`` is that of its guider."""
    locks = [lock for lock in locks_in(model) if lock.stand_in]
    return ExpertParams(
        network=wan.network,
        input_channels=wan.input_channels,
        shift=shift_of(model),
        cfg=cfg,
        file=file_of(model),
        has_context_windows="context_handler" in model.model_options,
        portraits_for=frozenset(lock.stand_in.expert for lock in locks if lock.stand_in.expert),
        portrait_files=frozenset(lock.content[0] for lock in locks),
    )


def locks_in(model: Model) -> list[Lock]:
    """The identities that are locked into a model."""
    injections = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, INJECTION)
    return [lock for injection in injections for lock in injection.locks]
