"""How well a reference shows a face: from in front, sharp, large, surely found."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from ..notes import Note
from .align import TEMPLATE
from .faces import Face, is_profile
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
    left, right, nose = face.points[:3]
    nose_offset = ((nose - (left + right) / 2) / (right - left)).real  # along the eyes, as a share of their distance
    return max(1.0 - 2.0 * abs(nose_offset), 0.0)


def assess(crop: Tensor, face: Face | None, face_px: float) -> Quality:
    """The quality of one aligned face, 112 112 3; ``face`` None: only the crop is known."""
    sharp = sharpness(crop)
    return Quality(
        frontal=1.0 if face is None else frontal_share(face),
        sharp=sharp / (sharp + HALF_SHARPNESS),
        large=face_px / (face_px + CROP_PX),
        score=1.0 if face is None or face.score is None else face.score,
    )


def quality_notes(face: Face | None, face_px: float) -> tuple[Note, ...]:
    """What is wrong with a reference though it can be used."""
    notes = []
    if face_px < CROP_PX:
        notes.append(Note("small_face", f"small: {face_px:.0f} px, {CROP_PX} px or more is better"))
    if face is None:
        return (*notes, *_crop_notes(face_px))
    if face.needed_margin:
        margin = "found only with a margin around the picture: one that shows more around the face is better"
        notes.append(Note("face_fills_picture", margin))
    if face.yaw_deg is not None and abs(face.yaw_deg) > WARN_YAW_DEG:
        notes.append(Note("turned_face", f"turned aside by {abs(face.yaw_deg):.0f} degrees"))
    elif face.yaw_deg is None and is_profile(face.points):
        notes.append(Note("turned_face", "seen from the side: recognisers know faces from in front"))
    if face.pitch_deg is not None and abs(face.pitch_deg) > WARN_PITCH_DEG:
        notes.append(Note("tilted_face", f"tilted up or down by {abs(face.pitch_deg):.0f} degrees"))
    if abs(face.roll_deg) > WARN_ROLL_DEG:
        roll = f"on its side by {abs(face.roll_deg):.0f} degrees"
        notes.append(Note("face_on_its_side", f"{roll}: rotate the picture, Stand-In gets it as it is"))
    if face.score is not None and face.score < WARN_SCORE:
        score = f"detection score only {face.score:.2f}"
        notes.append(Note("unsure_face", f"{score}: is something in front of the face?"))
    return tuple(notes)


def _crop_notes(side_px: float) -> tuple[Note, ...]:
    """What must be so of a crop that is said to be aligned, where its size does not tell."""
    if side_px == CROP_PX:
        return ()
    left, right = TEMPLATE[:2]
    eyes = f"{100 * left.real / CROP_PX:.0f} and {100 * right.real / CROP_PX:.0f} % of the width"
    text = (
        f"taken as aligned, the eyes at {eyes} and {100 * left.imag / CROP_PX:.0f} % of the height: aligned crops have "
        f"{CROP_PX} px as a rule and this picture {side_px:.0f}. Where the face lies otherwise, choose auto in face"
    )
    return (Note("alignment_unknown", text),)
