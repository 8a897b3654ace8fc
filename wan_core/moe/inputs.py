"""What a sampling run accepts from its sockets, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..errors import InputError

TEXT_FIX = "Connect a CLIP Text Encode node that uses the UMT5 text encoder of Wan."


def require_conditioning(conditioning: object, text_d: int, *, name: str) -> None:
    """Raises InputError unless every entry is text that the model can read: b n ``text_d``, finite."""
    if not isinstance(conditioning, list) or not conditioning:
        raise InputError(name, found=_kind(conditioning), wanted="CONDITIONING", fix=TEXT_FIX)
    for entry in conditioning:
        text = entry[0]  # b n d, or None where other parts of the entry say everything
        if text is None:
            continue
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


def require_latent(latent: object) -> None:
    """Raises InputError unless this is the host's LATENT."""
    if not isinstance(latent, Mapping) or "samples" not in latent:
        raise InputError(
            "latent_image", found=_kind(latent), wanted="LATENT", fix="Connect an empty latent for Wan video."
        )


def require_sigmas(sigmas: object) -> None:
    """Raises InputError unless this is the host's SIGMAS: a tensor of one axis."""
    if not isinstance(sigmas, Tensor) or sigmas.ndim != 1:
        found = f"a tensor of shape {list(sigmas.shape)}" if isinstance(sigmas, Tensor) else _kind(sigmas)
        raise InputError("sigmas", found=found, wanted="SIGMAS, one list of noise levels", fix="Connect a scheduler.")


def _kind(value: object) -> str:
    return f"{len(value)} items" if isinstance(value, (list, tuple)) else type(value).__name__
