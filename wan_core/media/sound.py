"""One recording: the host's AUDIO, checked, and its mono mix at any rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..checks import is_audio
from ..errors import InputError, optional_package, quoted, require_parts

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 1_000_000  # others come from damaged files, and resampled become any size
PIECE_SAMPLES = 2**20
FROM_A_LOADER = "Link the AUDIO output of a loader."


@dataclass(frozen=True, slots=True)
class Sound:
    """One recording."""

    waveform: Tensor = field(repr=False)  # c s, floating point, every value finite
    rate_hz: int

    @property
    def samples(self) -> int:
        return self.waveform.shape[1]

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate_hz

    def as_audio(self) -> dict[str, Any]:
        """The host's AUDIO."""
        return {"waveform": self.waveform.unsqueeze(0), "sample_rate": self.rate_hz}


# Checks


def checked_sound(audio: object, *, name: str = "audio", shortest_ms: int = 0) -> Sound:
    """The recording in the host's AUDIO, not empty and not shorter; raises InputError for anything else."""
    if audio is None:
        raise InputError(name, found="no sound", wanted="AUDIO", fix="Load audio, or a video that has a sound track.")
    if not is_audio(audio):
        wanted = "AUDIO with 'waveform' and 'sample_rate'"
        raise InputError(name, found=type(audio).__name__, wanted=wanted, fix=FROM_A_LOADER)
    sound = Sound(_checked_waveform(audio["waveform"], name), _checked_rate(audio["sample_rate"], name))
    if 1000 * sound.samples < shortest_ms * sound.rate_hz:
        raise InputError(
            name,
            found=f"{sound.samples} samples at {sound.rate_hz} Hz ({1000 * sound.duration_s:.1f} ms)",
            wanted=f"at least {shortest_ms} ms of sound",
            fix="Use a longer recording.",
        )
    return sound


def _checked_waveform(waveform: object, name: str) -> Tensor:
    """The c s samples of a waveform that is 1 c s, floating point and finite."""
    if not isinstance(waveform, Tensor) or waveform.ndim != 3 or not waveform.is_floating_point():
        found = f"{waveform.dtype} {list(waveform.shape)}" if isinstance(waveform, Tensor) else type(waveform).__name__
        wanted = "a float tensor [batch, channels, samples]"
        raise InputError(name, found=f"a waveform that is {found}", wanted=wanted, fix=FROM_A_LOADER)
    if waveform.shape[0] != 1:
        found, fix = f"a batch of {waveform.shape[0]} recordings", "Send the recordings through one at a time."
        raise InputError(name, found=found, wanted="one recording", fix=fix)
    if waveform.numel() == 0:
        found = f"{waveform.shape[1]} channels of {waveform.shape[2]} samples"
        raise InputError(name, found=found, wanted="at least one sample", fix="Check that the recording is not empty.")
    if not torch.stack(waveform.aminmax()).isfinite().all():  # without a copy of the samples
        bad = (~torch.isfinite(waveform[0])).any(dim=0).nonzero()  # n 1
        found = f"NaN or infinity at sample {int(bad[0])} ({len(bad)} such samples)"
        fix = "Find the node that broke the sound; exporting it as a WAV file again helps."
        raise InputError(name, found=found, wanted="finite samples", fix=fix)
    return waveform[0]


def _checked_rate(rate_hz: object, name: str) -> int:
    """A sample rate that there is."""
    if not isinstance(rate_hz, Integral) or not LOWEST_RATE_HZ <= int(rate_hz) <= HIGHEST_RATE_HZ:
        found, wanted = f"a sample rate of {quoted(rate_hz)}", f"whole Hz from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}"
        raise InputError(name, found=found, wanted=wanted, fix=FROM_A_LOADER)
    return int(rate_hz)


# Samples


def mono(sound: Sound) -> Tensor:
    """The mean of the channels: s, float64, on the CPU."""
    mix = torch.zeros(sound.samples, dtype=torch.float64, device=sound.waveform.device)  # s
    for channel in sound.waveform:
        mix += channel
    return (mix / len(sound.waveform)).cpu()


def mono_at(sound: Sound, rate_hz: int) -> Tensor:
    """The mono mix at another rate, by the high-quality soxr filter that the S2V reference uses too: s', float64."""
    mix = mono(sound)  # s
    if rate_hz == sound.rate_hz:
        return mix
    librosa = load_librosa()
    return torch.from_numpy(librosa.resample(mix.numpy(), orig_sr=sound.rate_hz, target_sr=rate_hz, res_type="soxr_hq"))


def mix_gain_db(sound: Sound) -> float:
    """How much quieter the mono mix is than its channels; -inf when they cancel out, 0 for silence and for mono."""
    channels = _mean_square(sound.waveform)
    return float(10 * torch.log10(_mean_square(mono(sound)) / channels)) if channels > 0 else 0.0


def _mean_square(samples: Tensor) -> Tensor:
    """Summed up in float64, piece by piece, so that no second copy of the samples is made."""
    pieces = samples.reshape(-1).split(PIECE_SAMPLES)
    return torch.stack([piece.double().square().sum() for piece in pieces]).sum().cpu() / samples.numel()


def load_librosa() -> ModuleType:
    """The librosa package; raises MissingDependencyError when it cannot be used."""
    with optional_package("librosa", needed_for="audio"):
        import librosa

        require_parts(librosa, "resample", "onset")
    return librosa
