"""Exact spatial tiles: the entry and the middle block see the whole frame, the rest of the decoder one tile at a time.

After the middle block, which alone mixes the whole picture, a pixel depends on 12.25 latent pixels to each side. So a
tile that decodes 13 more than it gives, and fewer only where the picture ends, gives the pixels of the whole frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from einops import rearrange
from torch import Tensor

from .blocks import FrameBox, StageModules, run_stages
from .cache import DecoderCache
from .params import VaeParams

HALO_LATENTS = 13


@dataclass(frozen=True, slots=True)
class Span:
    """One side of a tile, in latent pixels of the picture."""

    start: int  # what it gives: [start, stop)
    stop: int
    low: int  # what it decodes: [low, high)
    high: int

    def wanted(self, scale: int) -> slice:
        """What it gives as a part of what it decodes, in units of 1/scale latent pixel."""
        return slice((self.start - self.low) * scale, (self.stop - self.low) * scale)

    def place(self, scale: int) -> slice:
        """What it gives as a part of the picture, in units of 1/scale latent pixel."""
        return slice(self.start * scale, self.stop * scale)


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the picture that is decoded alone."""

    rows: Span
    columns: Span

    def cut(self, x: Tensor) -> Tensor:
        """What the tile decodes of a whole frame (... h w)."""
        return x[..., self.rows.low : self.rows.high, self.columns.low : self.columns.high]


def spans(size: int, parts: int, halo: int = HALO_LATENTS) -> list[Span]:
    """Cuts a side of ``size`` latent pixels into parts that differ by at most one; never more parts than pixels."""
    cuts = [size * i // min(parts, size) for i in range(min(parts, size) + 1)]
    return [Span(start, stop, max(0, start - halo), min(size, stop + halo)) for start, stop in pairwise(cuts)]


def tiles_of(height: int, width: int, rows: int, columns: int, halo: int = HALO_LATENTS) -> list[Tile]:
    """The tiles of a picture of height x width latent pixels, row by row."""
    return [Tile(row, column) for row in spans(height, rows, halo) for column in spans(width, columns, halo)]


def pictures(packed: Tensor, params: VaeParams) -> Tensor:
    """Frames f h w c of what the decoder's head gives for one clip (1 c*patch^2 f h w)."""
    return rearrange(packed, "1 (c r q) f h w -> f (h q) (w r) c", q=params.patch, r=params.patch)


def decode_tile(
    decoder: Any,
    stages: tuple[StageModules, ...],
    features: Sequence[Tensor],
    tile: Tile,
    cache: DecoderCache,
    params: VaeParams,
    frames: Sequence[Tensor],
) -> None:
    """Decodes one tile of some latent frames after the middle block (1 c 1 h w each) into its place in ``frames``.

    ``frames`` (1 h w c each) are as many as these latent frames become. The tile's cache goes on from its last segment.
    """
    waiting, scale = iter(frames), params.spatial_scale
    for feature in features:
        for packed in run_stages(decoder, stages, FrameBox(tile.cut(feature)), cache):  # 1 c*patch^2 1 h w
            picture = pictures(packed, params)
            target = next(waiting)[:, tile.rows.place(scale), tile.columns.place(scale)]
            target.copy_(picture[:, tile.rows.wanted(scale), tile.columns.wanted(scale)])
            del packed, picture  # before the next is decoded
