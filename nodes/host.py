"""The one file that knows the host's own modules: folders, weights, devices, progress and interruption."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.ldm.wan.ar_model
import comfy.ldm.wan.model
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.patcher_extension
import comfy.sample
import comfy.samplers
import comfy.sd
import comfy.utils
import folder_paths
import latent_preview
import torch
from comfy.patcher_extension import WrappersMP

from ..wan_core.adapters.inject import NEGATIVE_UUIDS
from ..wan_core.errors import InputError

FACE_RECOGNITION = "face_recognition"
ID_ADAPTERS = "wan_id_adapters"
SYNCNET = "syncnet"

operations = comfy.ops.manual_cast

StateDict = dict[str, torch.Tensor]


# Folders and files


def register_model_folders() -> None:
    """Adds our model folders to the host's, keeping any path that the user's own configuration gave them."""
    for name in (FACE_RECOGNITION, ID_ADAPTERS, SYNCNET):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, _ = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, folder_paths.supported_pt_extensions)


def model_files(folder: str) -> list[str]:
    """The weight files in one of the host's model folders."""
    return folder_paths.get_filename_list(folder)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weight file that was read whole."""

    name: str  # as the user picked it
    path: str
    state_dict: StateDict
    metadata: dict[str, str]  # of a safetensors file; empty for other formats

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, hexadecimal; it reads the file again."""
        return file_sha256(self.path)


def load_weights(folder: str, name: str, *, input_name: str) -> WeightsFile:
    """Reads a weight file that the user picked by name; raises InputError when it is absent or cannot be read."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise InputError(
            input_name,
            found=repr(name),
            wanted=f"a weight file in models/{folder}",
            fix=f"Put the file into {folder_paths.get_folder_paths(folder)[0]} and refresh the page.",
        )
    try:
        state_dict, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
    except Exception as error:
        is_safetensors = name.lower().endswith((".safetensors", ".sft"))
        reason = error if is_safetensors else "it is damaged, or holds more than plain weights"
        raise InputError(
            input_name, found=f"{name!r}, which cannot be read ({reason})", wanted="a complete weight file",
            fix="Copy or download the file again, best as .safetensors.",
        ) from error
    require_sound_weights(state_dict, name, input_name)
    return WeightsFile(name=name, path=path, state_dict=state_dict, metadata=metadata or {})


def require_sound_weights(state_dict: dict[str, Any], name: str, input_name: str) -> None:
    """Raises InputError unless every value is a tensor without NaN or infinity."""
    for key, weight in state_dict.items():
        is_tensor = isinstance(weight, torch.Tensor)
        if is_tensor and (not weight.is_floating_point() or weight.itemsize == 1 or weight.isfinite().all()):
            continue
        raise InputError(
            input_name,
            found=f"{name!r}, whose {key} " + ("holds NaN or an infinity" if is_tensor else "is no weight"),
            wanted="a file of finite weights and nothing else",
            fix="Copy or download the file again.",
        )


def file_sha256(path: str) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


# Devices


@contextmanager
def on_device(network: torch.nn.Module) -> Iterator[torch.device]:
    """Loads a network through the host's memory management for as long as the block runs; gives its device."""
    patcher = comfy.model_patcher.ModelPatcher(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    comfy.model_management.load_models_gpu([patcher])
    yield patcher.load_device


def intermediate_device() -> torch.device:
    """Where the host wants tensors that travel between nodes."""
    return comfy.model_management.intermediate_device()


def intermediate_dtype() -> torch.dtype:
    """The floating-point type of tensors that travel between nodes."""
    return comfy.model_management.intermediate_dtype()


def free_bytes(device: torch.device) -> int:
    """The memory that is free on a device; for the CPU, the RAM that can be had without swapping."""
    return comfy.model_management.get_free_memory(device)


# Progress and interruption


def progress(total: int) -> Callable[[int], None]:
    """A callback that shows ``done`` of ``total`` on the node and raises when the user has cancelled."""
    bar = comfy.utils.ProgressBar(total)

    def report(done: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done)

    return report


# Wan models

Model = comfy.model_patcher.ModelPatcher


@dataclass(frozen=True, slots=True)
class WanSize:
    """The sizes of a Wan model that others have to fit."""

    network: str  # class name: WanModel for text and image to video, others for its relatives
    width_d: int
    blocks: int
    input_channels: int  # 16 for text to video, 36 for image to video
    text_d: int  # of the text embeddings that it reads


def wan_size(model: Model, *, input_name: str = "model") -> WanSize:
    """Measures a Wan model; raises InputError for any other kind, and for the causal one with its attention cache."""
    network = model.get_model_object("diffusion_model") if isinstance(model, Model) else model
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


def sigma_range(model: Model, start_percent: float, end_percent: float) -> tuple[float, float]:
    """The sigmas at two percents of the model's own schedule; the first is the larger one."""
    sampling = model.get_model_object("model_sampling")
    return float(sampling.percent_to_sigma(start_percent)), float(sampling.percent_to_sigma(end_percent))


def network_patcher(network: torch.nn.Module) -> Model:
    """How the host loads a network of ours; keep it as long as the network, or the host reports a memory leak."""
    return comfy.model_patcher.CoreModelPatcher(
        network,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


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


# Video autoencoders


@dataclass(frozen=True, slots=True)
class LoadedVae:
    """A VAE whose network can run now."""

    network: torch.nn.Module
    device: torch.device  # where the network computes
    dtype: torch.dtype  # what the network computes in
    to_pixels_: Callable[[torch.Tensor], torch.Tensor]  # the network's range -> [0, 1], in place


def vae_weight_shapes(vae: comfy.sd.VAE) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a VAE by name; empty when the host made no network of the file."""
    network = getattr(vae, "first_stage_model", None)
    return {} if network is None else {name: tuple(weight.shape) for name, weight in network.named_parameters()}


@contextmanager
def loaded_for_decoding(vae: comfy.sd.VAE, latent_shape: Sequence[int]) -> Iterator[LoadedVae]:
    """Loads a VAE through the host's memory management, with room to decode a latent of this shape."""
    with comfy.model_management.cuda_device_context(vae.device):
        comfy.model_management.load_models_gpu(
            [vae.patcher],
            memory_required=vae.memory_used_decode(latent_shape, vae.vae_dtype),
            force_full_load=vae.disable_offload,
        )
        yield LoadedVae(vae.first_stage_model, vae.device, vae.vae_dtype, vae.process_output)


# Sampling

SAMPLERS = comfy.samplers.SAMPLER_NAMES
SCHEDULERS = comfy.samplers.SCHEDULER_NAMES

Latent = dict[str, Any]
Conditioning = list[Any]
ModelOptions = dict[str, Any]


def schedule(model: Model, sampler_name: str, scheduler: str, steps: int, denoise: float) -> torch.Tensor:
    """The sigmas that the stock KSampler would use with these settings."""
    return comfy.samplers.KSampler(
        model, steps, model.load_device, sampler=sampler_name, scheduler=scheduler, denoise=denoise
    ).sigmas


def sampler_named(name: str) -> Any:
    """The stock sampler of that name."""
    return comfy.samplers.sampler_object(name)


def start_latent(model: Model, latent: Latent) -> torch.Tensor:
    """The latent as the model wants it (an empty one takes the model's shape); raises InputError if it cannot be."""
    samples = comfy.sample.fix_empty_latent_channels(
        model, latent["samples"], latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
    )
    channels = model.get_model_object("latent_format").latent_channels
    if not samples.is_nested and (samples.ndim != 5 or samples.shape[1] != channels or 0 in samples.shape):
        raise InputError(
            "latent_image",
            found=f"a latent of shape {list(samples.shape)}",
            wanted=f"[batch, {channels}, frames, height, width] for this model",
            fix="Use an empty latent for Wan video, or encode with the VAE that belongs to the model.",
        )
    if not samples.is_nested and not samples.isfinite().all():
        raise InputError(
            "latent_image", found="NaN or infinite values", wanted="finite values", fix="Check what made this latent."
        )
    return samples


def noise_for(samples: torch.Tensor, latent: Latent, seed: int) -> torch.Tensor:
    """The noise that the stock KSampler would start from."""
    return comfy.sample.prepare_noise(samples, seed, latent.get("batch_index"))


def preview_callback(model: Model, steps: int) -> Callable[[int, torch.Tensor, torch.Tensor, int], None]:
    """One progress bar with the host's live preview, called once a step."""
    return latent_preview.prepare_callback(model, steps)


def progress_bar_disabled() -> bool:
    """Whether the host runs without progress bars in its terminal."""
    return not comfy.utils.PROGRESS_BAR_ENABLED


def finished_latent(latent: Latent, samples: torch.Tensor) -> Latent:
    """The LATENT that leaves a sampler: a copy of the one that came in, with the sampled values."""
    out = {key: value for key, value in latent.items() if not key.startswith("downscale_ratio_")}
    return out | {"samples": samples.to(device=intermediate_device(), dtype=intermediate_dtype())}


@dataclass(frozen=True, slots=True)
class LazyGuider:
    """A stock guider that leaves its weights where they are until ``load`` is called.

    ``load`` may be called again after another model took the device; it also makes this patcher the current one, which
    matters when two models share their weights.
    """

    guider: comfy.samplers.CFGGuider
    load: Callable[[], None]


@contextmanager
def lazy_guider(
    model: Model, positive: Conditioning, negative: Conditioning, cfg: float
) -> Iterator[LazyGuider]:
    """A guider for one run of a model; outside the block it cannot load any more and holds nothing."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(positive, negative)
    guider.set_cfg(cfg)
    guider.model_options = comfy.model_patcher.create_model_options_clone(guider.model_options)
    put_off: list[Callable[[], None]] = []

    def prepare_later(
        prepare: Callable[..., Any], patcher: Any, shape: torch.Size, conds: dict[str, list], **settings: Any
    ) -> tuple[Any, dict[str, list], list]:
        as_given = {name: list(entries) for name, entries in conds.items()}
        loaded: list = []  # the host cleans up what is in here when the guider's run ends

        def load() -> None:
            loaded[:] = prepare(patcher, shape, as_given, **settings)[2]
            patcher.pre_run()

        put_off[:] = [load]
        return patcher.model, conds, loaded

    comfy.patcher_extension.add_wrapper_with_key(
        WrappersMP.PREPARE_SAMPLING, "wancast_lazy", prepare_later, guider.model_options, is_model_options=True
    )
    try:
        yield LazyGuider(guider, lambda: put_off[0]())
    finally:
        put_off.clear()


def same_schedule(a: Model, b: Model) -> bool:
    """Whether two models have the same shift, so that one schedule is right for both."""
    return sigma_range(a, 0.5, 0.5) == sigma_range(b, 0.5, 0.5)


def with_sampler_additions(own: ModelOptions, base: ModelOptions, given: ModelOptions) -> ModelOptions:
    """The model options ``own`` plus the guidance hooks that a sampler added to ``base`` to make ``given``."""
    hooks = "sampler_post_cfg_function"
    added = given.get(hooks, [])[len(base.get(hooks, [])) :]
    merged = own | {hooks: own.get(hooks, []) + added}
    if given.get("disable_cfg1_optimization") and not base.get("disable_cfg1_optimization"):
        merged["disable_cfg1_optimization"] = True
    return merged
