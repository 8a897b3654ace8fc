"""Where in the video and when an identity acts: masks and frame weights as one number for each video token.

A token is 16 x 16 px of one latent frame; latent frame 0 shows pixel frame 0, latent frame t the four up to 4 * t.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

TOKEN_PX = 16
FRAMES_PER_LATENT = 4
ASPECT_TOLERANCE = 0.05  # of a mask's aspect ratio against the video's
PAIR = re.compile(r"(\d+)\s*:\s*(\d+(?:\.\d*)?|\.\d+)")

Keyframes = tuple[tuple[int, float], ...]  # (pixel frame, weight), frames ascending


@dataclass(frozen=True, slots=True)
class Grid:
    """The video tokens of one forward pass, without the ones that a model adds in front or behind."""

    latents: int  # latent frames
    rows: int
    columns: int

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.latents * self.rows * self.columns


# Frame weights


def parse_frame_weights(text: str) -> Keyframes:
    """Reads "0:1, 40:0.5", weights by pixel frame; an empty text gives none. Raises InputError for anything else."""
    if not isinstance(text, str):
        raise _bad_weights(repr(text), 'a text like "0:1, 40:0.5"')
    keyframes = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = PAIR.fullmatch(part)
        if not match:
            raise _bad_weights(repr(part), 'frame and weight, as in "0:1, 40:0.5"')
        keyframes.append((int(match[1]), float(match[2])))
    frames = [frame for frame, _ in keyframes]
    if frames != sorted(set(frames)):
        raise _bad_weights(f"the frames {', '.join(map(str, frames))}", "each frame once, in rising order")
    return tuple(keyframes)


def _bad_weights(found: str, wanted: str) -> InputError:
    return InputError("frame_weights", found=found, wanted=wanted, fix="Leave it empty for the same weight throughout.")


def pixel_frames(latent: int) -> range:
    """The pixel frames that a latent frame shows."""
    return range(max(0, FRAMES_PER_LATENT * (latent - 1) + 1), FRAMES_PER_LATENT * latent + 1)


def latent_weights(keyframes: Keyframes, latents: int) -> list[float]:
    """The mean weight of the pixel frames of each latent frame.

    The weight at a pixel frame is linear between keyframes, constant before the first and after the last.
    """
    frames, weights = zip(*keyframes, strict=True)
    shown = [[float(np.interp(frame, frames, weights)) for frame in pixel_frames(latent)] for latent in range(latents)]
    return [math.fsum(own) / len(own) for own in shown]


# Masks


def token_mask(mask: Tensor, grid: Grid, size_px: tuple[int, int]) -> Tensor:
    """The largest value of a mask (f|1 h w) inside each token of the whole video, t h w; raises InputError if unfit.

    ``size_px`` is the video's height and width; the last tokens of an odd size reach beyond it.
    """
    frames = len(mask)
    _require_frames(frames, grid.latents)
    _require_aspect(mask.shape[1:], size_px, grid)
    rows = _largest_in_parts(mask.float(), 1, grid.rows, size_px[0])  # f|1 rows w
    spatial = _largest_in_parts(rows, 2, grid.columns, size_px[1])  # f|1 rows columns
    if frames == 1:
        return spatial.expand(grid.latents, -1, -1)
    return torch.stack([spatial[list(pixel_frames(latent))].amax(dim=0) for latent in range(grid.latents)])


def _largest_in_parts(mask: Tensor, axis: int, tokens: int, video_px: int) -> Tensor:
    """The largest value along an axis inside each token of 16 px, in a mask that shows ``video_px`` there."""
    mask_px, parts = mask.shape[axis], []
    for token in range(tokens):
        first = TOKEN_PX * token * mask_px // video_px
        last = min(-(-TOKEN_PX * (token + 1) * mask_px // video_px), mask_px)
        parts.append(mask.narrow(axis, first, last - first).amax(dim=axis))
    return torch.stack(parts, dim=axis)


def _require_frames(frames: int, latents: int) -> None:
    wanted = FRAMES_PER_LATENT * (latents - 1) + 1
    if frames not in (1, wanted):
        raise InputError(
            "mask",
            found=f"{frames} masks",
            wanted=f"1, or {wanted} as the video has frames",
            fix="Make as many masks as the video has frames, or one for all. A reference picture in the latent before "
            "the video counts as four frames.",
        )


def _require_aspect(mask_px: Sequence[int], size_px: tuple[int, int], grid: Grid) -> None:
    (height_px, width_px), (video_height_px, video_width_px) = mask_px, size_px
    too_small = height_px < grid.rows or width_px < grid.columns
    if too_small or abs(width_px / height_px * video_height_px / video_width_px - 1) > ASPECT_TOLERANCE:
        raise InputError(
            "mask",
            found=f"a mask of {width_px} x {height_px} px",
            wanted=f"the shape of the video, {video_width_px} x {video_height_px} px",
            fix="Make the mask as wide and high as the video.",
        )


# Both


def token_weights(mask: Tensor | None, keyframes: Keyframes, grid: Grid, size_px: tuple[int, int]) -> Tensor | None:
    """The weight of each token of the whole video, t h w, fp32; None where all are 1."""
    if mask is None and not keyframes:
        return None
    shape = (grid.latents, grid.rows, grid.columns)
    weights = torch.ones(shape) if mask is None else token_mask(mask, grid, size_px).cpu()
    if keyframes:
        weights = weights * torch.tensor(latent_weights(keyframes, grid.latents))[:, None, None]
    return weights


def without_excess(masks: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Token masks divided where they overlap, so that their sum is nowhere above 1; None stays as it is."""
    present = [mask for mask in masks if mask is not None]
    if not present:
        return list(masks)
    total = torch.stack(present).sum(dim=0).clamp(min=1.0)
    return [None if mask is None else mask / total for mask in masks]
