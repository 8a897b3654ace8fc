"""The host's AUDIO, checked, and what is done to its samples before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from types import ModuleType

import torch
from torch import Tensor

from ..errors import InputError, MissingDependencyError
from .timing import sample_count

ANALYSIS_RATE_HZ = 16000  # what wav2vec2 hears
SHORTEST_SAMPLES = 720  # at 16 kHz: two wav2vec2 steps, the fewest that can be interpolated
GIB = 2**30
CANCELLED_DB = -20.0  # a mono mix this far below its channels has lost most of the sound


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording."""

    waveform: Tensor  # c s, floating point, every value finite
    rate_hz: int

    @property
    def samples(self) -> int:
        return self.waveform.shape[1]

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate_hz

    def as_audio(self) -> dict[str, object]:
        """The host's AUDIO."""
        return {"waveform": self.waveform.unsqueeze(0), "sample_rate": self.rate_hz}


# Checks


def read_recording(audio: object, *, name: str = "audio") -> Sound:
    """The recording in the host's AUDIO, of any length but none; raises InputError for anything else."""
    if audio is None:
        raise InputError(name, found="no sound", wanted="AUDIO", fix="Load audio, or a video that has a sound track.")
    if not isinstance(audio, Mapping) or not {"waveform", "sample_rate"} <= audio.keys():
        raise InputError(
            name,
            found=type(audio).__name__,
            wanted="AUDIO with 'waveform' and 'sample_rate'",
            fix="Link the AUDIO output of a loader.",
        )
    return Sound(waveform=checked_waveform(audio["waveform"], name), rate_hz=checked_rate(audio["sample_rate"], name))


def read_audio(audio: object, *, name: str = "audio") -> Sound:
    """The recording in the host's AUDIO; raises InputError for anything that cannot be measured."""
    sound = read_recording(audio, name=name)
    if sound.samples * ANALYSIS_RATE_HZ < SHORTEST_SAMPLES * sound.rate_hz:
        raise InputError(
            name,
            found=f"{sound.samples} samples at {sound.rate_hz} Hz ({1000 * sound.duration_s:.1f} ms)",
            wanted=f"at least {1000 * SHORTEST_SAMPLES / ANALYSIS_RATE_HZ:.0f} ms of sound",
            fix="Use a longer recording.",
        )
    return sound


def checked_waveform(waveform: object, name: str) -> Tensor:
    """The c s samples of a waveform that is 1 c s, floating point and finite."""
    if not isinstance(waveform, Tensor) or waveform.ndim != 3 or not waveform.is_floating_point():
        found = f"{waveform.dtype} {list(waveform.shape)}" if isinstance(waveform, Tensor) else type(waveform).__name__
        raise InputError(
            name,
            found=f"a waveform that is {found}",
            wanted="a float tensor [batch, channels, samples]",
            fix="Link the AUDIO output of a loader.",
        )
    if waveform.shape[0] != 1:
        raise InputError(
            name,
            found=f"a batch of {waveform.shape[0]} recordings",
            wanted="one recording",
            fix="Send the recordings through one at a time.",
        )
    if waveform.numel() == 0:
        found = f"{waveform.shape[1]} channels of {waveform.shape[2]} samples"
        raise InputError(name, found=found, wanted="at least one sample", fix="Check that the recording is not empty.")
    bad = (~torch.isfinite(waveform[0])).any(dim=0).nonzero()  # n 1
    if len(bad):
        raise InputError(
            name,
            found=f"NaN or infinity at sample {int(bad[0])} ({len(bad)} such samples)",
            wanted="finite samples",
            fix="Find the node that broke the sound; exporting it as a WAV file again helps.",
        )
    return waveform[0]


def checked_rate(rate_hz: object, name: str) -> int:
    """A sample rate above 0."""
    if not isinstance(rate_hz, Integral) or rate_hz <= 0:
        raise InputError(
            name,
            found=f"a sample rate of {rate_hz!r}",
            wanted="a whole number of Hz above 0",
            fix="Link the AUDIO output of a loader.",
        )
    return int(rate_hz)


def check_fits(sound: Sound, frames: int, fps: Fraction, *, free_bytes: int) -> None:
    """Raises InputError when the recording, cut or padded to the frames, is larger than the free memory."""
    channels, samples = sound.waveform.shape[0], sample_count(frames, sound.rate_hz, fps)
    needed_bytes = channels * samples * sound.waveform.element_size()
    if needed_bytes <= free_bytes:
        return
    raise InputError(
        "frames",
        found=f"{frames} at {float(fps):g} fps, {samples / sound.rate_hz:.0f} s of audio that need "
        f"{needed_bytes / GIB:.1f} GiB",
        wanted=f"at most the {free_bytes / GIB:.1f} GiB of memory that are free",
        fix="Ask for fewer frames, or free memory first.",
    )


# Samples


def fit_to_frames(sound: Sound, frames: int, fps: Fraction) -> Sound:
    """The recording cut, or padded with zeros at its end, to floor(frames * rate / fps) samples."""
    samples = sample_count(frames, sound.rate_hz, fps)
    padding = max(0, samples - sound.samples)
    return Sound(torch.nn.functional.pad(sound.waveform[:, :samples], (0, padding)), sound.rate_hz)


def mono(sound: Sound) -> Tensor:
    """The mean of the channels: s, float64, on the CPU."""
    return sound.waveform.double().mean(dim=0).cpu()


def mix_gain_db(sound: Sound) -> float:
    """How much quieter the mono mix is than its channels; -inf when they cancel out, 0 for silence and for mono."""
    channels = sound.waveform.double().square().mean()
    return float(10 * torch.log10(mono(sound).square().mean().to(channels) / channels)) if channels > 0 else 0.0


def load_librosa() -> ModuleType:
    """The librosa package; raises MissingDependencyError when it is not installed."""
    try:
        import librosa
    except ImportError as error:
        raise MissingDependencyError("librosa", needed_for="audio") from error
    return librosa


def resample(samples: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Samples at another rate, by the high-quality soxr filter that the S2V reference uses too: s -> s', float64."""
    if from_hz == to_hz:
        return samples
    resampled = load_librosa().resample(samples.numpy(), orig_sr=from_hz, target_sr=to_hz, res_type="soxr_hq")
    return torch.from_numpy(resampled)


def mono_at(sound: Sound, rate_hz: int) -> Tensor:
    """The mono mix at another rate: s, float64, on the CPU."""
    return resample(mono(sound), sound.rate_hz, rate_hz)
