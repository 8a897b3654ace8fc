"""Faces in a picture: where each one is, what was measured on it, and which one is meant."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .align import SMALLEST_EYE_DISTANCE_PX, TEMPLATE, Points, fit_similarity, is_mirrored
from .images import SMALLEST_FACE_PX
from .portrait import Box
from .record import CROP_PX

# MediaPipe's iris centres, nose tip and mouth corners, left as seen in the image first.
MEDIAPIPE_FIVE = (468, 473, 1, 61, 291)
# The window of the aligned crop that detectors call the face: the 96 x 112 px that the template was made for.
FACE_WINDOW_PX = (96.0, 112.0)


@dataclass(frozen=True, slots=True)
class Face:
    """One face in a picture; None where nothing measured it."""

    box: Box
    points: Points  # left eye, right eye, nose, left and right mouth corner, left as seen in the image
    score: float | None = None  # of the detector, 0..1
    yaw_deg: float | None = None  # 0: to the camera
    pitch_deg: float | None = None  # 0: to the camera
    age_years: int | None = None
    sex: str | None = None  # "female" or "male"

    @property
    def centre(self) -> complex:
        """The middle of the box, in pixels."""
        left, top, right, bottom = self.box
        return complex(left + right, top + bottom) / 2

    @property
    def area_px2(self) -> float:
        """The area of the box."""
        left, top, right, bottom = self.box
        return max(right - left, 0.0) * max(bottom - top, 0.0)

    @property
    def roll_deg(self) -> float:
        """How far the line of the eyes is turned, clockwise in the picture."""
        eyes = self.points[1] - self.points[0]
        return math.degrees(math.atan2(eyes.imag, eyes.real))


# Faces from points


def face_of_points(points: Points) -> Face:
    """A face of which only the five points are known; its box is the template's face window, upright."""
    to_image = fit_similarity(points, TEMPLATE).inverse()
    centre, scale = to_image(complex(CROP_PX, CROP_PX) / 2), abs(to_image.slope)
    half = complex(*FACE_WINDOW_PX) * scale / 2
    near, far = centre - half, centre + half
    return Face(box=(near.real, near.imag, far.real, far.imag), points=points)


def face_of_insightface(found: Mapping[str, Any]) -> Face:
    """A face as insightface's FaceAnalysis gives it; its pose is pitch, yaw, roll, its gender 0 female, 1 male."""
    pose, age, gender = found.get("pose"), found.get("age"), found.get("gender")
    return Face(
        box=tuple(float(side) for side in found["bbox"]),
        points=tuple(complex(float(x), float(y)) for x, y in found["kps"]),
        score=float(found["det_score"]),
        yaw_deg=None if pose is None else float(pose[1]),
        pitch_deg=None if pose is None else float(pose[0]),
        age_years=None if age is None else int(age),
        sex=None if gender is None else ("female", "male")[int(gender)],
    )


def face_of_mediapipe(found: Mapping[str, Any], rotation: Sequence[Sequence[float]]) -> Face:
    """A face as the host's landmarker gives it, with the matrix that turns the canonical face to it."""
    yaw_deg, pitch_deg = mediapipe_angles(rotation)
    return Face(
        box=tuple(float(side) for side in found["bbox_xyxy"]),
        points=five_of_mediapipe(found["landmarks_xy"]),
        score=float(found["score"]),
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
    )


def five_of_mediapipe(landmarks: Sequence[Sequence[float]]) -> Points:
    """The five points of MediaPipe's 478, given as x and y in pixels."""
    return tuple(complex(float(landmarks[index][0]), float(landmarks[index][1])) for index in MEDIAPIPE_FIVE)


def mediapipe_angles(rotation: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Yaw and pitch in degrees of MediaPipe's face matrix (x right, y up, z to the viewer); right and down are > 0."""
    right, up, forward = (row[2] for row in rotation[:3])
    return math.degrees(math.atan2(right, forward)), math.degrees(math.atan2(-up, math.hypot(right, forward)))


def is_finite(face: Face) -> bool:
    """Whether the box and the points are finite numbers."""
    numbers = (*face.box, *(part for point in face.points for part in (point.real, point.imag)))
    return all(map(math.isfinite, numbers))


def face_problem(face: Face) -> str | None:
    """Why a face that a detector found cannot be aligned, in words; None when it can."""
    if not is_finite(face):
        return "points that are no finite numbers"
    if len(set(face.points)) == 1:
        return "five points in one place"
    face_px = CROP_PX / max(abs(fit_similarity(face.points, TEMPLATE).slope), 1e-9)
    if face_px < SMALLEST_FACE_PX:
        return f"a face of {face_px:.0f} px"
    eye_distance_px = abs(face.points[1] - face.points[0])
    if eye_distance_px < SMALLEST_EYE_DISTANCE_PX:
        return f"eyes {eye_distance_px:.1f} px apart"
    return "points that are mirrored or lie on one line" if is_mirrored(face.points, TEMPLATE) else None


# Which face


@dataclass(frozen=True, slots=True)
class Pick:
    """How one of several faces is chosen."""

    way: str = "largest"  # one of PICKS
    index: int = 0  # for "index": from the left
    box: str = ""  # for "box": left, top, right, bottom in pixels


def from_left(faces: Sequence[Face]) -> list[Face]:
    """The faces in the order of their numbers: by the middle of the box, from left to right."""
    return sorted(faces, key=lambda face: (face.centre.real, face.centre.imag))


def pick_face(faces: Sequence[Face], pick: Pick, width_px: int, height_px: int) -> int | str:
    """The position of the face that is meant among faces from left to right, or in words why there is none."""
    if pick.way not in PICKS or pick.index < 0:
        raise InputError(
            "pick",
            found=repr(pick.way) if pick.way not in PICKS else f"index {pick.index}",
            wanted=f"one of {', '.join(PICKS)}, and an index of 0 or more",
            fix="Pick one of them from the list.",
        )
    if not faces:
        return "no face"
    if pick.way == "index":
        return pick.index if pick.index < len(faces) else f"no face {pick.index}, only 0 to {len(faces) - 1}"
    if pick.way == "box":
        wanted = parse_box(pick.box)
        overlaps = [_overlap(face.box, wanted) for face in faces]
        best = max(overlaps)
        return overlaps.index(best) if best > 0 else "no face in the box"
    middle = complex(width_px, height_px) / 2
    measures: dict[str, Callable[[Face], float]] = {
        "largest": lambda face: -face.area_px2,
        "nearest to centre": lambda face: abs(face.centre - middle),
    }
    return min(range(len(faces)), key=lambda index: measures[pick.way](faces[index]))


PICKS = ("largest", "nearest to centre", "index", "box")


def parse_box(text: str) -> Box:
    """Reads left, top, right and bottom in pixels; raises InputError for anything else."""
    words = re.split(r"[\s,;]+", text.strip(" ,;\t\n"))
    try:
        left, top, right, bottom = (float(word) for word in words)
    except ValueError:
        left = top = right = bottom = math.nan
    if not (left < right and top < bottom and all(map(math.isfinite, (left, top, right, bottom)))):
        raise InputError(
            "box",
            found=repr(text),
            wanted="left, top, right and bottom of the face in pixels",
            fix="Write four numbers, for example: 120 40 380 360.",
        )
    return left, top, right, bottom


def _overlap(one: Box, other: Box) -> float:
    """The shared area of two boxes as a share of what they cover together."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(across, 0.0) * max(down, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if shared else 0.0
