"""When a video frame begins and ends, in exact integers: nothing here is accumulated, so nothing drifts."""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor

CHUNK_FRAMES = 80  # frames that one S2V sampling unit adds
DROPPED_FRAMES = 3  # the first chunk decodes to this many fewer
assert (CHUNK_FRAMES - DROPPED_FRAMES - 1) % 4 == 0  # the VAE makes 4 n + 1 frames


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
