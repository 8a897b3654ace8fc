from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch

from wan_core.errors import InputError, MissingDependencyError
from wan_core.media.sound import Sound, checked_sound, mix_gain_db, mono, mono_at

LOADER = "Link the AUDIO output of a loader."
AUDIO = f"wanted AUDIO with 'waveform' and 'sample_rate'. {LOADER}"
WAVEFORM = f"wanted a float tensor [batch, channels, samples]. {LOADER}"
ONE = "wanted one recording. Send the recordings through one at a time."
EMPTY = "wanted at least one sample. Check that the recording is not empty."
LONGER = "wanted at least 45 ms of sound. Use a longer recording."
BROKEN = "NaN or infinity at sample 123 (2 such samples); wanted finite samples. Find the node that broke the sound; "
RATE = f"wanted whole Hz from 1000 to 1000000. {LOADER}"


def audio(waveform: Any = None, rate: Any = 16000) -> dict[str, Any]:
    return {"waveform": torch.zeros(1, 1, 16000) if waveform is None else waveform, "sample_rate": rate}


def with_bad_samples(value: float) -> torch.Tensor:
    waveform = torch.zeros(1, 2, 16000)
    waveform[0, 1, 123] = waveform[0, 0, 4567] = value
    return waveform


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "no sound; wanted AUDIO. Load audio, or a video that has a sound track."),
        (torch.zeros(1, 1, 16000), f"Tensor; {AUDIO}"),
        ({"waveform": torch.zeros(1, 1, 16000)}, f"dict; {AUDIO}"),
        (audio([0.0]), f"a waveform that is list; {WAVEFORM}"),
        (audio(torch.zeros(1, 16000)), f"a waveform that is torch.float32 [1, 16000]; {WAVEFORM}"),
        (audio(torch.zeros(1, 1, 9, dtype=torch.int16)), f"a waveform that is torch.int16 [1, 1, 9]; {WAVEFORM}"),
        (audio(torch.zeros(1, 1, 0)), f"1 channels of 0 samples; {EMPTY}"),
        (audio(torch.zeros(1, 0, 16000)), f"0 channels of 16000 samples; {EMPTY}"),
        (audio(torch.zeros(2, 1, 16000)), f"a batch of 2 recordings; {ONE}"),
        (audio(torch.zeros(1, 1, 719)), f"719 samples at 16000 Hz (44.9 ms); {LONGER}"),
        (audio(torch.zeros(1, 1, 1984), 44100), f"1984 samples at 44100 Hz (45.0 ms); {LONGER}"),
        (audio(with_bad_samples(math.nan)), f"{BROKEN}exporting it as a WAV file again helps."),
        (audio(with_bad_samples(-math.inf)), f"{BROKEN}exporting it as a WAV file again helps."),
        (audio(rate=0), f"a sample rate of 0; {RATE}"),
        (audio(rate=999), f"a sample rate of 999; {RATE}"),
        (audio(rate=1_000_001), f"a sample rate of 1000001; {RATE}"),
        (audio(rate=16000.5), f"a sample rate of 16000.5; {RATE}"),
        (audio(rate="high"), f"a sample rate of 'high'; {RATE}"),
    ],
)
def test_audio_that_cannot_be_measured_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        checked_sound(given, shortest_ms=45)
    assert str(error.value) == f"audio: found {message}"


@pytest.mark.parametrize(("samples", "rate", "shortest_ms"), [(720, 16000, 45), (1985, 44100, 45), (1, 48000, 0)])
def test_a_recording_may_be_as_short_as_was_said(samples: int, rate: int, shortest_ms: int) -> None:
    given = audio(torch.rand(1, 2, samples), rate)
    sound = checked_sound(given, shortest_ms=shortest_ms)
    assert torch.equal(sound.waveform, given["waveform"][0])
    assert torch.equal(sound.as_audio()["waveform"], given["waveform"])


def test_mono_is_the_mean_of_the_channels() -> None:
    waveform = torch.rand(6, 500)
    wanted = [sum(float(channel[i]) for channel in waveform) / 6 for i in range(500)]
    assert torch.allclose(mono(Sound(waveform, 16000)), torch.tensor(wanted, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("right", "gain_db"), [(-1, -math.inf), (1, 0), (0, 10 * math.log10(0.5))])
def test_cancelling_channels_are_noticed(right: float, gain_db: float) -> None:
    left = torch.rand(1, 1000) - 0.5
    assert mix_gain_db(Sound(torch.cat((left, right * left)), 16000)) == pytest.approx(gain_db, abs=1e-6)
    assert mix_gain_db(Sound(torch.zeros(2, 1000), 16000)) == 0


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("to_hz", [8000, 16000])
def test_a_resampled_sine_is_the_sine_at_the_other_rate(rate: int, to_hz: int) -> None:
    def sine(at_hz: int) -> torch.Tensor:
        return torch.sin(2 * math.pi * 440 * torch.arange(at_hz, dtype=torch.float64) / at_hz + 0.3)

    mix = mono_at(Sound(torch.stack((sine(rate), 0 * sine(rate))), rate), to_hz)
    assert len(mix) == to_hz
    inner = slice(1000, -1000)  # the filter rings at the two ends
    assert float((mix[inner] - 0.5 * sine(to_hz)[inner]).abs().max()) < 1e-4


def test_missing_librosa_is_named_with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(MissingDependencyError, match="pip install librosa"):
        mono_at(Sound(torch.rand(1, 44100), 44100), 16000)
