"""Mel cepstra exactly as SyncNet was trained on them: those of python_speech_features 0.6 with its defaults.

Other libraries' MFCC differ (window shape, mel scale, energy term), and SyncNet's distances are meaningless on them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RATE_HZ = 16000
WINDOW_SAMPLES = 400  # 25 ms, rectangular
HOP_SAMPLES = 160  # 10 ms
FFT_SAMPLES = 512
PRE_EMPHASIS = 0.97
MEL_BANDS = 26  # from 0 Hz to half the rate
CEPSTRA = 13
LIFTER = 22
INT16_SCALE = 32768
TINY = torch.finfo(torch.float64).eps  # stands in for a band without energy


# Kernels


def to_int16_scale(samples: Tensor) -> Tensor:
    """Samples in [-1, 1] as the integers that a 16-bit file would hold: s -> s, float64."""
    return (samples.double() * INT16_SCALE).round().clamp(-INT16_SCALE, INT16_SCALE - 1)


def mel_filters() -> Tensor:
    """Triangles between whole FFT bins, evenly spaced in mel: bands bins, float64."""
    top_mel = 2595 * math.log10(1 + RATE_HZ / 2 / 700)  # the HTK mel scale
    mels = torch.linspace(0, top_mel, MEL_BANDS + 2, dtype=torch.float64)  # m+2
    hz = 700 * (10 ** (mels / 2595) - 1)  # m+2
    corners = ((FFT_SAMPLES + 1) * hz / RATE_HZ).floor()  # m+2
    low, peak, high = (corners[i : i + MEL_BANDS, None] for i in range(3))  # m 1
    bins = torch.arange(FFT_SAMPLES // 2 + 1, dtype=torch.float64)  # n
    rising = (bins - low) / (peak - low)  # m n
    falling = (high - bins) / (high - peak)  # m n
    return torch.where(bins < peak, rising, falling).clamp(min=0)  # m n


def cosine_transform() -> Tensor:
    """The first 13 rows of the orthonormal DCT-II over the mel bands, liftered: cepstra bands, float64."""
    row = torch.arange(CEPSTRA, dtype=torch.float64)[:, None]  # c 1
    column = torch.arange(MEL_BANDS, dtype=torch.float64)[None, :]  # 1 m
    basis = torch.cos(math.pi * row * (2 * column + 1) / (2 * MEL_BANDS)) * math.sqrt(2 / MEL_BANDS)  # c m
    basis[0] /= math.sqrt(2)
    return basis * (1 + LIFTER / 2 * torch.sin(math.pi * row / LIFTER))  # c m


def windows(samples: Tensor) -> Tensor:
    """25 ms windows every 10 ms, the last one filled up with zeros: s -> k 400."""
    count = 1 + max(0, math.ceil((len(samples) - WINDOW_SAMPLES) / HOP_SAMPLES))
    missing = (count - 1) * HOP_SAMPLES + WINDOW_SAMPLES - len(samples)
    return torch.nn.functional.pad(samples, (0, missing)).unfold(0, WINDOW_SAMPLES, HOP_SAMPLES)  # k 400


# MFCC


def mfcc(samples: Tensor) -> Tensor:
    """13 cepstra every 10 ms of 16 kHz sound in 16-bit scale, the first one the log energy: s -> k 13, float64."""
    samples = samples.double()
    emphasised = torch.cat((samples[:1], samples[1:] - PRE_EMPHASIS * samples[:-1]))  # s
    power = torch.fft.rfft(windows(emphasised), FFT_SAMPLES).abs().square() / FFT_SAMPLES  # k n
    bands = (power @ mel_filters().T).clamp(min=TINY)  # k m
    cepstra = bands.log() @ cosine_transform().T  # k c
    cepstra[:, 0] = power.sum(dim=1).clamp(min=TINY).log()
    return cepstra
