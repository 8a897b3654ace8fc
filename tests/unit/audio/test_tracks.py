from __future__ import annotations

import math
from fractions import Fraction

import librosa
import pytest
import torch
from torch import Tensor

from wan_core.audio import tracks as tracks_module
from wan_core.audio.fitting import fit_to_frames
from wan_core.audio.timing import frame_edges
from wan_core.audio.tracks import FLOOR_DB, measure, onset_strength, rms_db
from wan_core.media.sound import Sound

RATES = [Fraction(16), Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [1000, 16000])
def test_ten_minutes_of_clicks_fall_on_the_frame_of_their_time(fps: Fraction, rate_hz: int) -> None:
    samples = torch.zeros(600 * rate_hz, dtype=torch.float64)
    samples[::rate_hz] = 1.0  # one click at every whole second
    level = rms_db(samples, frame_edges(math.ceil(600 * fps), rate_hz, fps))
    loud = (level > FLOOR_DB).nonzero().flatten().tolist()
    assert loud == [math.floor(second * fps) for second in range(600)]


@pytest.mark.parametrize("fps", RATES)
def test_onset_peaks_stay_within_a_window_of_their_clicks_for_ten_minutes(fps: Fraction) -> None:
    click_times_s = range(10, 600, 59)
    samples = torch.zeros(600 * 16000)
    samples[torch.tensor(click_times_s) * 16000] = 1.0
    onset = onset_strength(samples, math.ceil(600 * fps), fps)
    for second in click_times_s:
        first, last = math.floor((second - 2) * fps), math.floor((second + 2) * fps)
        peak_s = (first + int(onset[first:last].argmax()) + 0.5) / float(fps)
        assert abs(peak_s - second) < 0.032 + 0.5 / float(fps)  # half an analysis window and half a frame


@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(700)])
def test_level_equals_a_plain_loop(fps: Fraction) -> None:
    samples = torch.randn(900, dtype=torch.float64) * torch.logspace(0, -6, 900, dtype=torch.float64)
    level = rms_db(samples, frame_edges(24, 1000, fps))
    for frame in range(24):
        inside = [float(x) for k, x in enumerate(samples) if math.floor(Fraction(k, 1000) * fps) == frame]
        mean_square = sum(x * x for x in inside) / len(inside) if inside else 0.0
        wanted = max(FLOOR_DB, 10 * math.log10(mean_square)) if mean_square else FLOOR_DB
        assert float(level[frame]) == pytest.approx(wanted, abs=1e-6)


def test_sine_has_its_known_level() -> None:
    rate = 48000
    wave = 0.5 * torch.sin(2 * math.pi * 1600 * torch.arange(rate) / rate)
    level = measure(Sound(wave.repeat(2, 1), rate), 16, Fraction(16)).rms_db
    assert torch.allclose(level, torch.full((16,), 20 * math.log10(0.5 / math.sqrt(2))), atol=1e-3)


@pytest.mark.parametrize("fps", [Fraction(1, 2), *RATES, Fraction(240)])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_frames_beyond_the_sound_are_as_if_silence_had_been_measured(rate_hz: int, fps: Fraction) -> None:
    sound = Sound(torch.rand(2, rate_hz + 1234) - 0.3, rate_hz)  # ends with a step, inside a frame
    frames = math.ceil(4 * fps)
    tracks, padded = measure(sound, frames, fps), measure(fit_to_frames(sound, frames, fps), frames, fps)
    assert (tracks.frames, tracks.fps) == (frames, fps)
    for track, wanted in ((tracks.rms_db, padded.rms_db), (tracks.onset, padded.onset)):
        assert track.shape == (frames,) and track.dtype == torch.float32 and torch.isfinite(track).all()
        assert torch.allclose(track, wanted, atol=1e-4)


def test_silence_beyond_the_sound_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def recorded(samples: Tensor, frames: int, fps: Fraction) -> Tensor:
        lengths.append(len(samples))
        return onset_strength(samples, frames, fps)

    monkeypatch.setattr(tracks_module, "onset_strength", recorded)
    assert measure(Sound(torch.rand(1, 16000) - 0.5, 16000), 9600, Fraction(16)).onset.shape == (9600,)
    assert 16000 <= lengths[0] < 20000


@pytest.mark.parametrize("samples", [16000, 700])
def test_onset_is_librosas_at_the_frame_centre(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracks_module, "WINDOWS_AT_ONCE", 20)
    noise = torch.randn(samples, dtype=torch.float64)
    padded = torch.nn.functional.pad(noise, (0, max(0, 1024 - samples))).numpy()
    wanted = torch.from_numpy(librosa.onset.onset_strength(y=padded, sr=16000, hop_length=320, n_fft=1024)).double()
    frames = samples * 25 // 16000  # centres lie at 20 ms, 60 ms ...: on every second value
    assert torch.allclose(onset_strength(noise, frames, Fraction(25)), wanted[1::2][:frames], atol=1e-6)
