"""Curves of a recording with exactly one value for every video frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy
import torch
from torch import Tensor

from ..errors import InputError
from .sound import ANALYSIS_RATE_HZ, SHORTEST_SAMPLES, Sound, fit_to_frames, load_librosa, mono, mono_at
from .timing import frame_centres_s, frame_count, frame_edges, sample_count

FLOOR_DB = -80.0
HOP_SAMPLES = 320  # at 16 kHz: 20 ms
WINDOW_SAMPLES = 1024  # at 16 kHz: 64 ms
DECAY_SAMPLES = 2 * WINDOW_SAMPLES  # at 16 kHz: this long after the end of the sound every track is at rest


@dataclass(frozen=True, slots=True)
class TrackSet:
    """What a recording does during every frame of a video."""

    fps: Fraction  # frames per second
    frames: int  # values in every track
    tracks: Mapping[str, Tensor]  # name -> f, float32, finite. rms_db: dB re full scale, -80 or more; onset: 0 or more


# Kernels


def rms_db(samples: Tensor, edges: Tensor) -> Tensor:
    """Level between the edges in dB of full scale, -80 at least: s, f+1 -> f."""
    total = torch.nn.functional.pad(samples.square().cumsum(0), (1, 0))  # s+1
    inside = edges.clamp(max=len(samples))  # f+1
    mean_square = total[inside].diff() / inside.diff().clamp(min=1)  # f
    return 10 * torch.log10(mean_square.clamp(min=10 ** (FLOOR_DB / 10)))  # f


def onset_strength(samples: Tensor) -> Tensor:
    """librosa's onset envelope of a 16 kHz signal, one value every 20 ms: s -> k."""
    padded = numpy.pad(samples.numpy(), (0, max(0, WINDOW_SAMPLES - len(samples))))
    envelope = load_librosa().onset.onset_strength(
        y=padded, sr=ANALYSIS_RATE_HZ, hop_length=HOP_SAMPLES, n_fft=WINDOW_SAMPLES
    )
    return torch.from_numpy(envelope).double()


def at_frame_centres(values: Tensor, frames: int, fps: Fraction) -> Tensor:
    """Linear interpolation of 20 ms values at the middle of every frame: k -> f."""
    position = frame_centres_s(frames, fps) * (ANALYSIS_RATE_HZ / HOP_SAMPLES)  # f
    return torch.from_numpy(numpy.interp(position.numpy(), numpy.arange(len(values)), values.numpy()))


# Tracks


def frames_to_cover(sound: Sound, frames: int, fps: Fraction) -> int:
    """The number of frames asked for, or, for 0, as many as the recording lasts; raises InputError when unusable."""
    if frames < 0:
        raise InputError("frames", found=frames, wanted="0 or more", fix="0 takes the length of the audio.")
    if fps > sound.rate_hz:
        raise InputError(
            "fps",
            found=f"{float(fps):g} frames a second for {sound.rate_hz} samples a second",
            wanted="at least one sample a frame",
            fix="Set the frame rate of the video.",
        )
    count = frames or frame_count(sound.samples, sound.rate_hz, fps)
    if sample_count(count, ANALYSIS_RATE_HZ, fps) < SHORTEST_SAMPLES:
        raise InputError(
            "frames",
            found=f"{count} at {float(fps):g} fps ({1000 * count / float(fps):.1f} ms)",
            wanted=f"at least {1000 * SHORTEST_SAMPLES / ANALYSIS_RATE_HZ:.0f} ms of video",
            fix="Ask for more frames.",
        )
    return count


def frames_heard(sound: Sound, frames: int, fps: Fraction) -> int:
    """How many of the frames a recording can be heard in; in all later ones there is silence."""
    decay_samples = sound.rate_hz * DECAY_SAMPLES // ANALYSIS_RATE_HZ
    return min(frames, frame_count(sound.samples + decay_samples, sound.rate_hz, fps))


def analyse(sound: Sound, frames: int, fps: Fraction) -> TrackSet:
    """Measures the first ``frames`` frames of a recording; beyond its end there is silence, which is not computed."""
    heard = frames_heard(sound, frames, fps)
    fitted = fit_to_frames(sound, heard, fps)
    level = rms_db(mono(fitted), frame_edges(heard, sound.rate_hz, fps))  # h
    onset = at_frame_centres(onset_strength(mono_at(fitted, ANALYSIS_RATE_HZ)), heard, fps)  # h
    silent = (0, frames - heard)
    tracks = {
        "rms_db": torch.nn.functional.pad(level, silent, value=FLOOR_DB).float(),  # f
        "onset": torch.nn.functional.pad(onset, silent).float(),  # f
    }
    return TrackSet(fps=fps, frames=frames, tracks=tracks)
