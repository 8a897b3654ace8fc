"""Notes on what the conditioning of experts brings beside text: what they cannot read, and the picture that they miss.

The names are those of the host, which passes over what a network has no place for without a word.
"""

from __future__ import annotations

import math

from ..notes import Note
from .experts import ExpertParams

PICTURE = "concat_latent_image"
BROUGHT = {  # condition -> what the user connected
    PICTURE: "a start picture or control video",
    "clip_vision_output": "a CLIP vision output",
    "reference_latents": "a reference picture",
    "vace_frames": "a VACE control video",
    "camera_conditions": "a camera path",
    "audio_embed": "speech or music",
    "control_video": "an S2V control video",
    "reference_motion": "frames of motion before",
    "face_video_pixels": "a video of a face",
    "pose_video_latent": "a video of poses",
}


def on_conditions(high: ExpertParams, low: ExpertParams) -> list[Note]:
    """Notes on what the conditioning brings to each expert; once for both where it is the same."""
    slots = {"high": high, "low": low}
    unread: dict[str, list[str]] = {}  # what it is -> slots
    lacking: dict[str, list[str]] = {}  # what brings no picture -> slots
    for slot, expert in slots.items():
        for condition in unread_conditions(expert):
            unread.setdefault(f"{BROUGHT[condition]} ({condition})", []).append(slot)
        if lists := lists_without_picture(expert):
            lacking.setdefault(" and ".join(lists), []).append(slot)
    return [
        Note(
            "unread_condition",
            f"{_subject(named)} cannot read {what}, which the conditioning brings; the video will not follow it; load "
            "the model that was made for it, or take it off",
        )
        for what, named in unread.items()
    ] + [
        Note(
            "no_picture",
            f"{_subject(named)} will see an empty picture, because there is none in {lists} ({PICTURE}); give a start "
            "image to Wan Image To Video, or to the node that belongs to the model, or load the text-to-video model",
        )
        for lists, named in lacking.items()
    ]


def unread_conditions(expert: ExpertParams) -> list[str]:
    """The conditions that are brought to an expert and that it does not read."""
    brought = frozenset[str]().union(*(conditions.brought for conditions in expert.conditions))
    return [condition for condition in BROUGHT if condition in brought - expert.reads]


def lists_without_picture(expert: ExpertParams) -> list[str]:
    """The lists of conditions that bring no picture to an expert that reads one, or have an entry that brings none.

    At cfg 1 negative is not evaluated.
    """
    unused = {"negative"} if expert.cfg is not None and math.isclose(expert.cfg, 1.0) else set()
    pictures: dict[str, list[bool]] = {}  # list -> whether each entry brings one
    for entry in expert.conditions:
        if entry.name not in unused and PICTURE in expert.reads:
            pictures.setdefault(entry.name, []).append(PICTURE in entry.brought)
    lacking = {name: any(brought) for name, brought in pictures.items() if not all(brought)}
    return [f"an entry of {name}" if has_another else name for name, has_another in lacking.items()]


def _subject(slots: list[str]) -> str:
    return " and ".join(f"the {slot}-noise expert" for slot in slots)
