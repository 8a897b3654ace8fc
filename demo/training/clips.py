"""Clips of the drawn world that are drawn once and kept, pixels and where the faces are, and random crops of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo import world

from .rows import rows_in

PAIR_SHARE = 0.15  # of the clips, in which two stand
MOST_PEOPLE = 2

FACE_EXTRA, POINT_EXTRA = 3.0, 6.0  # on top of 1, of pixels in the box of a face and at its eyes, nose and mouth
POINT_RADIUS = 0.14  # of the height of a face
MARGIN = 0.2  # of a crop, which keeps the middle of a face off its sides


@dataclass(frozen=True, slots=True, eq=False)
class KeptClips:
    """Many clips of the same length; a clip with one person says nan about the second."""

    frames: np.ndarray  # n f h w 3, uint8
    boxes: np.ndarray  # n f p 4, px
    points: np.ndarray  # n f p 5 2, px

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, slots=True)
class CropSize:
    """What one batch of crops holds."""

    clips: int
    frames: int
    side_px: int


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """One batch of crops, each around a face."""

    pixels: Tensor  # b 3 f h w, -1 to 1
    weights: Tensor  # b 1 f h w, what each pixel counts
    points: Tensor  # b 5 2, of that face in the last frame, px


def kept_clips(folder: Path, split: world.Split, count: int, *, frames: int = world.FRAMES) -> KeptClips:
    """The first ``count`` clips of a split, each of other people; draws those that the folder does not hold yet."""
    folder = folder / f"clips-{split}-{frames}"
    size = world.SIZE_PX
    shapes = {"frames": (size, size, 3), "boxes": (MOST_PEOPLE, 4), "points": (MOST_PEOPLE, 5, 2)}
    files = {
        name: rows_in(folder, name, (count, frames, *shape), np.uint8 if name == "frames" else np.float32)
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


def drawn(split: world.Split, numbers: np.ndarray, frames: int) -> Iterator[tuple[int, world.Clip]]:
    """The clips of these numbers; a number stands for the people, the shot and the time in it."""
    for number in numbers.tolist():
        random = np.random.default_rng([world.SPLITS.index(split), number])
        people = tuple(world.person(split, MOST_PEOPLE * number + place) for place in range(MOST_PEOPLE))
        count = MOST_PEOPLE if random.random() < PAIR_SHARE else 1
        shot = world.shot(int(random.integers(2**31)))
        yield number, world.film(people[:count], shot, frames, first_frame=int(random.integers(64)))


# Crops


def pixels(frames: np.ndarray) -> Tensor:
    """``b f h w 3`` of uint8 to what the autoencoder takes, ``b 3 f h w`` of -1 to 1."""
    return torch.from_numpy(frames).movedim(-1, 1).float() / 127.5 - 1


def crop(clips: KeptClips, size: CropSize, generator: torch.Generator) -> Crops:
    """Crops of random clips at random times."""
    device = generator.device
    random = np.random.default_rng(int(torch.randint(2**31, (), generator=generator, device=device)))
    numbers = random.integers(len(clips), size=size.clips)
    starts = random.integers(clips.frames.shape[1] - size.frames + 1, size=size.clips)
    frames, weights, points = [], [], []
    for number, start in zip(numbers, starts, strict=True):
        span = slice(start, start + size.frames)
        person = int(random.integers(np.isfinite(clips.boxes[number, start, :, 0]).sum()))
        left, top = (
            corner(clips.boxes[number, start, person, axis::2].mean(), clips.frames.shape[2], size.side_px, random)
            for axis in (0, 1)
        )
        frames.append(clips.frames[number, span, top : top + size.side_px, left : left + size.side_px])
        origin = torch.tensor([left, top], dtype=torch.float32)
        boxes, shown = (torch.tensor(array[number, span]) for array in (clips.boxes, clips.points))
        weights.append(pixel_weights(boxes - origin.repeat(2), shown - origin, size.side_px))
        points.append(shown[-1, person] - origin)
    batch = pixels(np.stack(frames)).to(device, memory_format=torch.channels_last_3d)
    return Crops(batch, torch.stack(weights)[:, None].to(device), torch.stack(points))


def corner(middle_px: float, picture_px: int, side_px: int, random: np.random.Generator) -> int:
    """Where a crop begins along one axis, so that the middle of a face is well inside where the picture allows it."""
    first, last = (int(np.clip(middle_px - share * side_px, 0, picture_px - side_px)) for share in (1 - MARGIN, MARGIN))
    return int(random.integers(first, last + 1))


def pixel_weights(boxes: Tensor, points: Tensor, side_px: int) -> Tensor:
    """What each pixel counts, ``f h w``: more in a box (``f p 4``), most at its points (``f p 5 2``)."""
    middles = torch.arange(side_px) + 0.5
    x, y = middles.view(1, 1, 1, -1), middles.view(1, 1, -1, 1)
    left, top, right, bottom = boxes[..., None, None].unbind(2)  # f p 1 1
    inside = ((x > left) & (x < right) & (y > top) & (y < bottom)).float()
    radius = POINT_RADIUS * (bottom - top)[:, :, None]
    points = points[..., None, None, :]  # f p 5 1 1 2
    away = (x[:, :, None] - points[..., 0]).square() + (y[:, :, None] - points[..., 1]).square()
    near = (-away / (2 * radius.square())).exp().amax(dim=2).nan_to_num()
    return 1 + (FACE_EXTRA * inside + POINT_EXTRA * near).sum(dim=1)
