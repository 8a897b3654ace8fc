"""What a sampling run accepts from its sockets, checked before anything is loaded."""

from __future__ import annotations

from torch import Tensor

from ..checks import is_latent, kind_of
from ..errors import InputError
from .split import SIGMA_TOLERANCE


def require_latent(latent: object) -> None:
    """Raises InputError unless this is the host's LATENT, of one part, with a noise mask of two axes or more if any."""
    if not is_latent(latent):
        raise InputError(
            "latent_image", found=kind_of(latent), wanted="LATENT", fix="Connect an empty latent for Wan video."
        )
    if latent["samples"].is_nested:
        require_one_part(len(latent["samples"].unbind()))
    mask = latent.get("noise_mask")
    if isinstance(mask, Tensor) and mask.ndim < 2:
        raise InputError(
            "latent_image",
            found=f"a noise mask of shape {list(mask.shape)}",
            wanted="[height, width], with frames and batch in front of it if they differ",
            fix="Set the mask with Set Latent Noise Mask.",
        )


def require_one_part(parts: int) -> None:
    """Raises InputError for a nested latent of the host, which holds several: of a video and its sound."""
    if parts != 1:
        raise InputError(
            "latent_image",
            found=f"a nested latent of {parts} parts, as of a video with its sound",
            wanted="the latent of one video, because Wan makes no sound",
            fix="Connect an empty latent for Wan video, or take the video out with Separate AV Latent.",
        )


def require_finite(latent: Tensor) -> None:
    """Raises InputError when a sampled latent holds NaN or an infinity."""
    if not latent.isfinite().all():
        raise InputError(
            "latent_image",
            found="NaN or infinite values in the sampled latent",
            wanted="finite values",
            fix="Take another sampler, lower cfg, or end the schedule further below sigma 1.",
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


def require_end(sigma: float) -> None:
    """Raises InputError for a run that ends as pure noise: the host divides what it samples by 1 - sigma of its end."""
    if sigma >= 1.0 - SIGMA_TOLERANCE:
        raise InputError(
            "sigmas",
            found=f"a run that ends at sigma {sigma:.6g}",
            wanted="an end below 1, because a latent of pure noise would be infinite",
            fix="End it at 0.999: to turn a schedule around, put Set First Sigma before Flip Sigmas.",
        )
