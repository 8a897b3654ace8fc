"""The shots that are compared: each a clip of its own, read picture by picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...checks import kind_of
from ...errors import InputError, inputs_renamed
from ...media.colour import Pixels
from ...media.source import LONGEST_S, VideoSource, most_frames
from ..images import read_pictures


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One clip and the input that it came through."""

    input_name: str
    pictures: Iterable[Pixels] = field(repr=False)  # each h w c; those of a film are decoded as they are asked for
    white: float  # the largest value of a pixel; black is 0
    frames: int

    @property
    def label(self) -> str:
        """What a person calls it: "clip 3" of clips.clip_3."""
        return label_of(self.input_name)


def label_of(input_name: str) -> str:
    """The words for one of several inputs of a kind: its own name with its number."""
    return input_name.rpartition(".")[2].replace("_", " ")


def checked_shot(clip: object, input_name: str) -> Shot:
    """The shot of an IMAGE batch, f h w c in [0, 1], or of an open film; raises InputError for what is neither."""
    if isinstance(clip, VideoSource):
        with inputs_renamed(frames=input_name):
            shot = Shot(input_name, clip, 255.0, clip.frames)
            most = most_frames(clip.fps)
        if most and shot.frames > most:
            found, wanted = f"more than {most} frames at {float(clip.fps):g} fps", f"at most {LONGEST_S} s"
            raise InputError(input_name, found=found, wanted=wanted, fix="Check a part of it.")
    elif isinstance(clip, Tensor) and clip.ndim == 4:
        shot = Shot(input_name, clip, 1.0, len(clip))
    else:
        found = f"a tensor of shape {tuple(clip.shape)}" if isinstance(clip, Tensor) else kind_of(clip)
        raise InputError(
            input_name,
            found=found,
            wanted="images as frames, height, width, channels, or a VIDEO",
            fix="Connect an IMAGE, for example from VAE Decode, or a VIDEO.",
        )
    if not shot.frames:
        raise InputError(input_name, found="no frame", wanted="at least one", fix="Check what makes the clip.")
    return shot


def frames_of(shot: Shot, indices: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Index and picture, h w 3 fp32 in [0, 1], of some frames in their order, in one pass; errors name the input."""
    wanted, last = set(indices), max(indices)
    with inputs_renamed(frames=shot.input_name, images=shot.input_name):
        for index, pixels in enumerate(shot.pictures):
            if index in wanted:
                yield index, read_pictures(torch.as_tensor(pixels)[None] / shot.white).rgb[0]
            if index == last:
                return
