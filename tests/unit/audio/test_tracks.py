from __future__ import annotations

import math
from fractions import Fraction

import librosa
import pytest
import torch
from torch import Tensor

from wan_core.audio import tracks as tracks_module
from wan_core.audio.sound import Sound, fit_to_frames
from wan_core.audio.timing import frame_edges
from wan_core.audio.tracks import FLOOR_DB, analyse, at_frame_centres, frames_to_cover, onset_strength, rms_db
from wan_core.errors import InputError

RATES = [Fraction(16), Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [1000, 16000])
def test_ten_minutes_of_clicks_fall_on_the_frame_of_their_time(fps: Fraction, rate_hz: int) -> None:
    samples = torch.zeros(600 * rate_hz, dtype=torch.float64)
    samples[::rate_hz] = 1.0  # one click at every whole second
    frames = math.ceil(600 * fps)
    level = rms_db(samples, frame_edges(frames, rate_hz, fps))
    loud = (level > FLOOR_DB).nonzero().flatten().tolist()
    assert loud == [math.floor(second * fps) for second in range(600)]


@pytest.mark.parametrize("fps", RATES)
def test_onset_peaks_stay_within_a_window_of_their_clicks_for_ten_minutes(fps: Fraction) -> None:
    click_times_s = range(10, 600, 59)
    samples = torch.zeros(600 * 16000)
    for second in click_times_s:
        samples[second * 16000] = 1.0
    onset = at_frame_centres(onset_strength(samples), math.ceil(600 * fps), fps)
    for second in click_times_s:
        first, last = math.floor((second - 2) * fps), math.floor((second + 2) * fps)
        peak_s = (first + int(onset[first:last].argmax()) + 0.5) / float(fps)
        assert abs(peak_s - second) < 0.032 + 0.5 / float(fps)  # half an analysis window and half a frame


def test_level_equals_a_plain_loop() -> None:
    samples = torch.randn(900, dtype=torch.float64) * torch.logspace(0, -6, 900, dtype=torch.float64)
    fps = Fraction(24000, 1001)
    level = rms_db(samples, frame_edges(24, 1000, fps))
    for frame in range(24):
        inside = [float(x) for k, x in enumerate(samples) if math.floor(Fraction(k, 1000) * fps) == frame]
        mean_square = sum(x * x for x in inside) / len(inside) if inside else 0.0
        wanted = max(FLOOR_DB, 10 * math.log10(mean_square)) if mean_square else FLOOR_DB
        assert float(level[frame]) == pytest.approx(wanted, abs=1e-6)


def test_sine_has_its_known_level() -> None:
    rate = 48000
    wave = 0.5 * torch.sin(2 * math.pi * 1600 * torch.arange(rate) / rate)
    level = analyse(Sound(wave.repeat(2, 1), rate), 16, Fraction(16)).tracks["rms_db"]
    assert torch.allclose(level, torch.full((16,), 20 * math.log10(0.5 / math.sqrt(2))), atol=1e-3)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
@pytest.mark.parametrize("frames", [3, 16, 50])
def test_every_track_has_one_finite_value_a_frame(frames: int, rate_hz: int, fps: Fraction) -> None:
    tracks = analyse(Sound(torch.rand(2, rate_hz) - 0.5, rate_hz), frames, fps)
    assert tracks.frames == frames and tracks.fps == fps
    for track in tracks.tracks.values():
        assert track.shape == (frames,) and track.dtype == torch.float32
        assert torch.isfinite(track).all()


def test_silence_is_at_the_floor_and_has_no_onsets() -> None:
    tracks = analyse(Sound(torch.zeros(1, 16000), 16000), 16, Fraction(16)).tracks
    assert torch.equal(tracks["rms_db"], torch.full((16,), FLOOR_DB))
    assert not tracks["onset"].any()


@pytest.mark.parametrize("fps", [Fraction(1, 2), *RATES, Fraction(240)])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_frames_beyond_the_sound_are_as_if_silence_had_been_measured(rate_hz: int, fps: Fraction) -> None:
    sound = Sound(torch.rand(2, rate_hz + 1234) - 0.3, rate_hz)  # ends with a step, inside a frame
    frames = math.ceil(4 * fps)
    tracks, padded = analyse(sound, frames, fps), analyse(fit_to_frames(sound, frames, fps), frames, fps)
    for name, track in tracks.tracks.items():
        assert track.shape == (frames,)
        assert torch.allclose(track, padded.tracks[name], atol=1e-6), name


def test_silence_beyond_the_sound_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []

    def measured(samples: Tensor) -> Tensor:
        lengths.append(len(samples))
        return onset_strength(samples)

    monkeypatch.setattr(tracks_module, "onset_strength", measured)
    sound = Sound(torch.rand(1, 16000) - 0.5, 16000)
    assert analyse(sound, 9600, Fraction(16)).tracks["onset"].shape == (9600,)
    assert 16000 <= lengths[0] < 20000


def test_onset_is_librosas_at_the_frame_centre() -> None:
    samples = torch.randn(16000, dtype=torch.float64)
    fps = Fraction(25)  # centres lie at 20 ms, 60 ms ...: on every second value
    wanted = librosa.onset.onset_strength(y=samples.numpy(), sr=16000, hop_length=320, n_fft=1024)
    assert torch.allclose(
        at_frame_centres(onset_strength(samples), 25, fps), torch.from_numpy(wanted[1::2][:25]).double(), atol=1e-6
    )


def test_frames_0_lasts_as_long_as_the_audio() -> None:
    sound = Sound(torch.rand(1, 44100 * 5 + 1), 44100)
    assert frames_to_cover(sound, 0, Fraction(16)) == 81
    assert frames_to_cover(sound, 77, Fraction(16)) == 77


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (-1, Fraction(16), "frames: found -1; wanted 0 or more"),
        (1, Fraction(30), "frames: found 1 at 30 fps (33.3 ms); wanted at least 45 ms"),
        (5, Fraction(2000), "fps: found 2000 frames a second for 1000 samples a second"),
    ],
)
def test_frames_that_cannot_be_measured_are_refused(frames: int, fps: Fraction, message: str) -> None:
    with pytest.raises(InputError) as error:
        frames_to_cover(Sound(torch.rand(1, 1000), 1000), frames, fps)
    assert message in str(error.value)
