"""Clips of the drawn world that are drawn once and kept: pixels in a file that is mapped, and where the faces are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from demo import world

PAIR_SHARE = 0.15  # of the clips, in which two stand
MOST_PEOPLE = 2


@dataclass(frozen=True, slots=True, eq=False)
class KeptClips:
    """Many clips of the same length; a clip with one person says nan about the second."""

    frames: np.ndarray  # n f h w 3, uint8
    boxes: np.ndarray  # n f p 4, px
    points: np.ndarray  # n f p 5 2, px

    def __len__(self) -> int:
        return len(self.frames)


def kept_clips(folder: Path, split: world.Split, count: int, *, frames: int = world.FRAMES) -> KeptClips:
    """The first ``count`` clips of a split, each of other people; draws those that the folder does not hold yet."""
    folder = folder / f"clips-{split}-{frames}"
    folder.mkdir(parents=True, exist_ok=True)
    size = world.SIZE_PX
    shapes = {"frames": (size, size, 3), "boxes": (MOST_PEOPLE, 4), "points": (MOST_PEOPLE, 5, 2)}
    files = {
        name: mapped(folder / f"{name}.npy", (count, frames, *shape), np.uint8 if name == "frames" else np.float32)
        for name, shape in shapes.items()
    }
    clips = KeptClips(**files)
    missing = np.flatnonzero(~clips.points.any(axis=(1, 2, 3, 4)))
    for number, clip in drawn(split, missing, frames):
        clips.frames[number] = clip.frames
        for name in ("boxes", "points"):
            truth = getattr(clips, name)[number]
            truth[:, len(clip.people) :] = np.nan
            truth[:, : len(clip.people)] = getattr(clip, name)
    return clips


def mapped(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """An array that lives in a file, zeros where nothing was written; one of another shape is begun anew."""
    if path.is_file() and (kept := open_memmap(path, "r+")).shape == shape:
        return kept
    return open_memmap(path, "w+", dtype=dtype, shape=shape)


def drawn(split: world.Split, numbers: np.ndarray, frames: int) -> Iterator[tuple[int, world.Clip]]:
    """The clips of these numbers; a number stands for the people, the shot and the time in it."""
    for number in numbers.tolist():
        random = np.random.default_rng([world.SPLITS.index(split), number])
        people = tuple(world.person(split, MOST_PEOPLE * number + place) for place in range(MOST_PEOPLE))
        count = MOST_PEOPLE if random.random() < PAIR_SHARE else 1
        shot = world.shot(int(random.integers(2**31)))
        yield number, world.film(people[:count], shot, frames, first_frame=int(random.integers(64)))


def pixels(frames: np.ndarray) -> torch.Tensor:
    """``b f h w 3`` of uint8 to what the autoencoder takes, ``b 3 f h w`` of -1 to 1."""
    return torch.from_numpy(frames).movedim(-1, 1).float() / 127.5 - 1
