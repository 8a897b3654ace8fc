"""What a sampling run accepts from its sockets, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ..errors import InputError
from .split import SIGMA_TOLERANCE

TEXT_FIX = "Connect a CLIP Text Encode node that uses the UMT5 text encoder of Wan."


def require_conditioning(conditioning: object, text_d: int, *, name: str) -> None:
    """Raises InputError unless every entry is text that the model can read: b n ``text_d``, finite."""
    if not isinstance(conditioning, list) or not conditioning:
        raise InputError(name, found=_kind(conditioning), wanted="CONDITIONING", fix=TEXT_FIX)
    for entry in conditioning:
        text = _text_of(entry, name)  # b n d
        if text.ndim != 3 or text.shape[-1] != text_d:
            raise InputError(
                name,
                found=f"text of shape {list(text.shape)}",
                wanted=f"[batch, tokens, {text_d}] for this model",
                fix=TEXT_FIX,
            )
        if not text.isfinite().all():
            raise InputError(
                name, found="NaN or infinite text values", wanted="finite values", fix="Load the text encoder again."
            )


def _text_of(entry: object, name: str) -> Tensor:
    match entry:
        case [Tensor() as text, dict()]:
            return text
    raise InputError(name, found=f"an entry that is {_kind(entry)}", wanted="[text, settings] entries", fix=TEXT_FIX)


def require_latent(latent: object) -> None:
    """Raises InputError unless this is the host's LATENT, with a noise mask of two axes or more if it has one."""
    if not isinstance(latent, Mapping) or not hasattr(latent.get("samples"), "is_nested"):
        raise InputError(
            "latent_image", found=_kind(latent), wanted="LATENT", fix="Connect an empty latent for Wan video."
        )
    mask = latent.get("noise_mask")
    if isinstance(mask, Tensor) and mask.ndim < 2:
        raise InputError(
            "latent_image",
            found=f"a noise mask of shape {list(mask.shape)}",
            wanted="[height, width], with frames and batch in front of it if they differ",
            fix="Set the mask with Set Latent Noise Mask.",
        )


def require_sigmas(sigmas: object) -> None:
    """Raises InputError unless this is the host's SIGMAS, a tensor of one axis, with a step and within [0, 1]."""
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1:
        found = f"a tensor of shape {list(sigmas.shape)}" if isinstance(sigmas, Tensor) else _kind(sigmas)
        raise InputError("sigmas", found=found, wanted="SIGMAS, one list of noise levels", fix="Connect a scheduler.")
    if len(sigmas) < 2:
        raise InputError(
            "sigmas", found=f"{len(sigmas)} values", wanted="at least 2 (one step)", fix="Raise steps or denoise."
        )
    outside = [sigma for sigma in sigmas.tolist() if not 0.0 <= sigma <= 1.0 + SIGMA_TOLERANCE]
    if outside:
        raise InputError(
            "sigmas", found=f"{outside[0]:.4g}", wanted="values from 0 to 1", fix="Use a scheduler for flow models."
        )


def checked_number(value: object, lowest: float, highest: float, *, name: str) -> float:
    """The number between ``lowest`` and ``highest``; raises InputError for anything else."""
    if not isinstance(value, (int, float)) or not lowest <= value <= highest:
        raise InputError(
            name, found=repr(value), wanted=f"a number from {lowest:g} to {highest:g}", fix="Set it in the node."
        )
    return value


def require_choice(value: object, choices: Sequence[str], *, name: str) -> None:
    """Raises InputError unless the value is one of the choices; a linked value may be anything."""
    if value not in choices:
        raise InputError(name, found=repr(value), wanted=f"one of {', '.join(choices)}", fix="Pick one in the node.")


def _kind(value: object) -> str:
    return f"{len(value)} items" if isinstance(value, (list, tuple)) else type(value).__name__
