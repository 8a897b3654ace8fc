"""The clips that experts and adapters are trained on, as they lie in a job's folder: rows of arrays that files hold.

What a row shows and says comes from its number alone. The rows of one person follow each other, so that those that are
made so far hold whole sets of takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demo import world
from wan_core.adapters.tokens import FRAMES_PER_LATENT
from wan_core.identity.record import IDENTITY_D

from .expert_network import LATENT_CHANNELS
from .rows import rows_in

PIXELS_PER_LATENT = 8
MOST_PEOPLE = 2
PAIR_EVERY = 7  # one of so many rows shows two people
CAPTION_LETTERS = 240  # at most
START_FRAMES = 64  # a clip begins at one of so many frames of its shot


@dataclass(frozen=True, slots=True)
class ClipScene:
    """Who is in a clip, and in what."""

    people: tuple[world.Person, ...]
    shot: world.Shot
    first_frame: int


@dataclass(frozen=True, slots=True)
class ClipSeries:
    """Which clips there are: of each person so many takes, each another shot."""

    name: str
    split: world.Split
    people: int
    takes: int
    frames: int = world.FRAMES

    def __len__(self) -> int:
        return self.people * self.takes

    @property
    def latent_frames(self) -> int:
        return 1 + (self.frames - 1) // FRAMES_PER_LATENT

    def person_of(self, row: int) -> int:
        """The number of the first person of a row."""
        return row // self.takes

    def scene(self, row: int) -> ClipScene:
        """What a row shows; the second person of a pair is of the series too."""
        chance = np.random.default_rng([world.SPLITS.index(self.split), self.frames, row])
        first = self.person_of(row)
        partner = (first + 1 + int(chance.integers(self.people - 1))) % self.people
        numbers = (first, partner) if row % PAIR_EVERY == 0 else (first,)
        people = tuple(world.person(self.split, number) for number in numbers)
        return ClipScene(people, world.shot(int(chance.integers(2**31))), int(chance.integers(START_FRAMES)))


TRAINING = ClipSeries("train", "train", people=2500, takes=2)
LONG = ClipSeries("train-long", "train", people=200, takes=2, frames=33)
VALIDATION = ClipSeries("validation", "validation", people=64, takes=2)
ALL_SERIES = (VALIDATION, TRAINING, LONG)


@dataclass(frozen=True, slots=True, eq=False)
class LatentClips:
    """The rows of a series; zeros where a row is not made yet, NaN for a second person who is not there."""

    series: ClipSeries
    frames: np.ndarray  # n f h w 3, uint8
    boxes: np.ndarray  # n f p 4, px
    points: np.ndarray  # n f p 5 2, px
    captions: np.ndarray  # n 2, in the order of world.LANGUAGES
    embeddings: np.ndarray  # n p 512, unit
    latents: np.ndarray  # n 16 t h w, fp16, as a model sees them

    @classmethod
    def of_folder(cls, series: ClipSeries, folder: Path) -> LatentClips:
        """The arrays in a folder, made where they are missing; raises ValueError for those of another series."""
        place = folder_of(series, folder)
        size, cells = world.SIZE_PX, world.SIZE_PX // PIXELS_PER_LATENT
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "frames": ((series.frames, size, size, 3), np.uint8),
            "boxes": ((series.frames, MOST_PEOPLE, 4), np.float32),
            "points": ((series.frames, MOST_PEOPLE, 5, 2), np.float32),
            "captions": ((len(world.LANGUAGES),), np.dtype(f"U{CAPTION_LETTERS}")),
            "embeddings": ((MOST_PEOPLE, IDENTITY_D), np.float32),
            "latents": ((LATENT_CHANNELS, series.latent_frames, cells, cells), np.float16),
        }
        arrays = {name: rows_in(place, name, (len(series), *shape), dtype) for name, (shape, dtype) in shapes.items()}
        return cls(series, **arrays)

    def missing(self, name: str) -> list[int]:
        """The rows that an array does not have yet, in order."""
        array = getattr(self, name)
        return [
            row for row in range(len(array)) if not array[row].flat[0] and not np.any(array[row] != array.dtype.type())
        ]

    def latent_boxes(self, rows: Sequence[int]) -> Tensor:
        """The boxes of faces in cells of the latent, b t p 4: around all frames of each latent frame."""
        boxes = torch.from_numpy(self.boxes[rows]) / PIXELS_PER_LATENT  # b f p 4
        later = boxes[:, 1:].unflatten(1, (-1, FRAMES_PER_LATENT))  # b t-1 4 p 4
        around = torch.cat((later[..., :2].amin(dim=2), later[..., 2:].amax(dim=2)), dim=-1)
        return torch.cat((boxes[:, :1], around), dim=1)


def ready(clips: LatentClips) -> int:
    """How many rows are whole, from the first one on; raises ValueError for none."""
    missing = clips.missing("latents")
    count = missing[0] if missing else len(clips.series)
    if not count:
        raise ValueError(f"no clip of the series {clips.series.name} is encoded yet: run the training `latents`")
    return count


def folder_of(series: ClipSeries, folder: Path) -> Path:
    """Where the arrays of a series lie in a job's folder."""
    return folder / f"latents-{series.name}"
