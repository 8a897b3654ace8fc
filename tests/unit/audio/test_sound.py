from __future__ import annotations

import math
import sys
from fractions import Fraction
from typing import Any

import pytest
import torch

from wan_core.audio.sound import (
    Sound,
    check_fits,
    fit_to_frames,
    mix_gain_db,
    mono,
    mono_at,
    read_audio,
    read_recording,
    resample,
)
from wan_core.errors import InputError, MissingDependencyError


def audio(waveform: Any = None, rate: Any = 16000) -> dict[str, Any]:
    return {"waveform": torch.zeros(1, 1, 16000) if waveform is None else waveform, "sample_rate": rate}


def with_bad_sample(value: float) -> torch.Tensor:
    waveform = torch.zeros(1, 2, 16000)
    waveform[0, 1, 123] = value
    waveform[0, 0, 4567] = value
    return waveform


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, "no sound"),
        (torch.zeros(1, 1, 16000), "Tensor"),
        ({"waveform": torch.zeros(1, 1, 16000)}, "dict"),
        (audio([0.0]), "list"),
        (audio(torch.zeros(1, 16000)), "torch.float32 [1, 16000]"),
        (audio(torch.zeros(1, 1, 16000, dtype=torch.int16)), "torch.int16 [1, 1, 16000]"),
        (audio(torch.zeros(1, 1, 0)), "1 channels of 0 samples"),
        (audio(torch.zeros(1, 0, 16000)), "0 channels of 16000 samples"),
        (audio(torch.zeros(2, 1, 16000)), "a batch of 2 recordings"),
        (audio(torch.zeros(1, 1, 719)), "719 samples at 16000 Hz"),
        (audio(torch.zeros(1, 1, 1984), 44100), "1984 samples at 44100 Hz"),
        (audio(with_bad_sample(math.nan)), "NaN or infinity at sample 123 (2 such samples)"),
        (audio(with_bad_sample(-math.inf)), "NaN or infinity at sample 123 (2 such samples)"),
        (audio(rate=0), "a sample rate of 0"),
        (audio(rate=-16000), "a sample rate of -16000"),
        (audio(rate=16000.5), "a sample rate of 16000.5"),
        (audio(rate=None), "a sample rate of None"),
    ],
)
def test_audio_that_cannot_be_measured_is_refused(given: Any, found: str) -> None:
    with pytest.raises(InputError) as error:
        read_audio(given)
    assert str(error.value).startswith(f"audio: found {found}" if found[0].isdigit() else "audio: found ")
    assert found in str(error.value)
    assert "; wanted " in str(error.value)


@pytest.mark.parametrize(("samples", "rate"), [(720, 16000), (1985, 44100), (360, 8000)])
def test_forty_five_milliseconds_are_enough(samples: int, rate: int) -> None:
    sound = read_audio(audio(torch.rand(1, 2, samples), rate))
    assert sound.waveform.shape == (2, samples)
    assert sound.as_audio()["waveform"].shape == (1, 2, samples)


def test_a_recording_that_is_only_read_may_be_as_short_as_a_sample() -> None:
    assert read_recording(audio(torch.ones(1, 2, 1), 48000)).waveform.shape == (2, 1)
    with pytest.raises(InputError, match="audio: found 2 channels of 0 samples; wanted at least one sample"):
        read_recording(audio(torch.ones(1, 2, 0)))


def test_mono_is_the_mean_of_the_channels() -> None:
    waveform = torch.rand(6, 500)
    wanted = [sum(float(channel[i]) for channel in waveform) / 6 for i in range(500)]
    assert torch.allclose(mono(Sound(waveform, 16000)), torch.tensor(wanted, dtype=torch.float64), atol=1e-12, rtol=0)


def test_cancelling_channels_are_noticed() -> None:
    left = torch.rand(1, 1000) - 0.5
    assert mix_gain_db(Sound(torch.cat((left, -left)), 16000)) == -math.inf
    assert mix_gain_db(Sound(torch.cat((left, left)), 16000)) == pytest.approx(0, abs=1e-6)
    assert mix_gain_db(Sound(torch.cat((left, 0 * left)), 16000)) == pytest.approx(10 * math.log10(0.5), abs=1e-6)
    assert mix_gain_db(Sound(torch.zeros(2, 1000), 16000)) == 0


@pytest.mark.parametrize("fps", [Fraction(16), Fraction(24000, 1001), Fraction(30000, 1001)])
@pytest.mark.parametrize("frames", [1, 16, 40, 77])
def test_fitting_keeps_the_samples_and_adds_only_silence(frames: int, fps: Fraction) -> None:
    sound = Sound(torch.rand(2, 22050) + 0.1, 22050)
    before = sound.waveform.clone()
    fitted = fit_to_frames(sound, frames, fps)
    assert fitted.samples == math.floor(frames * 22050 / fps)
    kept = min(fitted.samples, sound.samples)
    assert torch.equal(fitted.waveform[:, :kept], sound.waveform[:, :kept])
    assert not fitted.waveform[:, kept:].any()
    assert torch.equal(sound.waveform, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("frames", [8, 40])
def test_what_needs_every_free_byte_fits_and_one_byte_less_does_not(frames: int, dtype: torch.dtype) -> None:
    sound = Sound(torch.zeros(2, 22050, dtype=dtype), 22050)
    needed_bytes = fit_to_frames(sound, frames, Fraction(16)).waveform.nbytes
    check_fits(sound, frames, Fraction(16), free_bytes=needed_bytes)
    with pytest.raises(InputError, match=f"^frames: found {frames} at 16 fps"):
        check_fits(sound, frames, Fraction(16), free_bytes=needed_bytes - 1)


def test_padding_that_does_not_fit_is_told_in_gib() -> None:
    sound = Sound(torch.zeros(1, 88200), 44100)
    with pytest.raises(InputError) as error:
        check_fits(sound, 1_000_000, Fraction(16), free_bytes=4 * 2**30)
    assert str(error.value) == (
        "frames: found 1000000 at 16 fps, 62500 s of audio that need 10.3 GiB; wanted at most the 4.0 GiB of memory "
        "that are free. Ask for fewer frames, or free memory first."
    )


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_mono_mix_comes_at_the_rate_that_is_asked_for(rate: int) -> None:
    left = torch.sin(2 * math.pi * 440 * torch.arange(44100) / 44100)
    wanted = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(rate, dtype=torch.float64) / rate)
    mix = mono_at(Sound(torch.stack((left, 0 * left)), 44100), rate)
    assert mix.shape == (rate,)
    assert torch.allclose(mix[500:-500], wanted[500:-500], atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_resampled_sine_is_the_sine_at_16_khz(rate: int) -> None:
    def sine(at_hz: int) -> torch.Tensor:
        return torch.sin(2 * math.pi * 440 * torch.arange(at_hz, dtype=torch.float64) / at_hz + 0.3)

    resampled = resample(sine(rate), rate, 16000)
    assert len(resampled) == 16000
    inner = slice(1000, -1000)  # the filter rings at the two ends
    assert float((resampled[inner] - sine(16000)[inner]).abs().max()) < 1e-4


def test_missing_librosa_is_named_with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingDependencyError, match="pip install librosa"):
        mono_at(Sound(torch.rand(1, 44100), 44100), 16000)
