"""The film: shot after shot, with the lock at the left and without it at the right, each shot twice."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from PIL import Image, ImageDraw
from torchvision.transforms.functional import pil_to_tensor

from wan_core.media.encoders import VideoFormat, encoder_for
from wan_core.media.sink import VideoSink

from .lettering import INK, LOCKED_INK, PAPER, UNLOCKED_INK, letters, wrapped
from .takes import Shot

FPS = 16
SIDE_PX, MARGIN_PX, CAPTION_PX, PROMPT_PX = 384, 16, 36, 64  # of a picture; around it; heights of the captions
TEXT_PX = 18  # size of letters
TIMES_SHOWN = 2
WIDTH_PX, HEIGHT_PX = 2 * SIDE_PX + 3 * MARGIN_PX, PROMPT_PX + SIDE_PX + CAPTION_PX

assert WIDTH_PX % 2 == HEIGHT_PX % 2 == 0, "H.264 halves the colours"


def film_frames(shots: Sequence[Shot]) -> list[Image.Image]:
    """All pictures of the film."""
    frames = []
    for number, shot in enumerate(shots, start=1):
        card = title_card(number, shot)
        pairs = zip(shot.locked.frames, shot.unlocked.frames, strict=True)
        frames += [side_by_side(card, *pair) for pair in pairs] * TIMES_SHOWN
    return frames


def title_card(number: int, shot: Shot) -> Image.Image:
    """What stays the same while a shot runs: its prompt above, and below each picture what it is."""
    card = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), PAPER)
    draw, font = ImageDraw.Draw(card), letters(TEXT_PX)
    prompt = wrapped(f"{number}  {shot.prompt}", font, WIDTH_PX - 2 * MARGIN_PX)
    draw.multiline_text((MARGIN_PX, PROMPT_PX // 2), prompt, INK, font, anchor="lm")
    lanes = (("locked", shot.locked, LOCKED_INK), ("not locked", shot.unlocked, UNLOCKED_INK))
    for place, (name, take, ink) in enumerate(lanes):
        x = MARGIN_PX + place * (SIDE_PX + MARGIN_PX)
        text = f"{name}: likeness {take.likeness_text}"
        draw.text((x, HEIGHT_PX - CAPTION_PX // 2), text, ink, font, anchor="lm")
    return card


def side_by_side(card: Image.Image, locked: Image.Image, unlocked: Image.Image) -> Image.Image:
    """One picture of the film."""
    page = card.copy()
    for place, frame in enumerate((locked, unlocked)):
        large = frame.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        page.paste(large, (MARGIN_PX + place * (SIDE_PX + MARGIN_PX), PROMPT_PX))
    return page


def write_film(shots: Sequence[Shot], path: Path) -> None:
    """Writes the film as an mp4, over what was there."""
    frames = film_frames(shots)
    encoder = encoder_for(VideoFormat(quality=14), WIDTH_PX, HEIGHT_PX, Fraction(FPS))
    with VideoSink(encoder, str(path.parent), path.stem, frames=len(frames)) as sink:
        for frame in frames:
            sink.write(pil_to_tensor(frame).movedim(0, -1).contiguous())
        numbered = sink.finish()
    os.replace(numbered, path)
