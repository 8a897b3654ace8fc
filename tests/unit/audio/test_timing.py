from __future__ import annotations

import math
from fractions import Fraction

import pytest

from wan_core.audio.timing import (
    chunk_count,
    exact_fps,
    frame_centres_s,
    frame_count,
    frame_edges,
    sample_count,
)
from wan_core.errors import InputError

RATES = [Fraction(16), Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [
        (16.0, Fraction(16)),
        (25.0, Fraction(25)),
        (12.5, Fraction(25, 2)),
        (0.001, Fraction(1, 1000)),
        (23.976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (23.98, Fraction(1199, 50)),
        (24000 / 1001, Fraction(24000, 1001)),
        (Fraction(2997, 100), Fraction(2997, 100)),
    ],
)
def test_fps_becomes_the_fraction_that_it_means(fps: float | Fraction, wanted: Fraction) -> None:
    assert exact_fps(fps) == wanted


@pytest.mark.parametrize("fps", [0.0, -16.0, math.nan, math.inf, 1e-6, Fraction(0)])
def test_fps_that_is_none_is_refused_by_name(fps: float) -> None:
    with pytest.raises(InputError, match=r"^fps: found .*; wanted "):
        exact_fps(fps)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [997, 16000, 44100])
def test_every_sample_lies_in_the_frame_on_screen_at_its_time(fps: Fraction, rate_hz: int) -> None:
    frames = 400
    edges = frame_edges(frames, rate_hz, fps).tolist()
    for frame in range(frames):
        for sample in (edges[frame], edges[frame + 1] - 1):
            assert math.floor(Fraction(sample, rate_hz) * fps) == frame


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [997, 16000, 44100, 48000])
def test_counts_are_exact_and_go_round(fps: Fraction, rate_hz: int) -> None:
    for frames in (1, 2, 77, 157, 14386, 18000):
        samples = sample_count(frames, rate_hz, fps)
        assert samples == math.floor(frames * rate_hz / fps)
        assert frame_count(samples, rate_hz, fps) == frames
        assert frame_count(samples, rate_hz, fps) == math.ceil(Fraction(samples, rate_hz) * fps)


@pytest.mark.parametrize("fps", RATES)
def test_frame_centres_do_not_drift_in_an_hour(fps: Fraction) -> None:
    frames = int(3600 * fps)
    centres = frame_centres_s(frames, fps)
    for frame in (0, 1, frames // 2, frames - 1):
        assert float(centres[frame]) == pytest.approx(float((frame + Fraction(1, 2)) / fps), abs=1e-12)


def test_chunks_follow_the_length_law() -> None:
    for chunks in range(1, 50):
        assert chunk_count(80 * chunks - 3) == chunks
        assert chunk_count(80 * chunks - 2) == chunks + 1
    for seconds in range(1, 600):
        assert chunk_count(16 * seconds) == math.ceil((16 * seconds + 3) / 80)
