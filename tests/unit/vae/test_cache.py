"""The cache against a list that keeps every frame of the clip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan_core.vae.cache import DecoderCache

CPU = torch.device("cpu")
SHAPE = (1, 3, 1, 4, 5)  # b c 1 h w


def frames(number: int) -> list[Tensor]:
    return [torch.randn(SHAPE) for _ in range(number)]


def cached(cache: DecoderCache) -> list[Tensor]:
    return [frame for past in cache._pasts.values() for frame in past]


def test_a_window_is_the_two_frames_before_and_the_present_one() -> None:
    cache, clip = DecoderCache(CPU), frames(7)
    assert cache.window("conv", clip[0]) is None
    zeros = torch.zeros(SHAPE)
    for i in range(1, 7):
        before = clip[i - 2] if i > 1 else zeros
        assert torch.equal(cache.window("conv", clip[i]), torch.cat([before, clip[i - 1], clip[i]], dim=2))
        assert len(cached(cache)) == 2  # however long the clip


def test_every_convolution_has_its_own_past() -> None:
    cache, clip = DecoderCache(CPU), frames(4)
    cache.window("a", clip[0])
    assert cache.window("b", clip[1]) is None
    assert torch.equal(cache.window("a", clip[2])[:, :, 1:], torch.cat([clip[0], clip[2]], dim=2))
    assert torch.equal(cache.window("b", clip[3])[:, :, 1:], torch.cat([clip[1], clip[3]], dim=2))


def test_frames_are_copied_because_the_next_layer_may_write_into_them() -> None:
    cache, clip = DecoderCache(CPU), frames(3)
    kept = [frame.clone() for frame in clip]
    for frame in clip[:2]:
        window = cache.window("conv", frame)
        frame.zero_()
        if window is not None:
            window.zero_()
    assert torch.equal(cache.window("conv", clip[2]), torch.cat(kept, dim=2))


@pytest.mark.parametrize("parked_from", [0, 1, 2, 3])
def test_moving_to_ram_and_back_loses_nothing(parked_from: int) -> None:
    cache, plain, clip = DecoderCache(CPU), DecoderCache(CPU), frames(6)
    for i, frame in enumerate(clip):
        cache.move(parked=parked_from <= i < parked_from + 2)
        window, wanted = cache.window("conv", frame), plain.window("conv", frame)
        assert (window is None and wanted is None) or torch.equal(window, wanted)


def test_a_parked_cache_lies_in_ram_and_another_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.vae.cache.RAM", torch.device("meta"))  # stands for the RAM of another device
    cache, clip = DecoderCache(CPU), frames(2)
    cache.window("a", clip[0])
    assert {frame.device.type for frame in cached(cache)} == {"cpu"}
    cache.move(parked=True)
    cache.window("b", clip[1])
    assert {frame.device.type for frame in cached(cache)} == {"meta"}


def test_on_a_cpu_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.vae.cache.RAM", CPU)
    cache, clip = DecoderCache(CPU), frames(3)
    for frame in clip:
        cache.window("conv", frame)
    lie_at = [frame.data_ptr() for frame in cached(cache)]
    cache.move(parked=True)
    cache.move(parked=False)
    assert [frame.data_ptr() for frame in cached(cache)] == lie_at


def test_a_released_cache_is_a_new_one() -> None:
    cache, clip = DecoderCache(CPU), frames(2)
    cache.begun.add("a")
    cache.window("conv", clip[0])
    cache.release()
    assert cached(cache) == []
    assert "a" not in cache.begun
    assert cache.window("conv", clip[1]) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: would prove that pinned copies keep order")
def test_a_parked_cache_of_a_cuda_device_is_pinned_and_in_order() -> None:
    device = torch.device("cuda")
    cache, plain = DecoderCache(device), DecoderCache(device)
    cache.move(parked=True)
    clip = [torch.randn(1, 64, 1, 256, 256, device=device) for _ in range(20)]
    for i, frame in enumerate(clip):
        if i % 5 == 4:
            cache.move(parked=False)
            cache.move(parked=True)
        window, wanted = cache.window("conv", frame), plain.window("conv", frame)
        assert (window is None and wanted is None) or torch.equal(window, wanted)
    assert all(frame.is_pinned() for frame in cached(cache))
