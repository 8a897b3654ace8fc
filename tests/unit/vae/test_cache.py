"""The cache against a list that keeps every frame of the clip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan_core.vae.cache import DecoderCache, HostCache

CPU = torch.device("cpu")
SHAPE = (1, 3, 1, 4, 5)  # b c 1 h w
FRAME_BYTES = 3 * 4 * 5 * 4


def frames(number: int) -> list[Tensor]:
    return [torch.randn(SHAPE) for _ in range(number)]


def test_a_window_is_the_two_frames_before_and_the_present_one() -> None:
    cache, clip = DecoderCache(CPU), frames(7)
    assert cache.window("conv", clip[0]) is None
    zeros = torch.zeros(SHAPE)
    for i in range(1, 7):
        before = clip[i - 2] if i > 1 else zeros
        assert torch.equal(cache.window("conv", clip[i]), torch.cat([before, clip[i - 1], clip[i]], dim=2))


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


def test_the_cache_has_two_frames_for_each_convolution_however_long_the_clip() -> None:
    cache = DecoderCache(CPU)
    assert cache.nbytes == 0
    for frame in frames(30):
        cache.window("a", frame)
        cache.window("b", frame[:, :1])
        assert cache.nbytes == 2 * FRAME_BYTES + 2 * FRAME_BYTES // 3


@pytest.mark.parametrize("parked_from", [0, 1, 2, 3])
def test_parking_and_fetching_lose_nothing(parked_from: int) -> None:
    cache, plain, clip = DecoderCache(CPU), DecoderCache(CPU), frames(6)
    for i, frame in enumerate(clip):
        if i == parked_from:
            cache.park()
        if i == parked_from + 2:
            cache.fetch()
        window, wanted = cache.window("conv", frame), plain.window("conv", frame)
        assert (window is None and wanted is None) or torch.equal(window, wanted)
        assert cache.nbytes == plain.nbytes


def test_a_parked_cache_lies_in_ram_and_a_fetched_one_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.vae.cache.RAM", torch.device("meta"))  # stands for the RAM of another device
    cache, clip = DecoderCache(CPU), frames(2)
    cache.window("a", clip[0])
    assert places(cache) == {"cpu"}
    cache.park()
    cache.window("b", clip[1])
    assert places(cache) == {"meta"}
    cache = DecoderCache(torch.device("meta"))
    cache.window("a", clip[0].to("meta"))
    assert places(cache) == {"meta"}


def test_on_a_cpu_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wan_core.vae.cache.RAM", CPU)
    cache, clip = DecoderCache(CPU), frames(3)
    for frame in clip:
        cache.window("conv", frame)
    lie_at = [frame.data_ptr() for frame in cache._pasts["conv"]]
    cache.park()
    cache.fetch()
    assert [frame.data_ptr() for frame in cache._pasts["conv"]] == lie_at


def places(cache: DecoderCache) -> set[str]:
    return {frame.device.type for past in cache._pasts.values() for frame in past}


def test_a_module_begins_once() -> None:
    cache = DecoderCache(CPU)
    assert [cache.begins("a"), cache.begins("a"), cache.begins("b"), cache.begins("a")] == [True, False, True, False]


def test_a_cleared_cache_is_a_new_one() -> None:
    cache, clip = DecoderCache(CPU), frames(2)
    cache.begins("a")
    cache.window("conv", clip[0])
    cache.clear()
    assert cache.nbytes == 0
    assert cache.begins("a")
    assert cache.window("conv", clip[1]) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: would prove that pinned copies keep order")
def test_a_parked_cache_of_a_cuda_device_is_pinned_and_in_order() -> None:
    device = torch.device("cuda")
    cache, plain = DecoderCache(device), DecoderCache(device)
    cache.park()
    clip = [torch.randn(1, 64, 1, 256, 256, device=device) for _ in range(20)]
    for i, frame in enumerate(clip):
        if i % 5 == 4:
            cache.fetch()
            cache.park()
        window, wanted = cache.window("conv", frame), plain.window("conv", frame)
        assert (window is None and wanted is None) or torch.equal(window, wanted)
    assert all(frame.is_pinned() for frame in cache._pasts["conv"])


def test_the_hosts_slots_count_the_frames_and_not_the_marks_in_them() -> None:
    cache = HostCache(5)
    cache.slots[:4] = [torch.zeros(1, 3, 2, 4, 5), "Rep", torch.zeros(1, 3, 1, 4, 5), torch.zeros(2).double()]
    assert cache.nbytes == 3 * FRAME_BYTES + 16
    cache.clear()
    assert cache.nbytes == 0
