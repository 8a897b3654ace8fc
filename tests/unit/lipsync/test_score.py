from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wan_core.errors import InputError
from wan_core.lipsync.report import verdict
from wan_core.lipsync.score import MODES, Mode, SyncScore, score


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
    scored = score(lips, sounds, mode)
    wanted = torch.tensor(slow_curve(lips, sounds, mode))
    assert torch.allclose(scored.curve, wanted, atol=1e-4, equal_nan=True)
    known = sorted(value for value in wanted.tolist() if not math.isnan(value))
    assert scored.distance == pytest.approx(known[0], abs=1e-4)
    assert scored.median == pytest.approx(known[(len(known) - 1) // 2], abs=1e-4)
    assert scored.confidence == pytest.approx(scored.median - scored.distance)
    assert scored.windows == windows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("offset", range(-15, 16))
def test_offset_follows_a_shifted_soundtrack(offset: int, mode: Mode) -> None:
    scored = score(*embeddings(60, audio_late=-offset), mode)
    assert scored.offset_frames == offset
    assert scored.offset_ms == 40 * offset


def test_confidence_does_not_depend_on_the_offset_in_robust_mode() -> None:
    spread = {}
    for mode in MODES:
        values = [score(*embeddings(40, audio_late=late), mode).confidence for late in range(-15, 16)]
        spread[mode] = (max(values) - min(values)) / max(values)
    assert spread["robust"] < 0.1 < spread["parity"]


@pytest.mark.parametrize(
    ("windows", "offset", "confidence", "passed", "words"),
    [
        (45, 0, 3.0, True, "in sync: audio and picture coincide"),
        (45, 1, 9.0, True, "in sync: audio leads the picture by 40 ms"),
        (45, 2, 9.0, False, "not in sync: audio leads the picture by 80 ms"),
        (45, -3, 9.0, True, "in sync: audio lags the picture by 120 ms"),
        (45, -4, 9.0, False, "not in sync: audio lags the picture by 160 ms"),
        (45, 0, 2.99, False, "unclear: no alignment stands out (confidence 2.99)"),
        (44, 0, 9.0, False, "too short for a verdict: less than 2 s was scored"),
    ],
)
def test_verdict_is_itu_window_confidence_and_length(
    windows: int, offset: int, confidence: float, passed: bool, words: str
) -> None:
    scored = SyncScore("parity", windows, offset, confidence, 7.0, 7.0 + confidence, torch.zeros(31))
    assert scored.passed is passed
    assert verdict(scored) == words


def test_equal_embeddings_are_as_far_apart_as_the_reference_says() -> None:
    lips, _ = embeddings(40)
    assert score(lips, lips, "parity").distance == pytest.approx(1e-6 * 64**0.5, rel=1e-3)


def test_embeddings_of_broken_weights_are_refused() -> None:
    lips, sounds = embeddings(20)
    wanted = "wanted finite numbers. The weight file is damaged: copy it again."
    for pair in ((lips, sounds * torch.nan), (lips * torch.inf, sounds)):
        with pytest.raises(InputError) as error:
            score(*pair, "robust")
        assert str(error.value) == f"weights: found embeddings that are not finite; {wanted}"
