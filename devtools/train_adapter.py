"""Trains an identity adapter for one expert of Wan2.2 on your own clips: python -m devtools.train_adapter --help

What you need
  Clips of many persons, two or more of each from different takes: a folder a person, in it videos and, beside each, a
  .txt file of the same name with its caption. The caption says what the clip shows, and of the person only what a
  prompt will say. Each clip shows its person alone, or larger than others at the beginning. A hundred persons teach it
  faces of their kind; published adapters have seen millions. Have the consent of whom you train on.
  The expert as it is sampled with (bf16, fp16 or scaled fp8), the Wan2.1 VAE, the UMT5 text encoder, the recogniser
  that IdentityEncode will use, and an insightface pack that finds faces. All stay as they are.
  Memory, by calculation: the expert, 20 bytes for each of the adapter's 0.5 billion numbers, and for 81 frames of
  832x480 14 GB of kept activations. That is about 40 GB of a GPU with an expert in fp8, 55 GB in bf16, without a
  supervisor. Fewer frames, a smaller size and a smaller adapter need less.

What comes out
  One safetensors file with both parts of Lynx lite's form, for ip_layers of WanCast Adapter Loader (resampler stays at
  none). It names its recogniser, and ID Lock refuses identities of another one. Train one file for each expert: each
  learns on its own side of the boundary. A run that was stopped goes on when the same command is given again, also
  with more --steps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wan_core.adapters import AdapterFile, load_adapter
from wan_core.adapters.adapter import AdapterNetwork
from wan_core.adapters.fit import require_width
from wan_core.adapters.settings import EVERY_BLOCK, parse_blocks
from wan_core.errors import InputError, UserError, inputs_renamed, quoted
from wan_core.identity import Recogniser, ir_recogniser
from wan_core.training import (
    Dropout,
    FitPlan,
    FrozenExpert,
    LiteSize,
    ObjectivePlan,
    Supervisor,
    range_of,
    require_other_space,
)
from wan_core.weights import level_in_name

from .adapter_clips import ClipEncoders, EncodedClips, find_clips, insightface_detector
from .adapter_options import BOTH, checked_form, parser, require_files
from .adapter_training import AdapterTraining, fit_adapter
from .host_modules import host_module
from .kept_fit import KeptFit
from .shell import Problem

T2V, I2V = 16, 36  # input channels
BOUNDARIES = {T2V: 0.875, I2V: 0.9}  # sigma, where Wan2.2 changes the expert
SHIFTS = {T2V: 12.0, I2V: 5.0}  # that Wan2.2 is sampled with
NO_FACTS = {"out", "state", "clips", "faces", "steps", "keep_activations"}  # options that a state may be gone on with
SLOTS = ("ip_layers", "resampler")  # of an adapter's files
GIVEN_NOWHERE = 0.5  # grey: the frames that image to video is not given

Loader = Callable[[Path], Any]


@dataclass(frozen=True, slots=True)
class Loaders:
    """How the host's networks come from their files."""

    expert: Loader
    vae: Loader
    text_encoder: Loader


def host_loaders() -> Loaders:
    """The host's own loaders."""
    sd, utils = host_module("comfy.sd"), host_module("comfy.utils")
    return Loaders(
        expert=lambda path: sd.load_diffusion_model(str(path), disable_dynamic=True),
        vae=lambda path: sd.VAE(sd=utils.load_torch_file(str(path))),
        text_encoder=lambda path: sd.load_clip([str(path)], clip_type=sd.CLIPType.WAN),
    )


# Networks


@contextmanager
def recogniser_of(path: Path, input_name: str, device: torch.device) -> Iterator[Recogniser]:
    """A recogniser that gradients go through; raises InputError for another file."""
    if path.suffix.lower() == ".onnx":
        raise InputError(
            input_name,
            found=f"{quoted(path.name)}, which gradients do not go through",
            wanted="an IR or IR-SE recogniser in PyTorch's or safetensors' format",
            fix="Take facexlib's recognition_arcface_ir_se50.pth, or CurricularFace's IR-101.",
        )
    weights, _ = loaded(weights_and_metadata, path, input_name)
    digest = sha256(path.read_bytes()).hexdigest()

    def on_device(network: nn.Module) -> AbstractContextManager[torch.device]:
        network.to(device)
        return nullcontext(device)

    with (
        inputs_renamed(encoder=input_name),
        ir_recogniser(weights, name=path.name, sha256=digest, on_device=on_device) as recogniser,
    ):
        yield recogniser


def loaded(loader: Loader, path: Path, input_name: str) -> Any:
    """What a loader of the host makes of a file; raises InputError for what it cannot read, if memory does not lack."""
    try:
        return loader(path)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            input_name,
            found=f"{quoted(path.name)}, which ComfyUI cannot load ({type(error).__name__})",
            wanted="a whole file of this kind",
            fix="Name another file, or copy or download it again.",
        ) from error


def weights_and_metadata(path: Path) -> Any:
    """What lies in a weight file, as the host reads it."""
    return host_module("comfy.utils").load_torch_file(str(path), safe_load=True, return_metadata=True)


def require_fit(base: Any, vae: Any, text_encoder: Any) -> None:
    """Raises InputError for a VAE or a text encoder of another model."""
    wanted = base.latent_format.latent_channels
    if getattr(vae, "latent_channels", None) != wanted or vae.first_stage_model is None:
        raise InputError("vae", found="a VAE of another model", wanted="the Wan2.1 VAE", fix="Wan2.2 A14B uses it too.")
    text_d = encoded_text(text_encoder, "").shape[-1]
    if text_d != base.diffusion_model.text_embedding[0].in_features:
        raise InputError(
            "text-encoder", found=f"text of width {text_d}", wanted="that of the expert", fix="Wan reads UMT5-XXL."
        )


def encoded_text(text_encoder: Any, caption: str) -> Tensor:
    """A caption as the expert reads it, n d."""
    return text_encoder.encode_from_tokens(text_encoder.tokenize(caption))[0].float()


def require_expert(model: Any) -> None:
    """Raises InputError unless a model is an expert that an adapter can be trained on."""
    network = model.model.diffusion_model
    plain = host_module("comfy.ldm.wan.model").WanModel
    if type(network) is not plain or network.img_emb is not None or network.in_dim not in BOUNDARIES:
        raise InputError(
            "expert",
            found=f"a {type(network).__name__}",
            wanted="text or image to video of Wan2.2, or text to video of Wan2.1",
            fix="Name a high-noise or low-noise file of Wan2.2 A14B.",
        )


def encoders_of(
    given: argparse.Namespace,
    base: Any,
    vae: Any,
    text_encoder: Any,
    recogniser: Recogniser,
    supervising: Recogniser | None,
) -> ClipEncoders:
    """The networks that make examples of clips, ``base`` the host's model around the expert."""

    def encode(frames: Tensor) -> Tensor:
        return base.process_latent_in(vae.encode(frames))[0].float()

    def first_frame_given(frames: Tensor, latents: Tensor) -> Tensor | None:
        if base.diffusion_model.in_dim == T2V:
            return None
        known = torch.full_like(frames, GIVEN_NOWHERE)
        known[:1] = frames[:1]
        is_unknown = torch.ones_like(latents[None, :1])
        is_unknown[:, :, :1] = 0
        place = {"noise": latents[None], "device": latents.device}
        return base.concat_cond(concat_latent_image=vae.encode(known), concat_mask=is_unknown, **place)[0].float()

    paths = (given.vae, given.text_encoder, *(given.faces.glob("*.onnx")))
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(paths)]
    spaces = [one.space.sha256 for one in (recogniser, supervising) if one is not None]
    return ClipEncoders(
        frames=encode,
        given=first_frame_given,
        text=partial(encoded_text, text_encoder),
        faces=insightface_detector(given.faces),
        recogniser=recogniser.embed_face,
        supervising=None if supervising is None else supervising.embed_face,
        names=repr((base.diffusion_model.in_dim, facts, spaces)),
    )


def supervisor_of(given: argparse.Namespace, supervising: Recogniser, base: Any, vae: Any) -> Supervisor:
    """What looks at the faces that the expert would make, through the VAE's own network."""
    network = vae.first_stage_model.requires_grad_(False)

    def decode(latents: Tensor) -> Tensor:
        frames = network.decode(base.process_latent_out(latents).to(vae.vae_dtype))  # b 3 f h w
        return (frames.float() / 2 + 0.5).movedim(1, -1)

    is_given_first = base.diffusion_model.in_dim == I2V
    return Supervisor(
        decode,
        supervising.embed_face,
        weight=given.identity_weight,
        below_sigma=given.identity_below,
        latents=2 if is_given_first else 1,  # the first frame that is not given
    )


def adapter_of(paths: Sequence[Path] | None, base: Any, recogniser: Recogniser) -> AdapterNetwork | None:
    """The adapter of some files in fp32, to go on with it; None without files.

    Raises InputError for another kind, and for one of another model or of another recogniser.
    """
    if not paths:
        return None
    if len(paths) > len(SLOTS):
        raise InputError("start", found=f"{len(paths)} files", wanted="one or two", fix="Name IP layers and resampler.")
    files = {}
    for slot, path in zip(SLOTS[: len(paths)], paths, strict=True):
        state_dict, metadata = loaded(weights_and_metadata, path, "start")
        files[slot] = AdapterFile(path.name, state_dict, metadata or {})
    with inputs_renamed(ip_layers="start", resampler="start", adapter="start"):
        adapter = load_adapter(files, content_sha256="", operations=nn, make_patcher=lambda network: None)
        require_width(adapter.width_d, base.diffusion_model.dim)
        parse_blocks(EVERY_BLOCK, adapter_blocks=adapter.blocks, model_blocks=len(base.diffusion_model.blocks))
    if adapter.space_sha256 not in (None, recogniser.space.sha256):
        raise InputError(
            "start",
            found=f"an adapter of the recogniser with SHA-256 {quoted(adapter.space_sha256[:12])}",
            wanted=f"one of {quoted(recogniser.space.name)} ({recogniser.space.sha256[:12]})",
            fix="Name the recogniser that it was trained with.",
        )
    return adapter.network.float()


# The command


def run(given: argparse.Namespace, loaders: Callable[[], Loaders]) -> None:
    """Checks everything, encodes what is not encoded yet, and trains; raises UserError for what cannot be used."""
    form, clips = checked_form(given), find_clips(given.clips)
    require_files(given)
    management = host_module("comfy.model_management")
    device = management.get_torch_device()
    with ExitStack() as stack:
        recogniser = stack.enter_context(recogniser_of(given.recogniser, "recogniser", device))
        supervising = None
        if given.supervisor is not None:
            supervising = stack.enter_context(recogniser_of(given.supervisor, "supervisor", device))
            require_other_space(supervising.space.sha256, recogniser.space.sha256)
        load = loaders()
        model, vae = loaded(load.expert, given.expert, "expert"), loaded(load.vae, given.vae, "vae")
        text_encoder = loaded(load.text_encoder, given.text_encoder, "text-encoder")
        require_expert(model)
        base = model.model
        require_fit(base, vae, text_encoder)
        training, start = training_of(given, base, recogniser), adapter_of(given.start, base, recogniser)
        folder = given.state or given.out.with_suffix(".training")
        with torch.no_grad():
            encoders = encoders_of(given, base, vae, text_encoder, recogniser, supervising)
            encoded = EncodedClips(folder / "clips", clips, form, encoders)
        management.unload_all_models()
        management.load_models_gpu([model] if supervising is None else [model, vae.patcher], force_full_load=True)
        fit_adapter(
            training,
            FrozenExpert(
                base.diffusion_model.requires_grad_(False),
                base.get_dtype_inference(),
                has_checkpoints=not given.keep_activations,
            ),
            encoded,
            KeptFit(folder, given.out.stem, given.steps, facts_of(given, encoded)),
            device=device,
            start=start,
            supervisor=None if supervising is None else supervisor_of(given, supervising, base, vae),
        )
    sys.stdout.write(f"{given.out}: for ip_layers of WanCast Adapter Loader\n")


def facts_of(given: argparse.Namespace, clips: EncodedClips) -> dict[str, str]:
    """What a state is of: every option that changes what is learnt, files by name and size, and the clips."""
    options = {name: value for name, value in vars(given).items() if name not in NO_FACTS}
    files = "".join(file.name for file in clips.files)
    return {name: fact_of(value) for name, value in options.items()} | {"clips": sha256(files.encode()).hexdigest()}


def fact_of(value: object) -> str:
    """An option as text."""
    match value:
        case Path():
            return f"{value.name}, {value.stat().st_size} bytes"
        case list():
            return "; ".join(map(fact_of, value))
    return str(value)


def training_of(given: argparse.Namespace, base: Any, recogniser: Recogniser) -> AdapterTraining:
    """What the options say, with what the expert says where they do not; raises InputError for what cannot be."""
    if given.out.suffix != ".safetensors" or given.out.is_dir():
        raise InputError("out", found=quoted(given.out.name), wanted="a .safetensors file", fix="Name it so.")
    channels = base.diffusion_model.in_dim
    side = given.side or level_in_name(str(given.expert))
    if side is None:
        raise InputError(
            "side", found=f"no level in the name {quoted(given.expert.name)}", wanted="high, low or both", fix="Say it."
        )
    boundary = BOUNDARIES[channels] if given.boundary is None else given.boundary
    shift = SHIFTS[channels] if given.shift is None else given.shift
    with inputs_renamed(resampler_d="resampler-width"):
        size = LiteSize(given.tokens, given.token_width, given.resampler_width, given.resampler_depth)
    return AdapterTraining(
        size=size,
        objective=ObjectivePlan(
            range_of(None if side == BOTH else side, boundary, shift),
            given.batch,
            Dropout(given.drop_identity, given.drop_text, given.drop_both),
            given.face_weight,
        ),
        fit=FitPlan(
            given.steps,
            given.learning_rate,
            warm_up_steps=given.warm_up,
            accumulate=given.accumulate,
            ema_decay=given.ema,
            precision=given.precision,
            seed=given.seed,
        ),
        space_sha256=recogniser.space.sha256,
        out=given.out,
    )


def main(arguments: Sequence[str] | None = None, loaders: Callable[[], Loaders] = host_loaders) -> int:
    """The command; 2 where something that it was given cannot be used."""
    try:
        run(parser(str(__doc__)).parse_args(arguments), loaders)
    except (UserError, Problem) as error:
        sys.stderr.write(f"train_adapter: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
