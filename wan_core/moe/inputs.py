"""What a sampling run accepts from its sockets, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ..checks import NUMBERS, WHOLE_NUMBERS, is_latent, is_plain_tensor, kind_of
from ..errors import InputError, quoted
from .split import SIGMA_TOLERANCE

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")  # of what an empty latent was made for
LARGEST_RATIO = 128
LARGEST_BATCH_INDEX = 9999  # noise is made for every index up to the largest


def require_latent(latent: object) -> None:
    """Raises InputError unless this is the host's LATENT of one video, with what makes its noise and its size if any.

    Its values and its noise mask are for ``require_start``.
    """
    if not is_latent(latent):
        raise InputError(
            "latent_image", found=kind_of(latent), wanted="LATENT", fix="Connect an empty latent for Wan video."
        )
    samples = latent["samples"]
    require_video(samples)
    indices = latent.get("batch_index")
    if indices is not None and not is_batch_index(indices, samples.shape[:1]):
        raise InputError(
            "latent_image",
            found=f"a batch_index of {kind_of(indices)}",
            wanted=f"a number from 0 to {LARGEST_BATCH_INDEX} for each clip",
            fix="Take the clip with Latent From Batch.",
        )
    for name in RATIOS:
        ratio = latent.get(name)
        if ratio is not None and not (isinstance(ratio, NUMBERS) and 1 <= ratio <= LARGEST_RATIO):
            raise InputError(
                "latent_image",
                found=f"a {name} of {quoted(ratio)}",
                wanted=f"a number from 1 to {LARGEST_RATIO}",
                fix="Connect an empty latent for Wan video.",
            )


def require_video(samples: Any) -> None:
    """Raises InputError unless the samples of a LATENT are one tensor of real numbers."""
    if samples.is_nested:
        raise nested_latent(len(samples.unbind()))
    if not is_real(samples):
        raise InputError(
            "latent_image",
            found=f"samples of {element_of(samples)}",
            wanted="real numbers in floating point",
            fix="Connect an empty latent for Wan video.",
        )


def nested_latent(parts: int) -> InputError:
    """The error for a nested latent of the host, which is made for several parts: of a video and its sound."""
    return InputError(
        "latent_image",
        found=f"a nested latent of {parts} part{'s' if parts != 1 else ''}, as of a video with its sound",
        wanted="the latent of one video, because Wan makes no sound",
        fix="Connect an empty latent for Wan video, or take the video out with Separate AV Latent.",
    )


def is_batch_index(indices: object, batch: Sequence[int]) -> bool:
    """Whether it numbers the clips of a batch, each as it was in the batch that it was taken from."""
    return (
        isinstance(indices, (list, tuple))
        and batch == (len(indices),)
        and all(isinstance(index, WHOLE_NUMBERS) and 0 <= index <= LARGEST_BATCH_INDEX for index in indices)
    )


def is_real(values: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor of numbers in floating point, all of them in memory."""
    return is_plain_tensor(values) and values.dtype in FLOATS


def element_of(values: object) -> str:
    """What a tensor is made of, or else what the value is."""
    if isinstance(values, Tensor):
        return f"{values.dtype} ({values.layout}, {values.device.type})"
    return kind_of(values)


def require_start(latent: Any, mask: object) -> None:
    """Raises InputError unless a latent (b c t h w) has finite numbers and its noise mask, if any, fits over it."""
    require_video(latent)
    if not latent.isfinite().all():
        raise InputError(
            "latent_image", found="NaN or infinite values", wanted="finite values", fix="Check what made this latent."
        )
    if mask is not None and (fault := fault_of_mask(mask, latent.shape[1])):
        raise InputError(
            "latent_image",
            found=f"a noise mask of {fault}",
            wanted="finite [height, width], with frames and batch in front of it if they differ",
            fix="Set the mask with Set Latent Noise Mask.",
        )


def fault_of_mask(mask: object, channels: int) -> str | None:
    """What keeps the host from laying a noise mask over a latent of so many channels."""
    if not is_real(mask):
        return element_of(mask)
    if not 2 <= mask.ndim <= 5 or 0 in mask.shape or (mask.ndim == 5 and mask.shape[1] > channels):
        return f"shape {list(mask.shape)}"
    return None if mask.isfinite().all() else "NaN or infinite values"


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
    if not is_real(sigmas) or sigmas.ndim != 1:
        found = f"a tensor of shape {list(sigmas.shape)}" if is_real(sigmas) else element_of(sigmas)
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


def require_run(sigmas: Sequence[float]) -> None:
    """Raises InputError for a run whose step starts without noise, or that ends as pure noise.

    Solvers divide by the sigma at which a step starts, and the host by 1 - sigma of the end.
    """
    *starts, end = sigmas
    if 0.0 in starts:
        raise InputError(
            "sigmas",
            found=f"step {starts.index(0.0) + 1} of {len(starts)} that starts at sigma 0",
            wanted="a start above 0, because there is no noise to take off",
            fix="Let the schedule end at its first 0, or start it at 0.0001 to turn it around.",
        )
    if end >= 1.0 - SIGMA_TOLERANCE:
        raise InputError(
            "sigmas",
            found=f"a run that ends at sigma {end:.6g}",
            wanted="an end below 1, because a latent of pure noise would be infinite",
            fix="End it at 0.999: to turn a schedule around, put Set First Sigma before Flip Sigmas.",
        )
