"""What the acting parts of an adapter need: of the identity, of the model, and of the inputs beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..checks import require_conditioning
from ..errors import InputError

TRAINED_FAMILY = "IR-SE"  # of recognisers; every Lynx is trained with facexlib's IR-SE50
AGAIN = "Encode the pictures again, with the faces found by a detector or by landmarks."

ReadPictures = Callable[[Tensor], Tensor]  # a model's VAE: pictures b h w 3 in [0, 1] -> its latents, b c 1 h w


class IdentitySpace(Protocol):
    """The recogniser that the vectors of an identity belong to."""

    @property
    def name(self) -> str: ...  # of the weight file
    @property
    def sha256(self) -> str: ...
    @property
    def family(self) -> str: ...


class LockableIdentity(Protocol):
    """An identity, as far as adapters read it."""

    @property
    def embeddings(self) -> Tensor: ...  # m 512, unit vectors; none where there is no space
    @property
    def reference_crop(self) -> Tensor | None: ...  # h w 3 in [0, 1], Lynx's picture
    @property
    def portrait(self) -> Tensor | None: ...  # h w 3 in [0, 1], Stand-In's picture
    @property
    def space(self) -> IdentitySpace | None: ...
    @property
    def content_sha256(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TargetParams:
    """The sizes of the Wan model that is to show an identity, and what else is known of it."""

    network: str  # module and class
    width_d: int
    blocks: int
    text_d: int  # of the text embeddings that it reads
    noise_level: str | None  # "high" or "low", as far as the name of its file can say; None where it cannot
    attention: str | None = None  # module and name of another node's attention override; None without one


# The model


def require_width(adapter_d: int, model_d: int) -> None:
    """Raises InputError unless the adapter was made for a model of this width."""
    if adapter_d != model_d:
        raise InputError(
            "adapter",
            found=f"an adapter for a model of width {adapter_d}",
            wanted=f"one for this model's width {model_d}",
            fix="Wan2.2 A14B is 5120 wide, TI2V-5B 3072, Wan2.1 1.3B 1536: use the adapter of the same model.",
        )


# The identity


def require_space(trained_sha256: str | None, space: IdentitySpace | None) -> None:
    """Raises InputError unless the identity has vectors of the recogniser that the adapter expects.

    An adapter that does not say which file it was trained with is a published Lynx: it takes every IR-SE recogniser.
    """
    if space is None:
        raise InputError(
            "identity",
            found="an identity without vectors",
            wanted="one with vectors, for Lynx",
            fix="Encode the pictures again with a recogniser, and with the faces found by a detector or by landmarks.",
        )
    if trained_sha256 is None and space.family != TRAINED_FAMILY:
        raise _other_space(f"{space.name} (family {space.family})", f"a recogniser of the family {TRAINED_FAMILY}")
    if trained_sha256 not in (None, space.sha256):
        raise _other_space(
            f"{space.name} (SHA-256 {space.sha256[:12]})",
            f"the recogniser that the adapter names, SHA-256 {trained_sha256[:12]}",
        )


def _other_space(found: str, wanted: str) -> InputError:
    return InputError(
        "identity",
        found=f"an identity of the recogniser {found}",
        wanted=wanted,
        fix="Encode the pictures again with the recogniser that the adapter was trained with.",
    )


def checked_portrait(identity: LockableIdentity) -> Tensor:
    """Stand-In's picture; raises InputError for an identity without one."""
    if identity.portrait is None:
        raise InputError(
            "identity",
            found="an identity without a portrait",
            wanted="one with a portrait, for Stand-In",
            fix=AGAIN,
        )
    return identity.portrait


def checked_reference(identity: LockableIdentity) -> Tensor:
    """Lynx's picture; raises InputError for an identity without one."""
    if identity.reference_crop is None:
        raise InputError(
            "identity",
            found="an identity of crops that were aligned already",
            wanted="one with a wider crop, for the reference layers",
            fix=AGAIN,
        )
    return identity.reference_crop


# Inputs beside them


def checked_reader(read_pictures: ReadPictures | None) -> ReadPictures:
    """The model's VAE; raises InputError where there is none."""
    if read_pictures is None:
        raise InputError(
            "vae",
            found="nothing",
            wanted="the model's VAE, for the pictures of the identity",
            fix="Connect Load VAE.",
        )
    return read_pictures


def checked_text(conditioning: object, text_d: int) -> Tensor:
    """The one text, 1 n d, that describes the reference picture; raises InputError for none, several or a bad one."""
    if conditioning is None:
        raise InputError(
            "ref_text",
            found="nothing",
            wanted="a text for the reference layers",
            fix='Connect CLIP Text Encode with "image of a face".',
        )
    require_conditioning(conditioning, text_d, name="ref_text")
    match conditioning:
        case [[Tensor() as text, *_]] if len(text) == 1:
            return text
    raise InputError(
        "ref_text", found="several texts", wanted="one", fix='Connect one CLIP Text Encode with "image of a face".'
    )
