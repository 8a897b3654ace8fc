from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from wan_core.audio.timing import chunk_count, frame_centres_s, frame_count, frame_edges, sample_count
from wan_core.checks import checked_fps
from wan_core.errors import InputError, quoted

RATES = [Fraction(16), Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30)]


@pytest.mark.parametrize(
    ("fps", "wanted"),
    [
        (16.0, Fraction(16)),
        (25, Fraction(25)),
        (np.float32(23.976), Fraction(24000, 1001)),
        (np.int64(25), Fraction(25)),
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
    assert checked_fps(fps) == wanted


@pytest.mark.parametrize(
    "fps", [0.0, -16.0, math.nan, math.inf, Fraction(0), "16", 1e-6, pytest.param(10**5000, id="5000 digits")]
)
def test_fps_that_is_none_is_refused_by_name(fps: object) -> None:
    with pytest.raises(InputError) as error:
        checked_fps(fps, name="rate")
    wanted = {1e-6: "at least 0.001 fps", 10**5000: "at most 1000000 fps"}.get(fps, "a frame rate above 0")
    assert str(error.value) == f"rate: found {quoted(fps)}; wanted {wanted}. Set the frame rate of the video."


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rate_hz", [997, 16000, 44100, 48000])
def test_every_sample_lies_in_the_frame_on_screen_at_its_time_and_counts_go_round(fps: Fraction, rate_hz: int) -> None:
    edges = frame_edges(400, rate_hz, fps).tolist()
    for frame in range(400):
        for sample in (edges[frame], edges[frame + 1] - 1):
            assert math.floor(Fraction(sample, rate_hz) * fps) == frame
    for frames in (1, 2, 77, 157, 14386, 18000):
        samples = sample_count(frames, rate_hz, fps)
        assert samples == math.floor(frames * rate_hz / fps)
        assert frame_count(samples, rate_hz, fps) == frames == math.ceil(Fraction(samples, rate_hz) * fps)


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
