"""What the demo has filmed: every shot once with the lock and once without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, slots=True, repr=False)
class Take:
    """One shot as it came out of one of the two runs."""

    frames: tuple[Image.Image, ...]
    likeness: float | None  # mean cosine of its faces to the portrait; None where no face was found
    found: float  # share of the frames with a face of the character, 0 to 1

    @property
    def likeness_text(self) -> str:
        """Its likeness as a person reads it."""
        return "no face" if self.likeness is None else f"{self.likeness:.2f}"

    @property
    def faces_text(self) -> str:
        """In how many frames there is a face."""
        return f"face in {round(self.found * len(self.frames))} of {len(self.frames)} frames"


@dataclass(frozen=True, slots=True, repr=False)
class Shot:
    """One prompt and what was made of it."""

    prompt: str
    locked: Take
    unlocked: Take


@dataclass(frozen=True, slots=True, repr=False)
class Rushes:
    """All that came out of one run of the demo."""

    portrait: Image.Image
    shots: tuple[Shot, ...]
    charts: tuple[Image.Image, Image.Image]  # likeness frame by frame, locked and not locked
    faces: tuple[Image.Image, Image.Image]  # beside the portrait the most and the least alike, locked and not locked
    schedule: Image.Image  # of the first shot
    reports: Mapping[str, str]  # what nodes say, by title
    wall_s: float
