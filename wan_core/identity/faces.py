"""Faces in a picture: where each one is, what was measured on it, and whether it can be aligned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .align import SMALLEST_EYE_DISTANCE_PX, TEMPLATE, Points, fit_similarity, is_mirrored
from .images import SMALLEST_FACE_PX
from .portrait import Box
from .record import CROP_PX, OLDEST_YEARS

# MediaPipe's iris centres, nose tip and mouth corners, left as seen in the image first.
MEDIAPIPE_FIVE = (468, 473, 1, 61, 291)
LEAST_SCORE = 0.5  # of a detector for what it takes for a face
PROFILE_DEG = 60.0  # a head that is turned further shows one side of the face
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
    needed_margin: bool = False  # it was found only with a margin around the picture

    @property
    def centre(self) -> complex:
        """The middle of the box, in pixels."""
        left, top, right, bottom = self.box
        return complex(left + right, top + bottom) / 2

    @property
    def roll_deg(self) -> float:
        """How far the line of the eyes is turned, clockwise in the picture."""
        eyes = self.points[1] - self.points[0]
        return math.degrees(math.atan2(eyes.imag, eyes.real))

    def without_margin(self, margin_px: int, scale: float = 1.0) -> Face:
        """The face in the pixels of the picture, which was at a scale and in a margin when it was found."""
        left, top, right, bottom = ((side - margin_px) / scale for side in self.box)
        points = tuple((point - complex(margin_px, margin_px)) / scale for point in self.points)
        return replace(self, box=(left, top, right, bottom), points=points, needed_margin=True)


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
        box=_as_box(found["bbox"]),
        points=tuple(complex(float(x), float(y)) for x, y in found["kps"]),
        score=float(found["det_score"]),
        yaw_deg=None if pose is None else float(pose[1]),
        pitch_deg=None if pose is None else float(pose[0]),
        age_years=None if age is None else min(max(int(age), 0), OLDEST_YEARS),
        sex=None if gender is None else ("female", "male")[int(gender)],
    )


def face_of_mediapipe(found: Mapping[str, Any], rotation: Sequence[Sequence[float]]) -> Face:
    """A face as the host's landmarker gives it, with the matrix that turns the canonical face to it."""
    landmarks, (yaw_deg, pitch_deg) = found["landmarks_xy"], mediapipe_angles(rotation)
    return Face(
        box=_as_box(found["bbox_xyxy"]),
        points=tuple(complex(float(landmarks[index][0]), float(landmarks[index][1])) for index in MEDIAPIPE_FIVE),
        score=float(found["score"]),
        yaw_deg=yaw_deg,
        pitch_deg=pitch_deg,
    )


def _as_box(sides: Iterable[Any]) -> Box:
    left, top, right, bottom = map(float, sides)
    return left, top, right, bottom


def mediapipe_angles(rotation: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Yaw and pitch in degrees of MediaPipe's face matrix (x right, y up, z to the viewer); right and down are > 0."""
    right, up, forward = (row[2] for row in rotation[:3])
    return math.degrees(math.atan2(right, forward)), math.degrees(math.atan2(-up, math.hypot(right, forward)))


def is_finite(face: Face) -> bool:
    """Whether the box and the points are finite numbers."""
    numbers = (*face.box, *(part for point in face.points for part in (point.real, point.imag)))
    return all(map(math.isfinite, numbers))


def is_profile(points: Points) -> bool:
    """Whether the eyes, against how far the mouth is from them, are as near to each other as in a profile."""

    def narrowness(five: Points) -> float:
        left_eye, right_eye, _, left_corner, right_corner = five
        return 2 * abs(right_eye - left_eye) / abs(left_corner + right_corner - left_eye - right_eye)

    eyes, mouth = points[0] + points[1], points[3] + points[4]
    return eyes != mouth and narrowness(points) < narrowness(TEMPLATE) * math.cos(math.radians(PROFILE_DEG))


def face_problem(face: Face) -> str | None:
    """Why a face that a detector found cannot be aligned, in words; None when it can."""
    if not is_finite(face):
        return "points that are no finite numbers"
    if len(set(face.points)) == 1:
        return "five points in one place"
    face_px = CROP_PX / max(abs(fit_similarity(face.points, TEMPLATE).slope), 1e-9)
    if face_px < SMALLEST_FACE_PX:
        return f"a face of {face_px:.0f} px"
    as_of = ", as of a face from the side" if is_profile(face.points) else ""
    eye_distance_px = abs(face.points[1] - face.points[0])
    if eye_distance_px < SMALLEST_EYE_DISTANCE_PX:
        return f"eyes {eye_distance_px:.1f} px apart{as_of}"
    return f"points that are mirrored or lie on one line{as_of}" if is_mirrored(face.points, TEMPLATE) else None
