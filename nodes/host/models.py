"""Wan models: their parameters, their schedule, and what is known of them before they sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import comfy.ldm.wan.ar_model
import comfy.ldm.wan.model
import comfy.model_patcher
from comfy.patcher_extension import WrappersMP

from ...wan_core.adapters.inject import INJECTION
from ...wan_core.adapters.lock import Lock
from ...wan_core.errors import InputError, quoted
from ...wan_core.moe import Conditions, ExpertParams
from ...wan_core.weights import level_in_name

NETWORK = "diffusion_model"  # the name of its network in a model of the host
TWO_IN_ONE = "wancast_two_in_one"  # names the wrapper of a model that stands for two

# What the host's classes for Wan read of conditions, beside what their networks have places for.
OWN_CONDITIONS: dict[str, frozenset[str]] = {
    "WanModel": frozenset(),
    "VaceWanModel": frozenset({"vace_frames"}),
    "CameraWanModel": frozenset({"camera_conditions"}),
    "WanModel_S2V": frozenset({"audio_embed", "control_video", "reference_latents", "reference_motion"}),
    "HumoWanModel": frozenset({"audio_embed", "reference_latents"}),
    "AnimateWanModel": frozenset({"face_video_pixels", "pose_video_latent"}),
    "SCAILWanModel": frozenset({"pose_video_latent", "reference_latents"}),
    "SCAIL2WanModel": frozenset({"pose_video_latent", "reference_latents"}),
    "WanDancerModel": frozenset({"audio_embed"}),
}
NO_PICTURE = ("HumoWanModel", "SCAILWanModel", "SCAIL2WanModel")  # their other input channels are for something else

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
        origin = "" if self.module.startswith("comfy.") else f" from {quoted(self.module)}"
        return (
            f"a {self.network}{origin} of {self.blocks} blocks of width {self.width_d}, "
            f"{self.input_channels} input channels and text of width {self.text_d}"
        )


def wan_params(model: Model, *, input_name: str = "model") -> WanParams:
    """Measures a Wan model; raises InputError for any other kind, and for the causal one with its attention cache."""
    network = network_of(model) if isinstance(model, Model) else model
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


def network_of(model: Model) -> Any:
    """The network that a model samples with; of a compiled one, what it was compiled from."""
    network = model.get_model_object(NETWORK)
    return getattr(network, "_orig_mod", network)


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


def level_of(model: Model) -> str | None:
    """The noise level, "high" or "low", that the name of a model's file says; None of weights that are not all its."""
    loaded = model.object_patches_backup.get(NETWORK, model.model.diffusion_model)
    patches = (patch for several in model.patches.values() for patch in several)
    is_replaced = network_of(model) is not getattr(loaded, "_orig_mod", loaded)
    return None if is_replaced or any(map(mixes_weights, patches)) else level_in_name(file_of(model))


def mixes_weights(patch: Sequence[Any]) -> bool:
    """Whether a patch of the host puts a weight of another model beside or in place of the own one; a LoRA does not."""
    strength, value, own_strength, *_ = patch
    match value:
        case ["set", _]:
            return True  # whatever its strength
        case list() | ["model_as_lora", _]:
            return strength != 0.0
    return strength != 0.0 and own_strength != 1.0


def expert_params(
    model: Model, wan: WanParams, cfg: float | None = None, conditions: tuple[Conditions, ...] = ()
) -> ExpertParams:
    """What is known of a model that has the schedule of a flow, before it samples; the rest is of its guider."""
    locks = [lock for lock in locks_in(model) if lock.stand_in]
    return ExpertParams(
        network=wan.network,
        input_channels=wan.input_channels,
        shift=shift_of(model),
        cfg=cfg,
        file=file_of(model),
        level=level_of(model),
        has_context_windows="context_handler" in model.model_options,
        portraits_for=frozenset(lock.stand_in.expert for lock in locks if lock.stand_in.expert),
        portrait_files=frozenset(lock.content[0] for lock in locks),
        reads=conditions_read_by(model),
        conditions=conditions if wan.network in OWN_CONDITIONS else (),  # nobody knows what a newer class reads
    )


def conditions_read_by(model: Model) -> frozenset[str]:
    """The names of the conditions beside text that a Wan model reads."""
    network = network_of(model)
    name = type(network).__name__
    has_place = {
        "concat_latent_image": network.in_dim > model.model.latent_format.latent_channels and name not in NO_PICTURE,
        "clip_vision_output": network.img_emb is not None,
        "reference_latents": network.ref_conv is not None,
    }
    return OWN_CONDITIONS.get(name, frozenset()) | {condition for condition, is_read in has_place.items() if is_read}


def locks_in(model: Model) -> list[Lock]:
    """The identities that are locked into a model."""
    injections = model.get_wrappers(WrappersMP.DIFFUSION_MODEL, INJECTION)
    return [lock for injection in injections for lock in injection.locks]
