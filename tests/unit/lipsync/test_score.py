from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.unit.lipsync.samples import clip
from wan_core.errors import InputError
from wan_core.lipsync.inputs import window_count
from wan_core.lipsync.report import describe, offset_words, plot, verdict
from wan_core.lipsync.score import MODES, Mode, SyncReport, score


def embeddings(windows: int, audio_late: int = 0, noise: float = 0.3) -> tuple[Tensor, Tensor]:
    """Lips, and the same as sound, ``audio_late`` windows later; what lies beyond the ends is other speech."""
    generator = torch.Generator().manual_seed(windows)
    speech = torch.randn(windows + 60, 64, generator=generator)  # n+60 d
    other = torch.randn(speech.shape, generator=generator) * noise
    return speech[30 : 30 + windows], (speech + other)[30 - audio_late : 30 - audio_late + windows]


def slow_curve(lips: Tensor, sounds: Tensor, mode: Mode) -> list[float]:
    count = len(lips)
    curve = []
    for shift in range(-15, 16):
        distances = []
        for i in range(count):
            has_sound = 0 <= i + shift < count
            if mode == "robust" and not has_sound:
                continue
            sound = sounds[i + shift].tolist() if has_sound else [0.0] * lips.shape[1]
            distances.append(math.sqrt(sum((a - b + 1e-6) ** 2 for a, b in zip(lips[i].tolist(), sound, strict=True))))
        enough = mode == "parity" or 2 * len(distances) >= count
        curve.append(sum(distances) / len(distances) if enough else math.nan)
    return curve


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("windows", [1, 4, 16, 29, 30, 40])
def test_curve_equals_a_plain_loop(windows: int, mode: Mode) -> None:
    lips, sounds = embeddings(windows, audio_late=2)
    report = score(lips, sounds, mode)
    wanted = torch.tensor(slow_curve(lips, sounds, mode))
    assert torch.allclose(report.curve, wanted, atol=1e-4, equal_nan=True)
    known = sorted(value for value in wanted.tolist() if not math.isnan(value))
    assert report.distance == pytest.approx(known[0], abs=1e-4)
    assert report.median == pytest.approx(known[(len(known) - 1) // 2], abs=1e-4)
    assert report.confidence == pytest.approx(report.median - report.distance)
    assert report.windows == windows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("offset", range(-15, 16))
def test_offset_follows_a_shifted_soundtrack(offset: int, mode: Mode) -> None:
    report = score(*embeddings(60, audio_late=-offset), mode)
    assert report.offset_frames == offset
    assert report.offset_ms == 40 * offset


def test_confidence_does_not_depend_on_the_offset_in_robust_mode() -> None:
    spread = {}
    for mode in MODES:
        values = [score(*embeddings(40, audio_late=late), mode).confidence for late in range(-15, 16)]
        spread[mode] = (max(values) - min(values)) / max(values)
    assert spread["robust"] < 0.1 < spread["parity"]


def test_late_audio_is_negative_and_said_in_words() -> None:
    late = score(*embeddings(60, audio_late=4), "parity")
    assert late.offset_ms == -160
    assert offset_words(late.offset_ms) == "audio lags the picture by 160 ms"
    early = score(*embeddings(60, audio_late=-2), "parity")
    assert offset_words(early.offset_ms) == "audio leads the picture by 80 ms"
    assert offset_words(0.0) == "audio and picture coincide"


@pytest.mark.parametrize(
    ("offset", "confidence", "passed", "words"),
    [
        (0, 3.0, True, "in sync: audio and picture coincide"),
        (1, 9.0, True, "in sync: audio leads the picture by 40 ms"),
        (2, 9.0, False, "not in sync: audio leads the picture by 80 ms"),
        (-3, 9.0, True, "in sync: audio lags the picture by 120 ms"),
        (-4, 9.0, False, "not in sync: audio lags the picture by 160 ms"),
        (0, 2.99, False, "unclear: no alignment stands out (confidence 2.99)"),
    ],
)
def test_verdict_is_itu_window_and_confidence(offset: int, confidence: float, passed: bool, words: str) -> None:
    report = SyncReport("parity", 50, offset, confidence, 7.0, 7.0 + confidence, torch.zeros(31))
    assert report.passed is passed
    assert verdict(report) == words
    text = describe(report, clip())
    assert "45 ms early or 125 ms late (ITU-R BT.1359)" in text
    assert "wanted: 3 or more" in text


@pytest.mark.parametrize(("ticks", "passed"), [(49, False), (50, True)])
def test_a_clip_under_two_seconds_does_not_pass(ticks: int, passed: bool) -> None:
    windows = window_count(ticks, samples=ticks * 640)
    report = SyncReport("parity", windows, 0, 9.0, 7.0, 16.0, torch.zeros(31))
    assert report.passed is passed
    assert verdict(report) == (
        "in sync: audio and picture coincide" if passed else "too short for a verdict: less than 2 s was scored"
    )
    assert ("so the clip does not pass" in describe(report, clip())) is not passed


def test_equal_embeddings_are_as_far_apart_as_the_reference_says() -> None:
    lips, _ = embeddings(40)
    assert score(lips, lips, "parity").distance == pytest.approx(1e-6 * 64**0.5, rel=1e-3)


def test_report_warns_of_other_frame_rates_and_short_clips() -> None:
    report = score(*embeddings(60), "robust")
    assert "note" not in describe(report, clip())
    assert "published scores" in describe(report, clip(fps=clip().fps * 2))
    assert "unsure" in describe(score(*embeddings(20), "robust"), clip())


def test_plot_is_an_image_and_shows_the_offset() -> None:
    pictures = [plot(score(*embeddings(16, audio_late=late), "robust")) for late in (0, 3)]
    assert pictures[0].shape == (1, 360, 960, 3)
    assert not torch.equal(*pictures)


def test_an_unknown_mode_and_broken_weights_are_refused() -> None:
    lips, sounds = embeddings(20)
    with pytest.raises(InputError, match=r"^mode: found 'exact'; wanted parity or robust"):
        score(lips, sounds, "exact")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^weights: found embeddings that are not finite"):
        score(lips, sounds * torch.nan, "robust")
