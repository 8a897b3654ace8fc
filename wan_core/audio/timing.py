"""When a video frame begins and ends, in exact integers: nothing here is accumulated, so nothing drifts."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import InputError

NTSC_TOLERANCE_FPS = 0.0005  # half a step of an fps widget: 23.976 is 24000/1001, 23.98 is not
CHUNK_FRAMES = 80  # frames that one S2V sampling unit adds
DROPPED_FRAMES = 3  # the first chunk decodes to this many fewer
assert (CHUNK_FRAMES - DROPPED_FRAMES - 1) % 4 == 0  # the VAE makes 4 n + 1 frames


def exact_fps(fps: float | Fraction, *, name: str = "fps") -> Fraction:
    """The frame rate as a fraction: n * 1000 / 1001 where it is one, else the nearest with a denominator up to 1001."""
    if not isinstance(fps, (int, float, Fraction)) or not math.isfinite(fps) or fps <= 0:
        raise InputError(name, found=fps, wanted="a frame rate above 0", fix="Set the frame rate of the video.")
    if isinstance(fps, Fraction):
        return fps
    ntsc = Fraction(round(fps * 1.001) * 1000, 1001)
    nearest = ntsc if abs(fps - ntsc) < NTSC_TOLERANCE_FPS else Fraction(fps).limit_denominator(1001)
    if nearest <= 0:
        raise InputError(name, found=fps, wanted="at least 0.001 fps", fix="Set the frame rate of the video.")
    return nearest


def frame_count(samples: int, rate_hz: int, fps: Fraction) -> int:
    """How many frames it takes to cover the samples."""
    return -(-samples * fps.numerator // (rate_hz * fps.denominator))


def sample_count(frames: int, rate_hz: int, fps: Fraction) -> int:
    """How many whole samples fit into the frames: floor(frames * rate / fps)."""
    return frames * fps.denominator * rate_hz // fps.numerator


def frame_edges(frames: int, rate_hz: int, fps: Fraction) -> Tensor:
    """First sample of every frame, and the end: frame n holds the samples k with floor(k / rate * fps) = n.

    Returns: frames+1, int64.
    """
    index = torch.arange(frames + 1, dtype=torch.int64)  # f+1
    return -(-index * fps.denominator * rate_hz // fps.numerator)  # f+1


def frame_centres_s(frames: int, fps: Fraction) -> Tensor:
    """The middle of every frame in seconds: f, float64."""
    halves = 2 * torch.arange(frames, dtype=torch.int64) + 1  # f
    return (halves * fps.denominator).double() / (2 * fps.numerator)  # f


def chunk_count(frames: int) -> int:
    """How many S2V chunks it takes to make the frames: C chunks make 80 C - 3."""
    return -(-(frames + DROPPED_FRAMES) // CHUNK_FRAMES)
