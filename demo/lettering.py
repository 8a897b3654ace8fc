"""Letters and inks of the demo's pictures."""

from __future__ import annotations

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Ink = tuple[int, int, int]

PAPER, INK, PALE, RULE = (252, 252, 250), (28, 30, 34), (104, 108, 114), (226, 226, 222)
LOCKED_INK, UNLOCKED_INK = (20, 122, 78), (178, 74, 24)


def letters(size_px: int) -> Font:
    """The font of all pictures, at a size."""
    return ImageFont.load_default(size=size_px)


def wrapped(text: str, font: Font, width_px: int) -> str:
    """Text in as many lines as a width asks for."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
