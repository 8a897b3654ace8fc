"""Pictures of drawn people with the truth about each face, and the crops of them that recognisers see.

A series of pictures is drawn once into two files of the job's folder, row by row, and a second run goes on where the
first one stopped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from demo import world
from wan_core.identity.align import TEMPLATE, fit_similarity
from wan_core.identity.record import CROP_PX

SECONDS_A_LINE = 10
PAIR_EVERY = 4  # one of so many takes shows two people
FRAMES_APART = 8  # frames of a take, at 16 fps, for different poses
MOST_FACES = 2  # in a picture
BOX, POINTS = slice(1, 5), slice(5, 15)  # of the truth about a face; before them the number of the person, -1: nobody
TRUTH = 15
TAUGHT_FROM_PX = 14  # height of a face that a recogniser is taught
PIXEL_MIDDLE = 0.5  # the world counts from the corner of the first pixel, alignment from its middle
PIXEL_MEAN, PIXEL_STD = 127.5, 128.0  # what insightface takes off pixels, and divides them by
JITTER_SHARES = (0.005, 0.03)  # of the face's height, by which a detector misses a point


# Series


@dataclass(frozen=True, slots=True)
class PictureSeries:
    """Which pictures are drawn: of each person some takes, each in a shot of its own, or one portrait."""

    name: str
    split: world.Split
    people: range  # of the split
    takes: int  # of a person
    seed: int  # of the first take's shot; the next ones follow
    frames: int = 2  # of a take, FRAMES_APART
    size_px: int = world.SIZE_PX
    are_portraits: bool = False

    def __len__(self) -> int:
        return len(self.people) * self.takes * self.frames

    def clip(self, take: int) -> world.Clip:
        """One take, of one person or of two."""
        index = self.people[take // self.takes]
        person = world.person(self.split, index)
        if self.are_portraits:
            return world.portrait(person, self.size_px)
        partner = self.people[(take * 7919 + 1) % len(self.people)]
        has_partner = take % PAIR_EVERY == PAIR_EVERY - 1 and partner != index
        people = (person, world.person(self.split, partner)) if has_partner else (person,)
        shot = world.shot(self.seed + take)
        return world.film(
            people, shot, self.frames, first_frame=take % FRAMES_APART, every=FRAMES_APART, size_px=self.size_px
        )


@dataclass(frozen=True, slots=True, eq=False)
class FacePictures:
    """The pictures of a series; rows that are not drawn yet have no faces."""

    frames: np.ndarray  # n h w 3, uint8
    truth: np.ndarray  # n p 15, float32; NaN: not drawn yet

    def faces(self, least_px: float = TAUGHT_FROM_PX) -> Tensor:
        """Row, place and person of every face of this height or more, k 3."""
        truth = torch.from_numpy(np.array(self.truth))
        height_px = truth[..., 4] - truth[..., 2]
        rows, places = torch.nonzero((truth[..., 0] >= 0) & (height_px >= least_px), as_tuple=True)
        return torch.stack((rows, places, truth[rows, places, 0].long()), dim=1)

    def crops(self, faces: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The aligned crops of faces k 3, k 3 112 112 from 0 to 1; with a generator as a detector would miss them."""
        rows, places = faces[:, 0].numpy(), faces[:, 1].numpy()
        pictures = torch.from_numpy(self.frames[rows]).permute(0, 3, 1, 2).float() / 255
        truth = torch.from_numpy(self.truth[rows, places])
        points = truth[:, POINTS].reshape(-1, 5, 2)
        if generator is not None:
            low, high = JITTER_SHARES
            height_px = (truth[:, 4] - truth[:, 2]).reshape(-1, 1, 1)
            share = low + (high - low) * torch.rand((len(points), 1, 1), generator=generator)
            points = points + share * height_px * torch.randn(points.shape, generator=generator)
        return crop_differentiable(pictures, points)


def draw(series: PictureSeries, folder: Path) -> FacePictures:
    """The pictures of a series; draws what is missing. Raises ValueError for files of another series."""
    pictures, last_line = _opened(series, folder), time.monotonic()
    for first in range(0, len(series), series.frames):
        rows = slice(first, first + series.frames)
        if not np.isnan(pictures.truth[rows]).any():
            continue
        clip = series.clip(first // series.frames)
        pictures.frames[rows] = clip.frames.numpy()
        pictures.truth[rows] = _truth(clip)
        if time.monotonic() - last_line >= SECONDS_A_LINE:
            last_line = time.monotonic()
            sys.stdout.write(f"{series.name}: drew {first} of {len(series)}\n")
            sys.stdout.flush()
    return pictures


def _opened(series: PictureSeries, folder: Path) -> FacePictures:
    """The files of a series, made where there are none; what they are of is written last, beside them."""
    frames, truth, told = (folder / f"{series.name}.{end}" for end in ("frames.npy", "truth.npy", "series.txt"))
    if not told.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(series), series.size_px, series.size_px, 3)
        np.lib.format.open_memmap(frames, mode="w+", dtype=np.uint8, shape=shape)
        nothing = np.lib.format.open_memmap(truth, mode="w+", dtype=np.float32, shape=(len(series), MOST_FACES, TRUTH))
        nothing[:] = np.nan
        told.write_text(repr(series))
    elif told.read_text() != repr(series):
        raise ValueError(f"{told} tells of another series: delete it, and this one is drawn")
    return FacePictures(*(np.lib.format.open_memmap(path, mode="r+") for path in (frames, truth)))


def _truth(clip: world.Clip) -> np.ndarray:
    """What is known about the faces of a take, f p 15."""
    truth = np.full((len(clip.frames), MOST_FACES, TRUTH), -1, np.float32)
    for place, person in enumerate(clip.people):
        truth[:, place, 0] = person.index
        truth[:, place, BOX] = clip.boxes[:, place]
        truth[:, place, POINTS] = clip.points[:, place].flatten(1)
    return truth


# Crops


def crop_differentiable(frames: Tensor, points: Tensor) -> Tensor:
    """The aligned faces of frames n 3 h w at the world's points n 5 2: n 3 112 112, as ``align_face`` warps them."""
    height_px, width_px = frames.shape[-2:]
    maps = [
        fit_similarity(tuple(complex(x, y) for x, y in five), TEMPLATE).inverse()
        for five in (points - PIXEL_MIDDLE).tolist()
    ]
    slope, shift = (
        torch.tensor(values).reshape(-1, 1, 1) for values in ([one.slope for one in maps], [one.shift for one in maps])
    )
    axis = torch.arange(CROP_PX, dtype=torch.float32)
    place = torch.complex(axis.expand(CROP_PX, -1), axis[:, None].expand(-1, CROP_PX))  # h w
    sampled = slope * place + shift  # n h w
    grid = torch.stack(((2 * sampled.real + 1) / width_px - 1, (2 * sampled.imag + 1) / height_px - 1), dim=-1)
    return functional.grid_sample(frames, grid.to(frames), mode="bilinear", padding_mode="zeros", align_corners=False)


def aligned(frames: Tensor, points: Tensor) -> Tensor:
    """The aligned faces of frames n h w 3, uint8, at the world's points n 5 2: n 112 112 3 from 0 to 1."""
    return crop_differentiable(frames.permute(0, 3, 1, 2).float() / 255, points).permute(0, 2, 3, 1).contiguous()


def as_seen(pictures: Tensor) -> Tensor:
    """Pictures from 0 to 1 as insightface gives them to a detector."""
    return (pictures * 255 - PIXEL_MEAN) / PIXEL_STD


def mirrored(pictures: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Pictures n 3 h w of which about ``share`` are the other way round."""
    is_mirrored = torch.rand((len(pictures), 1, 1, 1), generator=generator) < share
    return torch.where(is_mirrored, pictures.flip(-1), pictures)


def degrade(pictures: Tensor, generator: torch.Generator, *, softest: float = 0.2) -> Tensor:
    """Pictures n 3 h h as an autoencoder or a sampler could have made them: softer, noisy, of a slightly other colour.

    ``softest`` is the smallest share of their side that they go through.
    """
    soft = torch.cat([_soften(part, generator, softest) for part in pictures.chunk(4)])
    count, _, side_px, _ = soft.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((count, *shape), generator=generator)

    contrast, colour = uniform(0.85, 1.15, 1, 1, 1), uniform(-0.05, 0.05, 3, 1, 1)
    coarse = torch.randn((count, 3, side_px // 4, side_px // 4), generator=generator)
    noise = functional.interpolate(coarse, size=(side_px, side_px), mode="bilinear") * uniform(0, 0.06, 1, 1, 1)
    return ((soft - 0.5) * contrast + 0.5 + colour + noise).clamp(0, 1)


def _soften(pictures: Tensor, generator: torch.Generator, softest: float) -> Tensor:
    """Half of the time through a smaller picture and back."""
    chance, share = torch.rand(2, generator=generator).tolist()
    if chance < 0.5:
        return pictures
    side_px = pictures.shape[-1]
    small_px = round(side_px * (softest + (0.8 - softest) * share))
    small = functional.interpolate(pictures, size=(small_px, small_px), mode="bilinear", antialias=True)
    return functional.interpolate(small, size=(side_px, side_px), mode="bilinear")


# Measures


@dataclass(frozen=True, slots=True)
class Verification:
    """How well embeddings tell people apart."""

    same: float  # mean cosine of two pictures of one person
    different: float  # mean cosine of pictures of two people
    auc: float  # how often a same pair is nearer than a different one

    def __str__(self) -> str:
        return f"same {self.same:.3f}, different {self.different:.3f}, AUC {self.auc:.4f}"


def verification(embeddings: Tensor, people: Sequence[int] | Tensor) -> Verification:
    """Of unit embeddings n d of these people, over all pairs."""
    numbers = torch.as_tensor(people)
    first, second = torch.triu_indices(len(numbers), len(numbers), offset=1)
    cosines = (embeddings @ embeddings.T)[first, second]
    is_same = numbers[first] == numbers[second]
    same, different = cosines[is_same], cosines[~is_same].sort().values
    below = torch.searchsorted(different, same).double().mean() / len(different)
    return Verification(float(same.mean()), float(different.mean()), float(below))
