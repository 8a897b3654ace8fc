"""Which Wan video autoencoder a set of weights is, read from their names and shapes alone.

Layouts: Wan-Video/Wan2.2, wan/modules/vae2_1.py and vae2_2.py. What the shapes cannot say and the kind does: the patch
of the decoder's head and how many latent frames the decoder takes in one call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..errors import InputError

Shapes = Mapping[str, Sequence[int]]

WANTED = "a Wan2.1 VAE (16 latent channels) or a Wan2.2 VAE (48 latent channels)"
FIX = "Load wan_2.1_vae.safetensors (for the 14B models) or wan2.2_vae.safetensors (for the 5B model) with Load VAE."

FAMILY_MARK = "decoder.middle.0.residual.0.gamma"
TINY_MARK = "decoder.22.bias"
DIFFUSERS_MARKS = ("decoder.up_blocks.", "decoder.mid_block.")
WAN22_MARK = "decoder.upsamples.0.upsamples.0.residual.2.weight"
RGB, RGBA = 3, 4


class WanVae(Protocol):
    """What decoding needs of a network: two modules under the host's names, and its weights by theirs."""

    conv2: Any  # 1 x 1 x 1 convolution, z -> z
    decoder: Any  # z -> image channels * patch**2

    def named_parameters(self) -> Iterable[tuple[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class Stage:
    """The residual blocks at one resolution of the decoder and the upsampling after them."""

    scale: int  # pixels of this stage per latent pixel, each way
    frames: int  # frames of this stage per latent frame, after the first
    blocks: tuple[tuple[int, int], ...]  # channels in and out of each residual block
    upsampled: int = 0  # channels that the upsampling hands on; 0: there is none
    doubles_time: bool = False  # whether the upsampling makes two frames of one

    @property
    def area(self) -> int:
        """Pixels of this stage per latent pixel."""
        return self.scale**2

    @property
    def width(self) -> int:
        """Channels that leave the blocks."""
        return self.blocks[-1][1]


@dataclass(frozen=True, slots=True)
class VaeParams:
    """What its caller has to know of one Wan VAE decoder."""

    kind: Literal["Wan2.1", "Wan2.2"]
    latent_channels: int  # z: 16 or 48
    image_channels: int  # 3, or 4 with alpha
    spatial_scale: int  # pixels per latent pixel, each way
    temporal_scale: int  # video frames per latent frame, after the first, which is one frame
    patch: int  # pixels, each way, that the decoder's head packs into channels
    chunk_latents: int  # latent frames in one decoder call, after the first
    cache_slots: int  # places in the decoder's causal cache: one per 3-D convolution
    middle: Stage = Stage(scale=1, frames=1, blocks=())  # what works on latent pixels before the stages
    stages: tuple[Stage, ...] = ()  # in the decoder's order

    def frames(self, latent_frames: int) -> int:
        """The number of video frames in a number (>= 1) of latent frames."""
        return self.temporal_scale * (latent_frames - 1) + 1

    def image_shape(self, latent_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """The shape of the IMAGE (b*f h w c) that a latent of shape b z t h w decodes to."""
        b, _, t, h, w = latent_shape
        return b * self.frames(t), h * self.spatial_scale, w * self.spatial_scale, self.image_channels


def detect_vae(shapes: Shapes) -> VaeParams:
    """The parameters by weight shapes and their names; raises InputError when they are not those of a Wan VAE."""
    if FAMILY_MARK not in shapes:
        raise _refusal(_stranger(shapes))
    is_wan22 = WAN22_MARK in shapes
    patch = 2 if is_wan22 else 1
    return VaeParams(
        kind="Wan2.2" if is_wan22 else "Wan2.1",
        latent_channels=_latent_channels(shapes),
        image_channels=_image_channels(shapes, patch),
        spatial_scale=patch * 2 ** _count(shapes, ".resample.1.weight"),
        temporal_scale=2 ** _count(shapes, ".time_conv.weight"),
        patch=patch,
        chunk_latents=1 if is_wan22 else 2,
        cache_slots=sum(name.startswith("decoder.") and len(shape) == 5 for name, shape in shapes.items()),
        middle=Stage(scale=1, frames=1, blocks=_blocks(shapes, _modules(shapes, "decoder.middle."))),
        stages=tuple(_stages(shapes)),
    )


def _stranger(shapes: Shapes) -> str:
    """What a VAE is that is none of Wan's two."""
    if not shapes:
        return "a VAE without weights"
    if TINY_MARK in shapes:
        return "a tiny autoencoder for previews (taew or lighttae), whose decoder is another one"
    if any(name.startswith(DIFFUSERS_MARKS) for name in shapes):
        return "a VAE with the weight names of diffusers, which ComfyUI does not read as a Wan VAE"
    return "a VAE that is not Wan's"


def _stages(shapes: Shapes) -> Iterator[Stage]:
    """The stages that the decoder's upsampling modules make; each ends with a module that resamples, or with the last.

    A module lies at decoder.upsamples.N (Wan2.1) or decoder.upsamples.STAGE.upsamples.N (Wan2.2).
    """
    scale = frames = 1
    pending: list[str] = []
    for module in _modules(shapes, "decoder.upsamples."):
        resampled = shapes.get(f"{module}.resample.1.weight")
        if resampled is None:
            pending.append(module)
            continue
        doubles_time = f"{module}.time_conv.weight" in shapes
        yield Stage(scale, frames, _blocks(shapes, pending), resampled[0], doubles_time)
        scale, frames, pending = 2 * scale, frames * (2 if doubles_time else 1), []
    yield Stage(scale, frames, _blocks(shapes, pending))


def _blocks(shapes: Shapes, modules: Iterable[str]) -> tuple[tuple[int, int], ...]:
    """The channels in and out of the residual blocks among some modules, of which there must be one."""
    weights = [shapes.get(f"{module}.residual.2.weight") for module in modules]
    blocks = tuple((weight[1], weight[0]) for weight in weights if weight is not None)
    if not blocks:
        raise _refusal("a damaged Wan VAE: its decoder lacks residual blocks")
    return blocks


def _modules(shapes: Shapes, prefix: str) -> list[str]:
    """The modules with numbered names below a prefix, in the order of their numbers."""
    numbered = re.compile(rf"{re.escape(prefix)}(\d+)(?:\.upsamples\.(\d+))?(?=\.)")
    found = {match[0]: match for match in map(numbered.match, shapes) if match}
    return sorted(found, key=lambda name: [int(number or 0) for number in found[name].groups()])


def _latent_channels(shapes: Shapes) -> int:
    z = _conv3d(shapes, "conv2.weight")[1]
    entry = _conv3d(shapes, "decoder.conv1.weight")[1]
    if entry != z:
        raise _refusal(f"a Wan VAE with {z} channels in conv2 but {entry} in decoder.conv1")
    return z


def _image_channels(shapes: Shapes, patch: int) -> int:
    head = _conv3d(shapes, "decoder.head.2.weight")[0]
    if head not in (RGB * patch**2, RGBA * patch**2):
        raise _refusal(f"a Wan VAE whose decoder ends in {head} channels, which is neither RGB nor RGBA")
    return head // patch**2


def _conv3d(shapes: Shapes, name: str) -> Sequence[int]:
    shape = shapes.get(name)
    if shape is None or len(shape) != 5:
        raise _refusal(f"a damaged Wan VAE: its {name} is {'missing' if shape is None else list(shape)}")
    return shape


def _count(shapes: Shapes, ending: str) -> int:
    return sum(name.startswith("decoder.upsamples.") and name.endswith(ending) for name in shapes)


def _refusal(found: str) -> InputError:
    return InputError("vae", found=found, wanted=WANTED, fix=FIX)
