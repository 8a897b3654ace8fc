"""A contact sheet: what went in, frames of the film, and the plots, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

WIDTH_PX = 1280
MARGIN_PX = 16
CAPTION_PX = 28
BACKGROUND, INK = (250, 250, 248), (30, 30, 30)


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures of one height beside each other, under a caption."""

    caption: str
    pictures: Sequence[Image.Image]
    height_px: int


def film_frames(path: Path) -> list[Image.Image]:
    """All frames of a short video."""
    with av.open(str(path)) as container:
        return [frame.to_image() for frame in container.decode(video=0)]


def evenly(frames: Sequence[Image.Image], count: int) -> list[Image.Image]:
    """``count`` frames from the first to the last."""
    return [frames[round(i * (len(frames) - 1) / (count - 1))] for i in range(count)]


def contact_sheet(rows: Sequence[Row]) -> Image.Image:
    """The rows under each other; a row wider than the page is made smaller."""
    strips = [strip_of(row) for row in rows]
    height_px = MARGIN_PX + sum(strip.height + CAPTION_PX + MARGIN_PX for strip in strips)
    page = Image.new("RGB", (WIDTH_PX, height_px), BACKGROUND)
    draw, y = ImageDraw.Draw(page), MARGIN_PX
    for row, strip in zip(rows, strips, strict=True):
        draw.text((MARGIN_PX, y), row.caption, fill=INK, font=ImageFont.load_default(size=18))
        page.paste(strip, (MARGIN_PX, y + CAPTION_PX))
        y += CAPTION_PX + strip.height + MARGIN_PX
    return page


def strip_of(row: Row) -> Image.Image:
    """The pictures of a row, scaled to its height and then to the page's width if they need more."""
    scaled = [p.resize((p.width * row.height_px // p.height, row.height_px)) for p in row.pictures]
    gap_px = MARGIN_PX // 2
    strip = Image.new("RGB", (sum(p.width + gap_px for p in scaled) - gap_px, row.height_px), BACKGROUND)
    x = 0
    for picture in scaled:
        strip.paste(picture, (x, 0))
        x += picture.width + gap_px
    room_px = WIDTH_PX - 2 * MARGIN_PX
    return strip if strip.width <= room_px else strip.resize((room_px, strip.height * room_px // strip.width))
