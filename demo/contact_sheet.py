"""The contact sheet: the portrait, a row of shots with the lock, a row without it, and the likeness under each shot."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .lettering import INK, LOCKED_INK, PALE, PAPER, RULE, UNLOCKED_INK, Ink, letters, wrapped
from .takes import Shot, Take

WIDTH_PX, MARGIN_PX, GAP_PX = 1280, 32, 24
PORTRAIT_PX = 224
STRIP_FRAMES, STRIP_GAP_PX = 5, 4
TITLE_PX, TEXT_PX, SMALL_PX, FIGURE_PX = 34, 17, 15, 30  # sizes of letters
HEAD_PX, PROMPT_PX, FOOT_PX = 96, 96, 72  # heights: of the title, of the prompts, of what stands under a shot
BAR_PX = 6
MEASURE = "below each shot: the cosine of its faces to the portrait, by a recogniser that took no part"


def contact_sheet(portrait: Image.Image, shots: Sequence[Shot]) -> Image.Image:
    """The sheet, 1280 px wide: the portrait, and beside it one column a shot."""
    side_px = (WIDTH_PX - 2 * MARGIN_PX - PORTRAIT_PX - len(shots) * GAP_PX) // len(shots)
    row_px = side_px + STRIP_GAP_PX + strip_frame_px(side_px) + FOOT_PX
    first_row, second_row = HEAD_PX + PROMPT_PX, HEAD_PX + PROMPT_PX + row_px + GAP_PX
    page = Image.new("RGB", (WIDTH_PX, second_row + row_px + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN_PX, MARGIN_PX), f"One actor, {len(shots)} shots", INK, letters(TITLE_PX))
    draw.text((WIDTH_PX - MARGIN_PX, MARGIN_PX + TITLE_PX), MEASURE, PALE, letters(TEXT_PX), anchor="rs")
    for number, shot in enumerate(shots, start=1):
        x = WIDTH_PX - MARGIN_PX - (len(shots) - number + 1) * (side_px + GAP_PX) + GAP_PX
        prompt = wrapped(f"{number}  {shot.prompt}", letters(TEXT_PX), side_px)
        draw.multiline_text((x, HEAD_PX), prompt, INK, letters(TEXT_PX))
        paint_take(page, (x, first_row), shot.locked, side_px, LOCKED_INK)
        paint_take(page, (x, second_row), shot.unlocked, side_px, UNLOCKED_INK)
    page.paste(scaled(portrait, PORTRAIT_PX), (MARGIN_PX, first_row))
    below = first_row + PORTRAIT_PX + GAP_PX // 2
    draw.multiline_text((MARGIN_PX, below), "The portrait: all that\nthe lock gets to know", PALE, letters(TEXT_PX))
    name_row(draw, below + PROMPT_PX, "Locked", "IDLock on both experts", LOCKED_INK)
    name_row(draw, second_row, "Not locked", "the same prompts and\nseeds, without IDLock", UNLOCKED_INK)
    return page


def name_row(draw: ImageDraw.ImageDraw, y: int, title: str, text: str, ink: Ink) -> None:
    """What stands left of a row of shots."""
    draw.text((MARGIN_PX, y), title, ink, letters(FIGURE_PX))
    draw.multiline_text((MARGIN_PX, y + FIGURE_PX + MARGIN_PX // 2), text, PALE, letters(TEXT_PX))


def paint_take(page: Image.Image, corner: tuple[int, int], take: Take, side_px: int, ink: Ink) -> None:
    """One take from its corner down: its middle frame, a strip from first to last frame, its likeness and a bar."""
    draw, (x, y) = ImageDraw.Draw(page), corner
    page.paste(scaled(take.frames[len(take.frames) // 2], side_px), corner)
    y += side_px + STRIP_GAP_PX
    strip_px = strip_frame_px(side_px)
    for place, frame in enumerate(evenly(take.frames, STRIP_FRAMES)):
        page.paste(scaled(frame, strip_px), (x + place * (strip_px + STRIP_GAP_PX), y))
    y += strip_px + 2 * STRIP_GAP_PX
    draw.rectangle((x, y, x + side_px - 1, y + BAR_PX), RULE)
    draw.rectangle((x, y, x + round((side_px - 1) * max(0.0, take.likeness or 0.0)), y + BAR_PX), ink)
    y += BAR_PX + 2 * STRIP_GAP_PX
    draw.text((x, y), take.likeness_text, ink, letters(FIGURE_PX))
    draw.text((x + side_px, y + FIGURE_PX), take.faces_text, PALE, letters(SMALL_PX), anchor="rs")


def strip_frame_px(side_px: int) -> int:
    """The side of a frame in the strip under a frame of ``side_px``."""
    return (side_px - (STRIP_FRAMES - 1) * STRIP_GAP_PX) // STRIP_FRAMES


def scaled(frame: Image.Image, side_px: int) -> Image.Image:
    """A square frame at another size."""
    return frame.resize((side_px, side_px), Image.Resampling.LANCZOS)


def evenly(frames: Sequence[Image.Image], count: int) -> list[Image.Image]:
    """``count`` frames from the first to the last."""
    return [frames[round(i * (len(frames) - 1) / (count - 1))] for i in range(count)]
