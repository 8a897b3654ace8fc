"""Every method, streamed from tiny VAEs that are built and called like the host's."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import WAN21, WAN22, CausalConv, TinyWan, latent_of
from wan_core.vae.blocks import run_middle
from wan_core.vae.cache import DecoderCache
from wan_core.vae.memory import memory_model
from wan_core.vae.methods import HOST_SCHEDULE, ONE_FRAME, PARKED_CACHE, DecodeMethod
from wan_core.vae.params import VaeParams, detect_vae
from wan_core.vae.stream import chunk_schedule, stream_frames

CPU = torch.device("cpu")
WALKING = {
    "one frame": ONE_FRAME,
    "cache in RAM": PARKED_CACHE,
    "host's way, cache in RAM": DecodeMethod(cache_in_ram=True),
    "tiles": DecodeMethod(one_frame=True, rows=2, columns=2, segment_latents=2),
    "tiles, cache in RAM": DecodeMethod(one_frame=True, columns=2, segment_latents=3, cache_in_ram=True),
}
METHODS = {"host's schedule": HOST_SCHEDULE, **WALKING}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
every_walk = pytest.mark.parametrize("method", WALKING.values(), ids=WALKING.keys())
both_families = pytest.mark.parametrize("params", [WAN21, WAN22], ids=["wan21", "wan22"])
host_calls = pytest.mark.parametrize(
    ("params", "calls"), [(WAN21, [1, 2, 2, 1]), (WAN22, [1] * 6)], ids=["wan21", "wan22"]
)


class Interrupted(BaseException):
    """What the host raises when the user presses stop."""


@pytest.fixture
def caches(monkeypatch: pytest.MonkeyPatch) -> list[DecoderCache]:
    """The caches that streams make."""
    found: list[DecoderCache] = []

    class RecordedCache(DecoderCache):
        def __init__(self, device: torch.device) -> None:
            super().__init__(device)
            found.append(self)

    monkeypatch.setattr("wan_core.vae.stream.DecoderCache", RecordedCache)
    return found


def stream(vae: TinyWan, latent: Tensor, method: DecodeMethod, **options: bool) -> Iterator[Tensor]:
    return stream_frames(vae, latent, vae.params, method, device=CPU, dtype=torch.float64, **options)


def frames_of(vae: TinyWan, latent: Tensor, method: DecodeMethod, **options: bool) -> Tensor:
    return torch.cat(list(stream(vae, latent, method, **options)))


def cached_frames(caches: list[DecoderCache]) -> list[Tensor]:
    return [frame for cache in caches for past in cache._pasts.values() for frame in past]


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 5, 6])
@every_method
@both_families
def test_every_method_gives_the_clip_decoded_in_one_go(
    params: VaeParams, method: DecodeMethod, latent_frames: int
) -> None:
    vae, latent = TinyWan(params), latent_of(params, latent_frames)
    before = latent.clone()
    frames = frames_of(vae, latent, method)
    assert frames.shape == params.image_shape((1, *latent.shape))
    torch.testing.assert_close(frames, vae.whole(latent), rtol=0, atol=1e-11)
    assert torch.equal(latent, before)


@every_method
@both_families
def test_streams_side_by_side_do_not_mix(params: VaeParams, method: DecodeMethod) -> None:
    vae, clips = TinyWan(params), [latent_of(params, 3), -latent_of(params, 3)]
    turns = list(zip(*(stream(vae, clip, method) for clip in clips), strict=True))
    for clip, pieces in zip(clips, zip(*turns, strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), frames_of(vae, clip, method))


# The host's schedule


@pytest.mark.parametrize("latent_frames", range(1, 41))
@pytest.mark.parametrize("chunk_latents", [1, 2])
def test_the_chunks_cover_the_clip_once_and_only_the_ends_are_short(latent_frames: int, chunk_latents: int) -> None:
    chunks = list(chunk_schedule(latent_frames, chunk_latents))
    assert chunks[0] == (0, 1)
    assert chunks[-1][1] == latent_frames
    assert all(stop == start for (_, stop), (start, _) in pairwise(chunks))
    assert all(stop - start == chunk_latents for start, stop in chunks[1:-1])
    assert all(1 <= stop - start <= chunk_latents for start, stop in chunks[-1:])


def test_a_wan21_stream_of_single_latents_would_be_wrong() -> None:
    vae, latent, slots = TinyWan(WAN21), latent_of(WAN21, 4), [None] * WAN21.cache_slots
    pieces = [piece for x in latent[None].split(1, dim=2) for piece in vae.decoder(vae.conv2(x), slots, [0])]
    wrong = torch.cat(pieces, dim=2)[0].permute(1, 2, 3, 0)
    assert (wrong - vae.whole(latent)).abs().max() > 0.01


@host_calls
def test_the_decoder_is_called_only_when_its_frames_are_asked_for(params: VaeParams, calls: list[int]) -> None:
    """The latent convolution sees the whole clip, because its rounding may depend on the size."""
    vae = TinyWan(params)
    pieces = stream(vae, latent_of(params, 6), HOST_SCHEDULE)
    assert vae.decoder.calls == []
    assert next(pieces).shape[0] == 1
    assert vae.decoder.calls == [1]
    assert sum(len(piece) for piece in pieces) == 20
    assert vae.decoder.calls == calls
    assert vae.conv2.calls == [(0, 6)]


@host_calls
def test_a_bounded_stream_takes_the_latent_in_the_decoders_own_chunks(params: VaeParams, calls: list[int]) -> None:
    vae, latent = TinyWan(params), latent_of(params, 6)
    frames = frames_of(vae, latent, HOST_SCHEDULE, bounded=True)
    assert vae.conv2.calls == [(0, latents) for latents in calls]
    assert vae.decoder.calls == calls
    torch.testing.assert_close(frames, vae.whole(latent), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("params", "pieces_in_call"), [(WAN21, 4), (WAN22, 1)], ids=["wan21", "wan22"])
def test_only_the_pieces_of_one_decoder_call_stay_alive(params: VaeParams, pieces_in_call: int) -> None:
    vae = TinyWan(params)
    for _ in stream(vae, latent_of(params, 12, 1, 1), HOST_SCHEDULE):
        assert sum(piece() is not None for piece in vae.decoder.given) <= pieces_in_call
    assert all(piece() is None for piece in vae.decoder.given)


def test_a_piece_that_the_caller_lets_go_is_free_before_the_next_call() -> None:
    vae, alive = TinyWan(WAN22), []
    given = vae.decoder.given
    vae.decoder.register_forward_pre_hook(lambda *_: alive.append(sum(piece() is not None for piece in given)))
    pieces = stream(vae, latent_of(WAN22, 6), HOST_SCHEDULE)
    while next(pieces, None) is not None:
        continue
    assert alive == [0] * 6


@both_families
def test_the_hosts_slots_are_let_go_when_the_stream_is_closed(params: VaeParams) -> None:
    vae, given = TinyWan(params), []
    vae.decoder.register_forward_pre_hook(lambda _, args, named: given.append(named["feat_cache"]), with_kwargs=True)
    pieces = stream(vae, latent_of(params, 5), HOST_SCHEDULE)
    next(pieces), next(pieces)
    assert len(given[0]) == params.cache_slots
    pieces.close()
    assert given[0] == []


def test_a_single_wan21_latent_has_no_cache() -> None:
    vae, given = TinyWan(WAN21), []
    vae.decoder.register_forward_pre_hook(lambda _, args, named: given.append(named["feat_cache"]), with_kwargs=True)
    frames_of(vae, latent_of(WAN21, 1), HOST_SCHEDULE)
    assert given == [None]


# One frame at a time


@every_walk
@both_families
def test_other_methods_move_the_latent_frame_by_frame(params: VaeParams, method: DecodeMethod) -> None:
    vae = TinyWan(params)
    frames_of(vae, latent_of(params, 4), method)
    assert vae.conv2.calls == [(0, 1)] * 4


@every_walk
@both_families
def test_the_cache_is_the_same_for_a_clip_of_any_length(
    params: VaeParams, method: DecodeMethod, caches: list[DecoderCache]
) -> None:
    vae, most = TinyWan(params), []
    for latent_frames in (4, 8):
        caches.clear()
        pieces = stream(vae, latent_of(params, latent_frames, 2, 2), method)
        most.append(max(sum(frame.nbytes for frame in cached_frames(caches)) for _ in pieces))
        assert cached_frames(caches) == []
    assert most[0] == most[1] > 0


@every_walk
@both_families
def test_a_stream_that_is_dropped_frees_its_cache_and_leaves_the_modules_as_they_were(
    params: VaeParams, method: DecodeMethod, caches: list[DecoderCache]
) -> None:
    vae, latent = TinyWan(params), latent_of(params, 5)
    before = [set(vars(module)) for module in vae.modules()]
    pieces = stream(vae, latent, method)
    next(pieces), next(pieces)
    cached = [weakref.ref(frame) for frame in cached_frames(caches)]
    assert len(cached) > 60
    del pieces
    assert all(frame() is None for frame in cached)
    assert [set(vars(module)) for module in vae.modules()] == before


@pytest.mark.parametrize("raised", [Interrupted, RuntimeError])
@every_walk
@both_families
def test_an_interruption_inside_a_convolution_frees_the_cache(
    params: VaeParams, method: DecodeMethod, raised: type[BaseException], caches: list[DecoderCache]
) -> None:
    vae, latent = TinyWan(params), latent_of(params, 5)
    clean = frames_of(vae, latent, method)
    pieces = stream(vae, latent, method)
    next(pieces)
    cached = [weakref.ref(frame) for frame in cached_frames(caches)]
    hook = vae.decoder.head[-1].register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(raised))
    with pytest.raises(raised):
        list(pieces)
    hook.remove()
    assert cached and all(frame() is None for frame in cached)
    assert torch.equal(frames_of(vae, latent, method), clean)


@pytest.mark.parametrize("name", ["one frame", "cache in RAM"])
def test_a_frame_that_the_caller_lets_go_is_free_before_the_next_is_decoded(name: str) -> None:
    vae, given, alive = TinyWan(WAN21), [], []
    head = vae.decoder.head[-1]
    head.register_forward_pre_hook(lambda *_: alive.append(sum(frame() is not None for frame in given)))
    pieces = stream(vae, latent_of(WAN21, 3), METHODS[name])
    for _ in range(9):
        given.append(weakref.ref(next(pieces).untyped_storage()))
    assert alive == [0] * 9


# Tiles


@pytest.mark.parametrize(("segment_latents", "calls_for_first"), [(1, 1), (2, 5), (3, 9)])
def test_tiles_decode_one_segment_ahead_and_no_more(segment_latents: int, calls_for_first: int) -> None:
    vae = TinyWan(WAN21)
    method = replace(PARKED_CACHE, columns=2, segment_latents=segment_latents)
    pieces = stream(vae, latent_of(vae.params, 4, 1, 2), method)
    assert vae.decoder.head[-1].calls == []
    next(pieces)
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
def test_the_caches_wait_where_the_method_says(name: str, parked: list[bool], caches: list[DecoderCache]) -> None:
    pieces = stream(TinyWan(WAN21), latent_of(WAN21, 4, 2, 2), METHODS[name])
    next(pieces)
    assert [cache._parked for cache in caches] == parked


def test_a_segments_input_is_free_when_its_frames_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    features = []

    def recorded(*args: object) -> Tensor:
        feature = run_middle(*args)
        features.append(weakref.ref(feature))
        return feature

    monkeypatch.setattr("wan_core.vae.stream.run_middle", recorded)
    pieces = stream(TinyWan(WAN22), latent_of(WAN22, 4), METHODS["tiles, cache in RAM"])
    next(pieces)
    assert [feature() for feature in features] == [None] * 3


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


@pytest.fixture
def ram(monkeypatch: pytest.MonkeyPatch) -> RoundingRam:
    found = RoundingRam()
    monkeypatch.setattr("wan_core.vae.cache.room_for_past", found.room)
    return found


@pytest.mark.parametrize("name", ["tiles", "tiles, cache in RAM"])
def test_in_the_last_segment_a_tile_lets_its_cache_go_instead_of_parking_it(
    name: str, ram: RoundingRam, caches: list[DecoderCache]
) -> None:
    pieces = stream(TinyWan(WAN21), latent_of(WAN21, 2, 2, 2), replace(METHODS[name], segment_latents=2))
    next(pieces)
    whole, *of_tiles = [len(cache._pasts) for cache in caches]
    assert whole > 0
    assert of_tiles and not any(of_tiles)
    assert ram.taken == 0


@pytest.mark.parametrize(
    "method",
    [PARKED_CACHE, METHODS["tiles, cache in RAM"], replace(PARKED_CACHE, rows=3, columns=2, segment_latents=2)],
)
@both_families
def test_the_memory_model_counts_the_ram_that_pinned_caches_take(
    params: VaeParams, method: DecodeMethod, ram: RoundingRam
) -> None:
    """Each place is taken once, however often a cache moves."""
    vae, latent = TinyWan(params), latent_of(params, 7, 3, 5)
    assert len(frames_of(vae, latent, method)) == 25
    detected = detect_vae({name: tuple(weight.shape) for name, weight in vae.named_parameters()})
    model = memory_model(detected, latent.shape, latent.dtype.itemsize)
    assert ram.most_bytes == model.parked_bytes(method, pinned=True) > model.parked_bytes(method, pinned=False)
    assert ram.live_bytes == 0
    tiles = method.rows * method.columns
    inside = vae.decoder if tiles == 1 else torch.nn.ModuleList([vae.decoder.upsamples, vae.decoder.head])
    convolutions = sum(isinstance(module, CausalConv) and module.kernel_size[0] == 3 for module in inside.modules())
    assert ram.taken == convolutions * tiles
