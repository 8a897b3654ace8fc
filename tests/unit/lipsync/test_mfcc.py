from __future__ import annotations

import math

import numpy
import pytest
import torch

from wan_core.lipsync.mfcc import mel_filters, mfcc, to_int16_scale


def slow_mfcc(samples: list[float]) -> list[list[float]]:
    """The same features by sums over every window, bin and band."""
    rate, size, hop, fft, bands = 16000, 400, 160, 512, 26

    def hz(mel: float) -> float:
        return 700 * (10 ** (mel / 2595) - 1)

    top = 2595 * math.log10(1 + rate / 2 / 700)
    corner = [math.floor((fft + 1) * hz(top * i / (bands + 1)) / rate) for i in range(bands + 2)]
    emphasised = [samples[0]] + [samples[i] - 0.97 * samples[i - 1] for i in range(1, len(samples))]
    count = 1 if len(samples) <= size else 1 + math.ceil((len(samples) - size) / hop)
    emphasised += [0.0] * ((count - 1) * hop + size - len(samples))
    rows = []
    for k in range(count):
        window = numpy.array(emphasised[k * hop : k * hop + size])
        power = []
        for n in range(fft // 2 + 1):
            angle = -2 * math.pi * n * numpy.arange(size) / fft
            power.append((float(window @ numpy.cos(angle)) ** 2 + float(window @ numpy.sin(angle)) ** 2) / fft)
        logs = []
        for m in range(bands):
            low, peak, high = corner[m : m + 3]
            energy = sum(power[n] * (n - low) / (peak - low) for n in range(low, peak))
            energy += sum(power[n] * (high - n) / (high - peak) for n in range(peak, high))
            logs.append(math.log(energy or numpy.finfo(float).eps))
        row = [math.log(sum(power) or numpy.finfo(float).eps)]
        for c in range(1, 13):
            dct = sum(value * math.cos(math.pi * c * (2 * m + 1) / (2 * bands)) for m, value in enumerate(logs))
            row.append(dct * math.sqrt(2 / bands) * (1 + 11 * math.sin(math.pi * c / 22)))
        rows.append(row)
    return rows


def noise(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(-20000, 20000, (count,), generator=generator)


@pytest.mark.parametrize("count", [1, 100, 400, 401, 560, 561, 1300])
def test_mfcc_equals_a_plain_loop(count: int) -> None:
    samples = noise(count)
    wanted = torch.tensor(slow_mfcc([float(x) for x in samples]), dtype=torch.float64)
    assert torch.allclose(mfcc(samples), wanted, atol=1e-8, rtol=0)


@pytest.mark.parametrize("count", [399, 400, 16000, 23457])
def test_mfcc_equals_python_speech_features(count: int) -> None:
    reference = pytest.importorskip("python_speech_features")
    samples = noise(count)
    wanted = torch.from_numpy(reference.mfcc(samples.numpy().astype(numpy.int16), 16000))
    assert torch.allclose(mfcc(samples), wanted, atol=1e-9, rtol=0)


def test_silence_has_finite_cepstra() -> None:
    assert torch.isfinite(mfcc(torch.zeros(1000))).all()


def test_every_mel_band_peaks_at_one_on_a_whole_bin() -> None:
    assert torch.equal(mel_filters().amax(dim=1), torch.ones(26, dtype=torch.float64))


def test_samples_of_a_16_bit_file_come_back_whole() -> None:
    integers = torch.arange(-32768, 32768)
    assert torch.equal(to_int16_scale(integers.float() / 32768), integers.double())
    assert to_int16_scale(torch.tensor([1.0, 2.0, -2.0])).tolist() == [32767, 32767, -32768]
