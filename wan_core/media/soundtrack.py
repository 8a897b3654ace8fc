"""The sound of a video file: cut or padded to the picture, and handed over in the encoder's own small blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy
import torch
from torch import Tensor

from ..errors import InputError

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  # channels that are kept as they are
ENCODERS = {"mp4": "aac", "mov": "aac", "mkv": "flac"}  # container: what encodes its sound; flac is lossless
BIT_RATE_PER_CHANNEL = 96000  # of aac
AAC_BITS_PER_SAMPLE = 4  # more than 6 a channel is not allowed
USUAL_RATE_HZ = 48000
LARGEST_RATE_HZ = 655350  # of flac
RESAMPLER_REACH = 64  # samples on each side, at the lower one of both rates, that FFmpeg's resampler may look at


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """One recording; it starts with the first frame."""

    waveform: Tensor = field(repr=False)  # c s, floating point, finite; any device, any length
    rate_hz: int


@dataclass(frozen=True, slots=True)
class SoundPlan:
    """How a recording becomes the sound of a file."""

    encoder: str  # "aac" or "flac"
    layout: str  # one of LAYOUTS
    rate_hz: int
    samples: int  # a channel; just enough for the picture
    changes: tuple[str, ...]  # what is done to the sound, for the user

    @property
    def bit_rate(self) -> int:
        """Bits a second; flac takes what it needs."""
        channels = next(count for count, layout in LAYOUTS.items() if layout == self.layout)
        return channels * min(BIT_RATE_PER_CHANNEL, AAC_BITS_PER_SAMPLE * self.rate_hz)


def samples_for(frames: int, fps: Fraction, rate_hz: int) -> int:
    """ceil(frames / fps * rate), exactly."""
    return -(-frames * rate_hz * fps.denominator // fps.numerator)


def rate_for(encoder: str, rate_hz: int) -> int:
    """The rate that the encoder takes: the recording's own, else the next higher one up to 48 kHz."""
    rates = av.codec.Codec(encoder, "w").audio_rates
    if not rates or rate_hz in rates:
        return rate_hz
    return min((rate for rate in rates if rate_hz < rate <= USUAL_RATE_HZ), default=USUAL_RATE_HZ)


def plan_sound(track: Soundtrack, container: str, frames: int, fps: Fraction) -> SoundPlan:
    """What happens to a recording in a file of that container, with that many frames.

    Raises InputError for a rate that no encoder knows.
    """
    if track.rate_hz > LARGEST_RATE_HZ:
        raise InputError(
            "audio",
            found=f"a sample rate of {track.rate_hz} Hz",
            wanted=f"at most {LARGEST_RATE_HZ} Hz",
            fix="Resample the recording to 48000 Hz.",
        )
    encoder = ENCODERS[container]
    rate_hz = rate_for(encoder, track.rate_hz)
    channels, samples = track.waveform.shape
    changes: list[str] = []
    if channels not in LAYOUTS:
        changes.append(
            f"sound: {channels} channels mixed down to mono, because which speakers they are for is not known"
        )
    if rate_hz != track.rate_hz:
        changes.append(f"sound: resampled from {track.rate_hz} to {rate_hz} Hz, because {encoder} has no such rate")
    wanted = samples_for(frames, fps, track.rate_hz)
    seconds = abs(samples - wanted) / track.rate_hz
    if samples != wanted and seconds >= 1 / fps:
        done = f"{seconds:.2f} s cut off its end" if samples > wanted else f"{seconds:.2f} s of silence added"
        changes.append(f"sound: {done}, to end with the picture")
    layout = LAYOUTS.get(channels, "mono")
    return SoundPlan(encoder, layout, rate_hz, samples_for(frames, fps, rate_hz), tuple(changes))


# Samples


def _audio_frame(samples: numpy.ndarray, layout: str, rate_hz: int, start: int) -> av.AudioFrame:
    """Samples (c s, float32) for PyAV, from a place in the recording."""
    frame = av.AudioFrame.from_ndarray(numpy.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
    return frame


def _mixed(waveform: Tensor, layout: str) -> Tensor:
    """Samples in as many channels as the layout has: c s."""
    return waveform if LAYOUTS.get(waveform.shape[0]) == layout else waveform.mean(dim=0, keepdim=True)


def _at_rate(track: Soundtrack, plan: SoundPlan) -> Tensor:
    """The recording at the plan's rate, mixed down if the plan says so, by FFmpeg's resampler: c s."""
    if track.rate_hz == plan.rate_hz:
        return track.waveform
    reach = RESAMPLER_REACH * max(1, -(-track.rate_hz // plan.rate_hz))
    needed = -(-plan.samples * track.rate_hz // plan.rate_hz) + reach
    recorded = _mixed(track.waveform[:, :needed].float(), plan.layout).cpu()  # c s
    source = torch.nn.functional.pad(recorded, (0, reach))  # of a sound shorter than its reach it would give nothing
    resampler = av.AudioResampler(format="fltp", layout=plan.layout, rate=plan.rate_hz)
    whole = _audio_frame(source.numpy(), plan.layout, track.rate_hz, 0)
    pieces = [piece.to_ndarray() for piece in (*resampler.resample(whole), *resampler.resample(None))]
    return torch.from_numpy(numpy.concatenate(pieces, axis=1))  # c s


def blocks(track: Soundtrack, plan: SoundPlan, block_samples: int) -> Iterator[av.AudioFrame]:
    """The whole sound in blocks that follow each other; silence where the recording has ended."""
    waveform = _at_rate(track, plan)  # c s
    for start in range(0, plan.samples, block_samples):
        length = min(block_samples, plan.samples - start)
        piece = _mixed(waveform[:, start : start + length].float(), plan.layout).cpu()  # c s
        padded = torch.nn.functional.pad(piece, (0, length - piece.shape[1]))
        yield _audio_frame(padded.numpy(), plan.layout, plan.rate_hz, start)
