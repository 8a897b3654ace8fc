from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from tests.unit.lipsync.samples import clip, random_weights
from wan_core.errors import InputError
from wan_core.lipsync.embed import Clip, embed, plan
from wan_core.lipsync.inputs import (
    audio_windows,
    check_frames,
    check_not_silent,
    lip_input,
    tick_sources,
    window_count,
)
from wan_core.lipsync.mfcc import mfcc, to_int16_scale
from wan_core.lipsync.network import build
from wan_core.lipsync.score import score

RATES = [Fraction(rate) for rate in ("16", "24000/1001", "24", "25", "30000/1001", "30", "50")]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("frames", [1, 2, 9, 16, 81, 500])
def test_every_tick_shows_the_frame_on_screen_at_its_centre(frames: int, fps: Fraction) -> None:
    wanted = []
    while (source := math.floor(Fraction(2 * len(wanted) + 1, 50) * fps)) < frames:
        wanted.append(source)
    assert tick_sources(frames, fps).tolist() == wanted


def test_25_fps_is_left_as_it_is_and_16_fps_repeats_nine_of_25() -> None:
    assert tick_sources(75, Fraction(25)).tolist() == list(range(75))
    sources = tick_sources(16, Fraction(16)).tolist()
    assert len(sources) == 25 and len(set(sources)) == 16


def test_lip_input_is_bgr_from_0_to_255_and_full_size_is_not_resampled() -> None:
    frames = torch.rand(5, 224, 224, 3)
    pixels = lip_input(frames)
    assert pixels.shape == (1, 3, 5, 224, 224)
    for channel in range(3):
        assert torch.equal(pixels[0, channel], frames[..., 2 - channel] * 255)


def test_a_ramp_stays_a_ramp_when_resized() -> None:
    ramp = ((torch.arange(448) + 0.5) / 448).expand(1, 448, 448)[..., None].repeat(1, 1, 1, 3)
    wanted = (torch.arange(224) + 0.5) / 224 * 255
    assert torch.allclose(lip_input(ramp)[0, 0, 0, 100], wanted, atol=1e-3)


def test_audio_windows_are_20_cepstra_at_4_a_tick() -> None:
    samples = torch.rand(16000) - 0.5
    cepstra = mfcc(to_int16_scale(samples)).float()
    windows = audio_windows(samples, 20)
    assert windows.shape == (20, 1, 13, 20)
    for index in range(20):
        assert torch.equal(windows[index, 0], cepstra[4 * index : 4 * index + 20].T)


@pytest.mark.parametrize(
    ("ticks", "samples", "wanted"), [(25, 16000, 20), (25, 6400, 5), (6, 99999, 1), (40, 16639, 20)]
)
def test_windows_are_five_fewer_than_the_shorter_stream(ticks: int, samples: int, wanted: int) -> None:
    assert window_count(ticks, samples) == wanted
    assert len(audio_windows(torch.rand(samples), wanted)) == wanted


@torch.no_grad()
def test_embedding_in_chunks_equals_embedding_at_once() -> None:
    network = build(random_weights(), file_name="net", operations=nn)
    long = clip()  # 35 windows: two chunks
    done: list[int] = []
    lips, sounds = embed(network, long, plan(long), torch.device("cpu"), done.append)
    assert lips.shape == sounds.shape == (35, 11)
    assert torch.allclose(lips, network.watch(lip_input(long.frames))[:35], atol=1e-5)
    assert torch.allclose(sounds, network.hear(audio_windows(long.samples, 35)), atol=1e-5)
    assert done == sorted(done) and done[-1] == 70


@torch.no_grad()
def test_repeating_every_frame_at_twice_the_rate_changes_nothing() -> None:
    network = build(random_weights(), file_name="net", operations=nn)
    once = clip(12)
    twice = Clip(once.frames.repeat_interleave(2, dim=0), Fraction(50), once.samples)
    results = [
        score(*embed(network, given, plan(given), torch.device("cpu"), lambda done: None), "parity")
        for given in (once, twice)
    ]
    assert torch.equal(results[0].curve, results[1].curve)


def nan_frame() -> torch.Tensor:
    frames = torch.rand(9, 8, 8, 3)
    frames[4, 2, 2, 1] = torch.nan
    return frames


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (None, "NoneType"),
        (torch.rand(8, 8, 3), "shape [8, 8, 3]"),
        (torch.rand(9, 8, 8, 4), "shape [9, 8, 8, 4]"),
        (torch.rand(0, 8, 8, 3), "shape [0, 8, 8, 3]"),
        (nan_frame(), "NaN or infinity in frame 4"),
        (torch.arange(256).float().expand(9, 8, 256)[..., None].repeat(1, 1, 1, 3), "pixels from 0 to 255"),
        (torch.arange(256, dtype=torch.uint8).expand(9, 8, 256)[..., None].repeat(1, 1, 1, 3), "pixels from 0 to 255"),
        (torch.rand(9, 8, 8, 3) * 0.5 - 0.5, "pixels from -0."),
        (torch.full((9, 8, 8, 3), 1.06), "pixels from 1.06 to 1.06"),
    ],
)
def test_frames_that_are_no_pictures_are_refused(frames: Any, found: str) -> None:
    with pytest.raises(InputError) as error:
        check_frames(frames)
    assert str(error.value).startswith(f"frames: found {found}")
    assert "; wanted " in str(error.value)


def test_the_overshoot_of_a_resampling_filter_is_let_through() -> None:
    frames = torch.rand(9, 8, 8, 3) * 1.08 - 0.04
    assert check_frames(frames) is frames


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (clip(5), "frames: found 5 at 25 fps (5 at 25 fps); wanted at least 6 at 25 fps (0.24 s)"),
        (clip(3, Fraction(16)), "frames: found 3 at 16 fps (5 at 25 fps); wanted at least 6"),
        (clip(9, Fraction(50)), "frames: found 9 at 50 fps (4 at 25 fps); wanted at least 6"),
        (clip(40, samples=3839), "audio: found 0.240 s; wanted at least 0.24 s"),
        (clip(40, samples=800), "audio: found 0.050 s; wanted at least 0.24 s"),
    ],
)
def test_a_clip_that_is_too_short_is_refused(given: Clip, message: str) -> None:
    with pytest.raises(InputError) as error:
        plan(given)
    assert message in str(error.value)


@pytest.mark.parametrize("samples", [torch.zeros(16000), torch.full((16000,), 0.5), torch.randn(16000) * 5e-5])
def test_silence_is_named_not_scored(samples: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"^audio: found silence .*; wanted speech"):
        check_not_silent(samples)


def test_quiet_speech_is_not_silence() -> None:
    check_not_silent(torch.randn(16000) * 2e-3)
