"""What is asked of the decoder, checked before any work begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, quoted
from .latent import video_latent
from .params import RGB, VaeParams, WanVae, detect_vae
from .plan import AUTO, Tiling


@dataclass(frozen=True, slots=True, eq=False)
class DecodeRequest:
    """A latent that the network can decode, and how; ``of`` makes one of what comes in."""

    network: WanVae = field(repr=False)
    params: VaeParams
    latent: Tensor = field(repr=False)  # b z t h w
    dtype: torch.dtype  # what the network computes in
    tiling: Tiling = AUTO
    bounded: bool = False  # no memory may grow with the clip; frames may then differ from the host's by rounding

    @classmethod
    def of(
        cls,
        network: WanVae,
        samples: Any,  # b z t h w, or of pictures b z h w; the host's nested latent too
        *,
        dtype: torch.dtype | None = None,  # None: that of its weights
        tiling: Tiling = AUTO,
        to_video: bool = False,  # one clip of three colours, as long as it may be
    ) -> DecodeRequest:
        """Raises InputError for a network that is no Wan VAE and for a latent that it cannot decode."""
        weights = dict(network.named_parameters())
        params = detect_vae({name: tuple(weight.shape) for name, weight in weights.items()})
        if to_video:
            _require_rgb(params)
        latent = video_latent(samples, params)
        if to_video:
            _require_one_clip(latent)
        own_dtype: torch.dtype = next(iter(weights.values())).dtype
        return cls(network, params, latent, dtype or own_dtype, tiling, bounded=to_video)

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """The shape of all frames together: b*f h w c."""
        return self.params.image_shape(self.latent.shape)


def tiling_of(choice: object) -> Tiling:
    """The tiling of a choice of the node; raises InputError for another one."""
    match choice:
        case None | {"tiling": "auto"}:
            return AUTO
        case {"tiling": "whole frame"}:
            return Tiling(rows=1, columns=1)
        case {"tiling": "tiles", "rows": int(rows), "columns": int(columns)} if rows >= 1 and columns >= 1:
            return Tiling(rows, columns)
    named = choice.get("tiling") if isinstance(choice, dict) else choice
    wanted = "auto, whole frame, or tiles with rows and columns"
    raise InputError("tiling", found=quoted(named), wanted=wanted, fix="Pick one in the node.")


def _require_one_clip(latent: Tensor) -> None:
    if len(latent) > 1:
        raise InputError(
            "samples",
            found=f"a batch of {len(latent)} clips",
            wanted="one clip, because a video file holds one",
            fix="Pick one with Get Latent From Batch, or join them in time.",
        )


def _require_rgb(params: VaeParams) -> None:
    if params.image_channels != RGB:
        raise InputError(
            "vae",
            found="a VAE with an alpha channel",
            wanted="one of three colours, because the video has no alpha",
            fix="Decode with High Compression VAE Decode, and save the pictures with their alpha.",
        )
