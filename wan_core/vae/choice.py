"""What is decoded as one, and in how many parts, by the choice of the user."""

from __future__ import annotations

from torch import Tensor

from ..errors import InputError
from .spec import RGB, VaeSpec


def tiling_of(choice: object) -> tuple[int, int]:
    """Rows and columns of a choice of the node; 0 and 0 leave it to the planner. Raises InputError for another one."""
    match choice:
        case None | {"tiling": "auto"}:
            return 0, 0
        case {"tiling": "whole frame"}:
            return 1, 1
        case {"tiling": "tiles", "rows": int(rows), "columns": int(columns)} if rows >= 1 and columns >= 1:
            return rows, columns
    raise InputError(
        "tiling", found=choice, wanted="auto, whole frame, or tiles with rows and columns", fix="Pick one in the node."
    )


def one_clip(latent: Tensor) -> Tensor:
    """The latent (1 z t h w) of one clip; raises InputError for a batch."""
    if len(latent) == 1:
        return latent
    raise InputError(
        "samples",
        found=f"a batch of {len(latent)} clips",
        wanted="one clip, because a video file holds one",
        fix="Pick one with Get Latent From Batch, or join them in time.",
    )


def require_rgb(spec: VaeSpec) -> None:
    """Raises InputError for a VAE that decodes an alpha channel too."""
    if spec.image_channels == RGB:
        return
    raise InputError(
        "vae",
        found="a VAE with an alpha channel",
        wanted="one of three colours, because the video has no alpha",
        fix="Decode with High Compression VAE Decode, and save the pictures with their alpha.",
    )
