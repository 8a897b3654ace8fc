"""Who says where the face is: the pictures are aligned crops already, five points are given, or it does not matter.

What finds faces by itself, a detector, is a class of the host with the same two members.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional

from ..errors import InputError, quoted
from .align import SMALLEST_EYE_DISTANCE_PX, TEMPLATE, Points, is_mirrored
from .faces import Face, face_of_points, is_profile
from .images import Pictures, require_aligned_crop, shrink_to
from .record import CROP_PX
from .references import Reference, align_references, references_of_crops
from .selection import Detections, FaceSelection, select_faces

OnDone = Callable[[int], None]  # takes how many were done
Detect = Callable[[Tensor], list[Face]]  # the faces in a picture, h w 3 in [0, 1]

MARGIN = 0.5  # of the longer side, on every side: a face as large as the picture is half of the larger one
GREY = 0.5
LARGEST_IN_MARGIN_PX = 3072  # the longer side of a picture that gets a margin; a larger one is shrunk


@dataclass(frozen=True, slots=True, eq=False)
class FoundFaces:
    """What a source found in the pictures."""

    detections: tuple[Detections, ...]  # of each picture; empty where nothing was looked for
    references: tuple[Reference, ...]  # the aligned faces; empty where the picture itself is meant


@dataclass(frozen=True, slots=True)
class Detector:
    """What finds every face in a picture."""

    label: str  # what the report calls it
    detect: Detect


class FaceSource(Protocol):
    """Who says where the face is."""

    @property
    def label(self) -> str:
        """What the report calls it."""

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        """The faces that are meant; raises InputError when there is none that can be used."""


def detect_and_align(pictures: Pictures, detect: Detect, selection: FaceSelection, on_picture: OnDone) -> FoundFaces:
    """What a detector's ``find`` gives: of the faces in each picture the selected one, aligned."""
    found = []
    for picture in pictures.rgb:
        found.append(detect(picture) or detect_in_margin(picture, detect))
        on_picture(len(found))
    return select_and_align(pictures, found, selection)


def detect_in_margin(picture: Tensor, detect: Detect, longest_px: int = LARGEST_IN_MARGIN_PX) -> list[Face]:
    """The faces that a detector finds with grey around a picture: one that fills the picture is too large for it.

    A picture whose longer side is longer is shrunk to ``longest_px`` first.
    """
    seen = shrink_to(picture, longest_px)
    scale = max(seen.shape[:2]) / max(picture.shape[:2])
    margin_px = round(max(seen.shape[:2]) * MARGIN)
    padded = functional.pad(seen, (0, 0, *(margin_px,) * 4), value=GREY)
    return [face.without_margin(margin_px, scale) for face in detect(padded)]


def select_and_align(pictures: Pictures, found: Sequence[Sequence[Face]], selection: FaceSelection) -> FoundFaces:
    """Of the faces in each picture the selected one, aligned."""
    detections = select_faces(pictures, found, selection)
    return FoundFaces(detections, align_references(pictures, detections))


@dataclass(frozen=True, slots=True)
class AlignedCrops:
    """Every picture is an aligned face already."""

    label = "aligned crop"

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        return FoundFaces((), references_of_crops(pictures))

    def detector(self) -> Detector:
        """Every picture is one face, which lies in it as in the template."""

        def detect(picture: Tensor) -> list[Face]:
            require_aligned_crop(picture)
            scale = len(picture) / CROP_PX
            return [face_of_points(tuple(point * scale for point in TEMPLATE))]

        return Detector(self.label, detect)


@dataclass(frozen=True, slots=True)
class WholePicture:
    """No face is looked for: the first picture itself is meant."""

    label = "whole picture"

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        return FoundFaces((), ())


@dataclass(frozen=True, slots=True)
class GivenLandmarks:
    """Five points for each image, one line of ten numbers (x y, pixels) each."""

    label = "landmarks"

    text: str
    selection: FaceSelection = FaceSelection()

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        found = [[face_of_points(points)] for points in parse_landmarks(self.text, pictures)]
        return select_and_align(pictures, found, self.selection)


# Landmarks


def parse_landmarks(text: str, pictures: Pictures) -> list[Points]:
    """Reads one line of ten numbers (x y of five points, pixels) for each image that there was.

    Returns those of the images that are looked at; raises InputError naming the line.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) != pictures.total:
        raise InputError(
            "landmarks",
            found=f"{len(lines)} lines of points for {pictures.total} images",
            wanted="one line for each image",
            fix="Write five points (x y) per line: left eye, right eye, nose, left and right mouth corner.",
        )
    parsed = [_parse_line(line, number) for number, line in enumerate(lines, start=1)]
    seen = [parsed[number - 1] for number in pictures.numbers]
    for number, points, picture in zip(pictures.numbers, seen, pictures.rgb, strict=True):
        height_px, width_px, _ = picture.shape
        _require_face(points, number, width_px, height_px)
    return seen


def _parse_line(line: str, number: int) -> Points:
    words = re.split(r"[\s,;]+", line.strip(" ,;\t"))
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != 10 or not all(math.isfinite(value) for value in values):
        raise InputError(
            "landmarks",
            found=f"{quoted(line.strip())} in line {number}",
            wanted="10 finite numbers",
            fix="Write x and y of left eye, right eye, nose, left and right mouth corner, in pixels.",
        )
    return tuple(complex(x, y) for x, y in zip(values[::2], values[1::2], strict=True))


def _require_face(points: Points, number: int, width_px: int, height_px: int) -> None:
    outside = [p for p in points if not (0 <= p.real <= width_px and 0 <= p.imag <= height_px)]
    if outside:
        raise InputError(
            "landmarks",
            found=f"the point ({outside[0].real:g}, {outside[0].imag:g}) in line {number}",
            wanted=f"points inside the image of {width_px} x {height_px} px",
            fix="Give pixels of the image that is connected here, before any resize.",
        )
    as_of = ", as of a face from the side," if is_profile(points) else ""
    eye_distance_px = abs(points[1] - points[0])
    if eye_distance_px < SMALLEST_EYE_DISTANCE_PX:
        raise InputError(
            "landmarks",
            found=f"eyes {eye_distance_px:.1f} px apart{as_of} in line {number}",
            wanted=f"{SMALLEST_EYE_DISTANCE_PX:g} px or more",
            fix="Use a picture with a larger face, or correct the points.",
        )
    if is_mirrored(points, TEMPLATE):
        raise InputError(
            "landmarks",
            found=f"points in line {number} that are mirrored or lie on one line",
            wanted="left eye, right eye, nose, left and right mouth corner, left as seen in the image",
            fix="Swap left and right in that line.",
        )
