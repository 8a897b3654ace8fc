"""Contact sheets for node previews: pictures with captions in rows, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .chart import BACKGROUND, FAINT_TEXT, TEXT

CELL_PX, GAP_PX, CAPTION_PX, LETTER_PX = 192, 12, 38, 13
FRAME_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One picture of a sheet."""

    picture: Tensor = field(repr=False)  # h w 3 in [0, 1]
    caption: str
    detail: str  # a second line
    colour: str = BACKGROUND  # of the frame around it


def contact_sheet(rows: Sequence[Sequence[Cell]]) -> Tensor:
    """Draws rows of pictures, of at least one, and returns them as an IMAGE: 1 h w 3 in [0, 1]."""
    columns = max(map(len, rows))
    width_px = GAP_PX + columns * (CELL_PX + GAP_PX)
    height_px = GAP_PX + len(rows) * (CELL_PX + CAPTION_PX + GAP_PX)
    image = Image.new("RGB", (width_px, height_px), BACKGROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=LETTER_PX)
    for row, cells in enumerate(rows):
        top = GAP_PX + row * (CELL_PX + CAPTION_PX + GAP_PX)
        for column, cell in enumerate(cells):
            left = GAP_PX + column * (CELL_PX + GAP_PX)
            draw.rectangle((left, top, left + CELL_PX - 1, top + CELL_PX - 1), fill=cell.colour)
            _paste(image, cell.picture, left + FRAME_PX, top + FRAME_PX, CELL_PX - 2 * FRAME_PX)
            draw.text((left, top + CELL_PX + 3), cell.caption, fill=TEXT, font=font)
            draw.text((left, top + CELL_PX + 3 + LETTER_PX + 3), cell.detail, fill=FAINT_TEXT, font=font)
    pixels = numpy.asarray(image, dtype=numpy.float32)  # h w 3
    return torch.from_numpy(pixels / 255.0).unsqueeze(0)


def _paste(image: Image.Image, picture: Tensor, left: int, top: int, side_px: int) -> None:
    """Puts a picture, as large as it gets, into the middle of a square."""
    pixels = (picture.clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy()  # h w 3
    scale = side_px / max(pixels.shape[:2])
    size = tuple(max(round(side * scale), 1) for side in (pixels.shape[1], pixels.shape[0]))
    shown = Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.LANCZOS)
    image.paste(shown, (left + (side_px - size[0]) // 2, top + (side_px - size[1]) // 2))
