"""How well a reference shows a face: from in front, sharp, large, surely found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from .align import Points
from .faces import Face
from .record import CROP_PX

LUMA = (0.299, 0.587, 0.114)
HALF_SHARPNESS = 0.02  # mean Laplacian of an aligned face, in [0, 1] a pixel, that counts as half sharp
WARN_YAW_DEG, WARN_PITCH_DEG, WARN_ROLL_DEG, WARN_SCORE = 45.0, 30.0, 30.0, 0.6


@dataclass(frozen=True, slots=True)
class Quality:
    """What speaks for one reference, each from 0 to 1."""

    frontal: float  # 1: looks into the camera
    sharp: float
    large: float  # 0.5: a face of 112 px
    score: float  # of the detector; 1 where no detector gave one

    @property
    def total(self) -> float:
        """All of them together."""
        return self.frontal * self.sharp * self.large * self.score


def sharpness(crop: Tensor) -> float:
    """The mean absolute Laplacian of the brightness of a face, h w 3 in [0, 1], away from its edges."""
    luma = (crop * crop.new_tensor(LUMA)).sum(dim=-1)[None, None]  # 1 1 h w
    kernel = luma.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    return functional.conv2d(luma, kernel).abs().mean().item()


def frontal_share(face: Face) -> float:
    """1 for a face that looks into the camera, 0 for a profile: by its angles, else by its nose between the eyes."""
    if face.yaw_deg is not None and face.pitch_deg is not None:
        return max(math.cos(math.radians(face.yaw_deg)), 0.0) * max(math.cos(math.radians(face.pitch_deg)), 0.0)
    return max(1.0 - 2.0 * abs(nose_offset(face.points)), 0.0)


def nose_offset(points: Points) -> float:
    """How far the nose is off the middle of the eyes along their line, as a share of their distance."""
    left, right, nose = points[:3]
    return ((nose - (left + right) / 2) / (right - left)).real


def assess(crop: Tensor, face: Face | None, face_px: float) -> Quality:
    """The quality of one aligned face, 112 112 3; ``face`` None: only the crop is known."""
    sharp = sharpness(crop)
    return Quality(
        frontal=1.0 if face is None else frontal_share(face),
        sharp=sharp / (sharp + HALF_SHARPNESS),
        large=face_px / (face_px + CROP_PX),
        score=1.0 if face is None or face.score is None else face.score,
    )


def warnings(face: Face | None, face_px: float) -> list[str]:
    """What is wrong with a reference though it can be used, in words."""
    told = [f"small: {face_px:.0f} px, {CROP_PX} px or more is better"] if face_px < CROP_PX else []
    if face is None:
        return told
    if face.yaw_deg is not None and abs(face.yaw_deg) > WARN_YAW_DEG:
        told.append(f"turned aside by {abs(face.yaw_deg):.0f} degrees")
    if face.pitch_deg is not None and abs(face.pitch_deg) > WARN_PITCH_DEG:
        told.append(f"tilted up or down by {abs(face.pitch_deg):.0f} degrees")
    if abs(face.roll_deg) > WARN_ROLL_DEG:
        told.append(f"on its side by {abs(face.roll_deg):.0f} degrees: rotate the picture, Stand-In gets it as it is")
    if face.score is not None and face.score < WARN_SCORE:
        told.append(f"detection score only {face.score:.2f}: is something in front of the face?")
    return told
