"""What a sampling run accepts from its sockets, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..checks import kind_of
from ..errors import InputError
from .split import SIGMA_TOLERANCE


def require_latent(latent: object) -> None:
    """Raises InputError unless this is the host's LATENT, with a noise mask of two axes or more if it has one."""
    if not isinstance(latent, Mapping) or not hasattr(latent.get("samples"), "is_nested"):
        raise InputError(
            "latent_image", found=kind_of(latent), wanted="LATENT", fix="Connect an empty latent for Wan video."
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
        found = f"a tensor of shape {list(sigmas.shape)}" if isinstance(sigmas, Tensor) else kind_of(sigmas)
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
