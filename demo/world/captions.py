"""What a caption says: the shot in full, and of the person no more than woman or man."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

from .person import Person
from .shot import Shot

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

PLACES_EN = {
    "beach": "on a beach",
    "forest": "in a forest",
    "street": "in a street",
    "snow": "in the snow",
    "desert": "in a desert",
    "library": "in a library",
    "room": "in a room",
    "stage": "on a stage",
    "garden": "in a garden",
    "stars": "under the stars",
}
LIGHTS_EN = {
    "daylight": "in daylight",
    "sunset": "at sunset",
    "moonlight": "in moonlight",
    "soft light": "in soft light",
    "side light": "in side light",
}
STYLES_EN = {"film": "film", "sketch": "sketch", "neon": "neon picture"}


@cache
def chinese() -> dict[str, str]:
    """The Chinese of every English word or phrase."""
    lines = (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


def caption(people: Sequence[Person], shots: Sequence[Shot], language: Language = "en") -> str:
    """The caption of a shot with one or two people, each dressed as in his shot."""
    shot = shots[0]
    place, light, style = PLACES_EN[shot.scene], LIGHTS_EN[shot.light], STYLES_EN[shot.style]
    camera = f"the camera {shot.camera}"
    if language == "zh":
        word = chinese()
        who = word["and"].join(
            f"{word['wearing']}{word[worn.colour]}{word[worn.garment]}{word['who is']}{word[person.sex]}"
            for person, worn in zip(people, shots, strict=True)
        )
        parts = (
            word[style],
            word[shot.framing],
            f"{who}{word[place]}{word[shot.action]}",
            word[shot.expression],
            word[light],
            word[camera],
        )
        return word[","].join(parts)
    who = " and ".join(
        f"a {person.sex} in {_article(worn.colour)} {worn.colour} {worn.garment}"
        for person, worn in zip(people, shots, strict=True)
    )
    action = shot.action if len(people) == 1 else _plural(shot.action)
    return f"{style}, {shot.framing} of {who} who {action} {place}, {shot.expression}, {light}, {camera}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _plural(action: str) -> str:
    verb, _, rest = action.partition(" ")
    return f"{verb.removesuffix('s')} {rest}".strip()
