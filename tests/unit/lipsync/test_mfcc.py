from __future__ import annotations

import numpy
import pytest
import python_speech_features
import torch

from wan_core.lipsync.mfcc import mfcc, to_int16_scale


@pytest.mark.parametrize("count", [1, 2, 100, 399, 400, 401, 560, 561, 1300, 16000, 23457])
def test_mfcc_are_those_of_python_speech_features(count: int) -> None:
    samples = torch.randint(-20000, 20000, (count,), generator=torch.Generator().manual_seed(count))
    wanted = torch.from_numpy(python_speech_features.mfcc(samples.numpy().astype(numpy.int16), 16000))
    assert torch.allclose(mfcc(samples), wanted, atol=1e-9, rtol=0)


def test_silence_has_the_cepstra_of_bands_without_energy() -> None:
    wanted = torch.from_numpy(python_speech_features.mfcc(numpy.zeros(1000, dtype=numpy.int16), 16000))
    assert torch.allclose(mfcc(torch.zeros(1000)), wanted, atol=1e-9, rtol=0)


def test_samples_of_a_16_bit_file_come_back_whole() -> None:
    integers = torch.arange(-32768, 32768)
    assert torch.equal(to_int16_scale(integers.float() / 32768), integers.double())
    assert to_int16_scale(torch.tensor([1.0, 2.0, -2.0])).tolist() == [32767, 32767, -32768]
