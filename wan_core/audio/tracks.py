"""Curves of a recording with exactly one value for every video frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

import numpy
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..media.sound import Sound, load_librosa, mono, mono_at
from .fitting import fit_to_frames
from .timing import frame_centres_s, frame_count, frame_edges

FLOOR_DB = -80.0
RATE_HZ = 16000  # of the onsets; what wav2vec2 hears
HOP_SAMPLES = 320  # at 16 kHz: 20 ms
WINDOW_SAMPLES = 1024  # at 16 kHz: 64 ms
WINDOWS_AT_ONCE = 4096
DECAY_SAMPLES = 2 * WINDOW_SAMPLES  # at 16 kHz: this long after the end of the sound every track is at rest


@dataclass(frozen=True, slots=True)
class TrackSet:
    """What a recording does during every frame of a video."""

    fps: Fraction
    frames: int
    rms_db: Tensor = field(repr=False)  # f, float32: level in dB of full scale, -80 or more
    onset: Tensor = field(repr=False)  # f, float32: onset strength, 0 or more


# Kernels


def rms_db(samples: Tensor, edges: Tensor) -> Tensor:
    """Level between the edges in dB of full scale, -80 at least: s, f+1 -> f."""
    total = pad(samples, (1, 0)).square_().cumsum_(0)  # s+1
    inside = edges.clamp(max=len(samples))  # f+1
    mean_square = total[inside].diff() / inside.diff().clamp(min=1)  # f
    return 10 * torch.log10(mean_square.clamp(min=10 ** (FLOOR_DB / 10)))  # f


def onset_strength(samples: Tensor, frames: int, fps: Fraction) -> Tensor:
    """librosa's onset envelope of a 16 kHz signal, one value every 20 ms, at the middle of every frame: s -> f.

    The spectrum is taken piece by piece: all of it would be ten times the signal.
    """
    librosa = load_librosa()
    shape = {"sr": RATE_HZ, "hop_length": HOP_SAMPLES, "n_fft": WINDOW_SAMPLES}
    longest = max(WINDOW_SAMPLES, len(samples))
    around = WINDOW_SAMPLES // 2  # windows are centred
    padded = numpy.pad(samples.numpy(), (around, around + longest - len(samples)))
    count = 1 + longest // HOP_SAMPLES  # k
    bands = [
        librosa.feature.melspectrogram(
            y=padded[first * HOP_SAMPLES : (min(count, first + WINDOWS_AT_ONCE) - 1) * HOP_SAMPLES + WINDOW_SAMPLES],
            center=False,
            fmax=RATE_HZ / 2,
            **shape,
        )
        for first in range(0, count, WINDOWS_AT_ONCE)
    ]  # each m k'
    loudness_db = librosa.power_to_db(numpy.concatenate(bands, axis=1))  # m k
    envelope = librosa.onset.onset_strength(S=loudness_db, **shape)  # k
    place = frame_centres_s(frames, fps) * (RATE_HZ / HOP_SAMPLES)  # f, in steps of the envelope
    return torch.from_numpy(numpy.interp(place.numpy(), numpy.arange(len(envelope)), envelope))  # f


# Tracks


def measure(sound: Sound, frames: int, fps: Fraction) -> TrackSet:
    """The tracks of the first ``frames`` frames; beyond the end of the sound is silence, which is not computed."""
    decay_samples = sound.rate_hz * DECAY_SAMPLES // RATE_HZ
    heard = min(frames, frame_count(sound.samples + decay_samples, sound.rate_hz, fps))  # later frames are silent
    fitted = fit_to_frames(sound, heard, fps)
    level = rms_db(mono(fitted), frame_edges(heard, sound.rate_hz, fps))  # h
    onset = onset_strength(mono_at(fitted, RATE_HZ), heard, fps)  # h
    silent = (0, frames - heard)
    return TrackSet(fps, frames, pad(level, silent, value=FLOOR_DB).float(), pad(onset, silent).float())
