"""Every plan but the host's schedule, streamed from tiny decoders that are built like the host's."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import WAN21, WAN22, CausalConv, TinyWan, latent_of
from wan_core.vae.blocks import through_middle
from wan_core.vae.plan import Plan, Work, parked_bytes
from wan_core.vae.spec import VaeSpec, detect_vae
from wan_core.vae.stream import FrameStream, stream_frames

CPU = torch.device("cpu")
PLANS = {
    "one frame": Plan(True, 1, 1, 1, False, 0, ""),
    "cache in RAM": Plan(True, 1, 1, 1, True, 0, ""),
    "host's way, cache in RAM": Plan(False, 1, 1, 1, True, 0, ""),
    "tiles": Plan(True, 2, 2, 2, False, 0, ""),
    "tiles, cache in RAM": Plan(True, 1, 2, 3, True, 0, ""),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
both_families = pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])


class Interrupted(BaseException):
    """What the host raises when the user presses stop."""


def streamed(vae: TinyWan, latent: Tensor, plan: Plan) -> FrameStream:
    return stream_frames(vae, latent, vae.spec, plan, device=CPU, dtype=torch.float64)


def cached_tensors(stream: FrameStream) -> list[weakref.ref[Tensor]]:
    return [weakref.ref(frame) for cache in stream._caches for past in cache._pasts.values() for frame in past]


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 5])
@every_plan
@both_families
def test_every_plan_gives_the_clip_decoded_in_one_go(spec: VaeSpec, plan: Plan, latent_frames: int) -> None:
    vae, latent = TinyWan(spec), latent_of(spec, latent_frames)
    frames = torch.cat(list(streamed(vae, latent, plan)))
    assert frames.shape == spec.image_shape((1, *latent.shape))
    torch.testing.assert_close(frames, vae.whole(latent), rtol=0, atol=1e-11)


@every_plan
@both_families
def test_other_plans_move_the_latent_frame_by_frame(spec: VaeSpec, plan: Plan) -> None:
    vae = TinyWan(spec)
    list(streamed(vae, latent_of(spec, 4), plan))
    assert vae.conv2.calls == [(0, 1)] * 4


@every_plan
@both_families
def test_streams_side_by_side_do_not_mix_with_any_plan(spec: VaeSpec, plan: Plan) -> None:
    vae, clips = TinyWan(spec), [latent_of(spec, 3), -latent_of(spec, 3)]
    turns = list(zip(*(streamed(vae, clip, plan) for clip in clips), strict=True))
    for clip, pieces in zip(clips, zip(*turns, strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), torch.cat(list(streamed(vae, clip, plan))))


@every_plan
@both_families
def test_the_cache_is_known_and_the_same_for_a_clip_of_any_length(spec: VaeSpec, plan: Plan) -> None:
    vae, most = TinyWan(spec), []
    for latent_frames in (4, 8):
        stream = streamed(vae, latent_of(spec, latent_frames, 2, 2), plan)
        most.append(max(stream.cache_bytes for _ in stream))
        assert stream.cache_bytes == 0
    assert most[0] == most[1] > 0


@every_plan
@both_families
def test_a_stream_that_is_dropped_frees_its_cache_and_leaves_the_modules_as_they_were(
    spec: VaeSpec, plan: Plan
) -> None:
    vae, latent = TinyWan(spec), latent_of(spec, 5)
    before = [set(vars(module)) for module in vae.modules()]
    stream = streamed(vae, latent, plan)
    next(stream), next(stream)
    cached = cached_tensors(stream)
    assert len(cached) > 60
    del stream
    assert all(frame() is None for frame in cached)
    assert [set(vars(module)) for module in vae.modules()] == before


@pytest.mark.parametrize("raised", [Interrupted, RuntimeError])
@every_plan
@both_families
def test_an_interruption_inside_a_convolution_frees_the_cache(
    spec: VaeSpec, plan: Plan, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    vae, latent = TinyWan(spec), latent_of(spec, 5)
    clean = torch.cat(list(streamed(vae, latent, plan)))
    stream = streamed(vae, latent, plan)
    next(stream)
    cached = cached_tensors(stream)
    hook = vae.decoder.head[-1].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(raised))
    with pytest.raises(raised):
        list(stream)
    hook.remove()
    assert stream.cache_bytes == 0
    assert all(frame() is None for frame in cached)
    assert torch.equal(torch.cat(list(streamed(vae, latent, plan))), clean)


@pytest.mark.parametrize("name", ["one frame", "cache in RAM"])
def test_a_frame_that_the_caller_lets_go_is_free_before_the_next_is_decoded(name: str) -> None:
    vae, given, alive = TinyWan(WAN21), [], []
    head = vae.decoder.head[-1]
    head.register_forward_pre_hook(lambda *_: alive.append(sum(frame() is not None for frame in given)))
    stream = streamed(vae, latent_of(WAN21, 3), PLANS[name])
    for _ in range(9):
        given.append(weakref.ref(next(stream).untyped_storage()))
    assert alive == [0] * 9


@pytest.mark.parametrize(("segment_latents", "calls_for_first"), [(1, 1), (2, 5), (3, 9)])
def test_tiles_decode_one_segment_ahead_and_no_more(segment_latents: int, calls_for_first: int) -> None:
    vae = TinyWan(WAN21)
    stream = streamed(vae, latent_of(vae.spec, 4, 1, 2), Plan(True, 1, 2, segment_latents, True, 0, ""))
    assert vae.decoder.head[-1].calls == []
    next(stream)
    assert len(vae.decoder.head[-1].calls) == 2 * calls_for_first


@pytest.mark.parametrize(
    ("name", "parked"),
    [
        ("one frame", [False]),
        ("cache in RAM", [True]),
        ("tiles", [False] * 5),
        ("tiles, cache in RAM", [False, True, True]),  # the first is the full frame's, small and always in use
    ],
)
def test_the_caches_wait_where_the_plan_says(name: str, parked: list[bool]) -> None:
    stream = streamed(TinyWan(WAN21), latent_of(WAN21, 4, 2, 2), PLANS[name])
    next(stream)
    assert [cache._parked for cache in stream._caches] == parked


# The RAM of the caches


class RoundingRam:
    """Stands in for torch's pinned memory: each tensor takes the next power of two, as long as it lives."""

    def __init__(self) -> None:
        self.live_bytes = self.most_bytes = self.taken = 0

    def room(self, frame: Tensor, device: torch.device, *, pinned: bool) -> Tensor:
        room = torch.empty(2, *frame.shape, dtype=frame.dtype)
        if device != CPU:  # in RAM, as the fixture has it
            size = 1
            while size < room.nbytes:
                size *= 2
            self.taken += 1
            self.live_bytes += size
            self.most_bytes = max(self.most_bytes, self.live_bytes)
            weakref.finalize(room.untyped_storage(), self._free, size)
        return room

    def _free(self, size: int) -> None:
        self.live_bytes -= size


@pytest.mark.parametrize("name", ["tiles", "tiles, cache in RAM"])
def test_in_the_last_segment_a_tile_lets_its_cache_go_instead_of_parking_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ram = RoundingRam()
    monkeypatch.setattr("wan_core.vae.cache.room_for_past", ram.room)
    stream = streamed(TinyWan(WAN21), latent_of(WAN21, 2, 2, 2), replace(PLANS[name], segment_latents=2))
    next(stream)
    whole, *of_tiles = [cache.nbytes for cache in stream._caches]
    assert whole > 0
    assert of_tiles and not any(of_tiles)
    assert ram.taken == 0


@pytest.mark.parametrize(
    "plan", [PLANS["cache in RAM"], PLANS["tiles, cache in RAM"], Plan(True, 3, 2, 2, True, 0, "")]
)
@both_families
def test_the_plan_counts_the_ram_that_pinned_caches_take(
    spec: VaeSpec, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each place is taken once, however often a cache moves."""
    vae, ram = TinyWan(spec), RoundingRam()
    monkeypatch.setattr("wan_core.vae.cache.room_for_past", ram.room)
    latent = latent_of(spec, 7, 3, 5)
    assert sum(len(frames) for frames in streamed(vae, latent, plan)) == 25
    detected = detect_vae({name: tuple(weight.shape) for name, weight in vae.named_parameters()})
    work = Work(detected, *latent.shape[1:], latent.dtype.itemsize)
    assert ram.most_bytes == parked_bytes(work, plan) > parked_bytes(replace(work, device_is_ram=True), plan)
    assert ram.live_bytes == 0
    tiles = plan.rows * plan.columns
    inside = vae.decoder if tiles == 1 else torch.nn.ModuleList([vae.decoder.upsamples, vae.decoder.head])
    convolutions = sum(isinstance(each, CausalConv) and each.kernel_size[0] == 3 for each in inside.modules())
    assert ram.taken == convolutions * tiles


def test_a_segments_input_is_free_when_its_frames_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    features = []

    def recorded(*args: object) -> Tensor:
        feature = through_middle(*args)
        features.append(weakref.ref(feature))
        return feature

    monkeypatch.setattr("wan_core.vae.stream.through_middle", recorded)
    stream = streamed(TinyWan(WAN22), latent_of(WAN22, 4), PLANS["tiles, cache in RAM"])
    next(stream)
    assert [feature() for feature in features] == [None] * 3
