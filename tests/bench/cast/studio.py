"""The cast's networks in the host's own classes, and the pack's nodes around them, in this process."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from demo import world
from tests.bench import workbench

STEPS, CFG, SHIFT = 20, 2.0, 5.0  # of every film, as in the demo's graph
ENLARGED = 4  # times before faces are looked for: faces of 12 px are smaller than recognisers take
LOOKED_AT = 9  # frames of each film, evenly
FACE = {"face": "insightface pack", "pack": "cast_pack"}
RECOGNISER, SCORER = "cast_recogniser.safetensors", "cast_judge.onnx"
VAE, TEXT_ENCODER = "cast_vae.safetensors", "cast_umt5.safetensors"
FACE_FILES = ("det_cast.onnx", RECOGNISER)  # what an identity is made with
CONTROL = "cast_t2v_control.safetensors"
EXPERTS = {kind: [f"cast_{kind}_{level}.safetensors" for level in ("high", "low")] for kind in ("t2v", "i2v")}
ADAPTERS = {kind: [f"cast_lynx_{kind}_{level}.safetensors" for level in ("high", "low")] for kind in EXPERTS}
EXPERTS["control"] = [CONTROL, CONTROL]
NODES = {
    "IdentityEncode": "identity_encode",
    "WanCastAdapterLoader": "adapter_loader",
    "IDLock": "id_lock",
    "MoESampler": "moe_sampler",
    "HighCompressionVAEDecode": "high_compression_vae_decode",
}


@dataclass(frozen=True, slots=True)
class Held:
    """Who is locked, how strongly and where."""

    person: int  # of the test identities
    strength: float = 1.0
    side: str = "everywhere"  # or "left" or "right" half of the picture


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides a film beside its first frame."""

    caption: str
    seed: int
    clips: int = 1  # each of other noise
    held: tuple[Held, ...] = ()
    kind: str = "t2v"  # or "i2v" or "control"
    boundary_sigma: float | None = None  # None: the one that the experts were trained for

    @property
    def weights(self) -> tuple[str, ...]:
        """The files that decide its films."""
        locks = (*ADAPTERS[self.kind], *FACE_FILES) if self.held else ()
        return (*EXPERTS[self.kind], VAE, TEXT_ENCODER, *locks)


def missing_files(kind: str, models: Path) -> list[str]:
    """The files of a kind of film that are not in a models folder."""
    wanted = [models / "diffusion_models" / name for name in EXPERTS[kind]]
    wanted += [models / "wan_id_adapters" / name for name in ADAPTERS.get(kind, ())]
    return sorted({path.name for path in wanted if not path.is_file()})


class Studio:
    """Films, faces and numbers, as the nodes make them."""

    def __init__(self, models: Path, characters: Path) -> None:
        workbench.start_host_on_cpu()
        import comfy.utils
        import folder_paths

        import nodes

        comfy.utils.set_progress_bar_enabled(False)
        for folder in filter(Path.is_dir, models.iterdir()):
            folder_paths.add_model_folder_path(folder.name, str(folder), is_default=True)
        self.stock = nodes
        self.nodes = {name: getattr(workbench.pack_module(f"nodes.{NODES[name]}"), name) for name in NODES}
        self.nodes["IDLock"].locker = workbench.pack_module("nodes.host.locks").ModelLocker()
        self.library = workbench.pack_module("nodes.host.library").Library(str(characters))
        self.checking = workbench.pack_module("wan_core.identity.check")
        self.scorers = workbench.pack_module("nodes.host.scorers")
        self.loaded, self.last_experts = ExitStack(), []
        self.text, self.model = cache(self.encode_text), cache(self.load_model)
        self.adapter, self.identity = cache(self.load_adapter), cache(self.encode_identity)

    def run(self, node: str, **inputs: Any) -> Any:
        """The first output of a node of the pack."""
        return self.nodes[node].execute(**inputs).args[0]

    # What is loaded once

    @cached_property
    def vae(self) -> Any:
        return self.stock.VAELoader().load_vae(VAE)[0]

    @cached_property
    def clip(self) -> Any:
        from demo.host_nodes import WanCastDemoTextEncoder

        return WanCastDemoTextEncoder.execute(TEXT_ENCODER).args[0]

    def encode_text(self, prompt: str) -> Any:
        """The CONDITIONING of a prompt."""
        return self.stock.CLIPTextEncode().encode(self.clip, prompt)[0]

    def load_model(self, name: str) -> Any:
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3

        return ModelSamplingSD3().patch(*self.stock.UNETLoader().load_unet(name, "default"), SHIFT)[0]

    def load_adapter(self, name: str) -> Any:
        return self.run("WanCastAdapterLoader", ip_layers=name, resampler="none")

    def encode_identity(self, person: int) -> Any:
        """A test identity, encoded from its portrait."""
        portrait = as_image(world.portrait(world.person("test", person)).frames.numpy())
        face = {name: [value] for name, value in FACE.items()}
        return self.run("IdentityEncode", images=[portrait], encoder=[RECOGNISER], face=face)

    @cached_property
    def tools(self) -> tuple[Any, Any]:
        """The detector, and the second recogniser, which stays loaded."""
        tools = self.scorers.scoring_tools(SCORER, FACE, {"mode": "plain"})
        return tools.detector, self.loaded.enter_context(tools.scorer)

    # The library of characters

    def save_identity(self, person: int) -> str:
        """Saves a test identity as a character and returns what a workflow holds of it."""
        return self.library.save_new(uuid.uuid4().hex, self.identity(person)).reference

    def saved_identity(self, reference: str) -> Any:
        return self.library.load(reference, input_name="character").identity

    # What is made

    def experts(self, recipe: Recipe, saved: Any) -> list[Any]:
        """Both experts with the locks of a recipe."""
        experts = [self.model(name) for name in EXPERTS[recipe.kind]]
        for held in recipe.held:
            settings = {"strength": held.strength, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all"}
            settings |= {} if held.side == "everywhere" else {"mask": half_mask(held.side)}
            settings["identity"] = saved or self.identity(held.person)
            for level, name in enumerate(ADAPTERS[recipe.kind]):
                experts[level] = self.run("IDLock", model=experts[level], adapter=self.adapter(name), **settings)
        return experts

    def sample(self, recipe: Recipe, start: np.ndarray | None = None, saved: Any = None) -> torch.Tensor:
        """The latents of a recipe, b 16 t h w.

        ``start``: first frames, f h w 3 uint8, of image to video; ``saved``: an identity in place of the encoded one.
        """
        positive, negative = self.text(recipe.caption), self.text("")
        side, frames = world.SIZE_PX, world.FRAMES
        latent = {"samples": torch.zeros(recipe.clips, 16, (frames - 1) // 4 + 1, side // 8, side // 8)}
        if start is not None:
            from comfy_extras.nodes_wan import WanImageToVideo

            size = {"width": side, "height": side, "length": frames, "batch_size": recipe.clips}
            given = {"vae": self.vae, "start_image": as_image(start), **size}
            positive, negative, latent = WanImageToVideo.execute(positive, negative, **given).args
        high, low = experts = self.experts(recipe, saved)
        switch = {"switch": "sigma", "sigma": recipe.boundary_sigma} if recipe.boundary_sigma else {"switch": "auto"}
        run = {"seed": recipe.seed, "steps": STEPS, "cfg_high": CFG, "cfg_low": CFG, "denoise": 1.0, "switch": switch}
        given = {"positive": positive, "negative": negative, "latent_image": latent, "scheduler": "simple"}
        made = self.run("MoESampler", model_high=high, model_low=low, sampler_name="euler", **given, **run)
        self.last_experts = experts  # the host has them loaded until others take their place
        return made["samples"]

    def decode(self, latents: torch.Tensor) -> np.ndarray:
        """Films b f h w 3 uint8 of latents."""
        decoded = self.run("HighCompressionVAEDecode", samples={"samples": latents}, vae=self.vae)
        return (decoded.unflatten(0, (len(latents), -1)) * 255).round().to(torch.uint8).numpy()

    def encode(self, film: np.ndarray) -> torch.Tensor:
        """The latent 1 16 t h w of a film f h w 3 uint8."""
        return self.vae.encode(as_image(film))

    def check(self, films: Sequence[np.ndarray], people: Sequence[int]) -> Any:
        """What the identity check finds of test identities in films, scored by the second recogniser."""
        shots = tuple(
            self.scorers.checked_shot(enlarged(as_image(film)), f"clips.clip_{number}")
            for number, film in enumerate(films, start=1)
        )
        detector, scorer = self.tools
        cast, mode = tuple(map(self.identity, people)), self.checking.Plain(LOOKED_AT)
        request = self.checking.CheckRequest(shots, cast, mode=mode, detector=detector.label)
        return self.checking.check(request, find_faces=detector.detect, scorer=nullcontext(scorer))


def as_image(film: np.ndarray) -> torch.Tensor:
    """Frames f h w 3 uint8 as an IMAGE."""
    return torch.from_numpy(film).float() / 255


def enlarged(image: torch.Tensor) -> torch.Tensor:
    pixels = functional.interpolate(image.movedim(-1, 1), scale_factor=ENLARGED, mode="bicubic")
    return pixels.clamp(0, 1).movedim(1, -1)


def half_mask(side: str) -> torch.Tensor:
    """1 on one half of the picture: 1 h w."""
    is_right = torch.arange(world.SIZE_PX) >= world.SIZE_PX // 2
    return (is_right == (side == "right")).float().expand(1, world.SIZE_PX, -1)


def sha256_of_latents(latents: torch.Tensor) -> str:
    return hashlib.sha256(latents.float().contiguous().numpy().tobytes()).hexdigest()
