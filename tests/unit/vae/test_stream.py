"""The stream against tiny decoders that speak the Wan VAEs' cache protocol and also decode a whole clip at once."""

from __future__ import annotations

import weakref
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, interpolate, pad

from wan_core.vae.plan import HOST_PLAN
from wan_core.vae.spec import VaeSpec
from wan_core.vae.stream import chunk_schedule, stream_frames

CPU = torch.device("cpu")
WIDTH = 4
CACHE_FRAMES = 2


class CausalConv(nn.Module):
    """A 3-D convolution that sees the present and the two frames before it."""

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        scale = (c_in * kernel[0] * kernel[1] * kernel[2]) ** -0.5
        self.weight = nn.Parameter(torch.randn(c_out, c_in, *kernel, dtype=torch.float64) * scale)
        self.bias = nn.Parameter(torch.randn(c_out, dtype=torch.float64) * 0.1)

    def whole(self, x: Tensor) -> Tensor:
        """All frames of a clip at once, after zeros: the oracle."""
        past, side = self.weight.shape[2] - 1, self.weight.shape[3] // 2
        return conv3d(pad(x, (side, side, side, side, past, 0)), self.weight, self.bias)

    def chunk(self, x: Tensor, past: Tensor | None) -> Tensor:
        """The frames of a chunk after at most two cached frames, with zeros for those that the cache lacks."""
        if past is None:
            return self.whole(x)
        return self.whole(torch.cat([past, x], dim=2))[:, :, past.shape[2] :]

    def cached(self, x: Tensor, slots: list, index: list[int], *, keeps_previous: bool) -> Tensor:
        """A chunk that reads and fills its slot; ``keeps_previous`` fills up a chunk of one frame from the old slot."""
        slot, kept = index[0], x[:, :, -CACHE_FRAMES:]
        if keeps_previous and kept.shape[2] < CACHE_FRAMES and slots[slot] is not None:
            kept = torch.cat([slots[slot][:, :, -1:], kept], dim=2)
        out = self.chunk(x, slots[slot])
        slots[slot] = kept
        index[0] += 1
        return out


class TimeUpsample(nn.Module):
    """Doubles every frame but the first of the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = CausalConv(WIDTH, 2 * WIDTH, (3, 1, 1))

    def whole(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :, :1], self._interleave(self.conv.whole(x[:, :, 1:]))], dim=2) if x.shape[2] > 1 else x

    def cached(self, x: Tensor, slots: list, index: list[int], *, keeps_previous: bool) -> Tensor:
        slot = index[0]
        if slots[slot] is None:
            slots[slot] = "Rep"
            index[0] += 1
            return x
        if isinstance(slots[slot], str):
            slots[slot] = None
        return self._interleave(self.conv.cached(x, slots, index, keeps_previous=keeps_previous))

    @staticmethod
    def _interleave(x: Tensor) -> Tensor:
        b, c, f, h, w = x.shape
        return x.reshape(b, 2, c // 2, f, h, w).transpose(1, 2).transpose(2, 3).reshape(b, c // 2, 2 * f, h, w)


class TinyDecoder(nn.Module):
    """Convolution, twice (double time, convolution), double space, head: a Wan decoder without its bulk."""

    def __init__(self, z: int, out: int) -> None:
        super().__init__()
        self.entry = CausalConv(z, WIDTH, (3, 3, 3))
        self.stages = nn.ModuleList([TimeUpsample(), CausalConv(WIDTH, WIDTH, (3, 3, 3)), TimeUpsample()])
        self.head = CausalConv(WIDTH, out, (3, 3, 3))
        self.calls: list[int] = []  # latent frames of each call
        self.given: list[weakref.ref[Tensor]] = []  # the pieces that the calls gave back

    def whole(self, x: Tensor) -> Tensor:
        x = self.entry.whole(x)
        for stage in self.stages:
            x = stage.whole(x.tanh())
        return self.head.whole(self._double_space(x))

    def streamed(self, x: Tensor, slots: list | None, index: list[int], *, keeps_previous: bool) -> Tensor:
        self.calls.append(x.shape[2])
        if slots is None:
            return self.whole(x)
        x = self.entry.cached(x, slots, index, keeps_previous=keeps_previous)
        for stage in self.stages:
            x = stage.cached(x.tanh(), slots, index, keeps_previous=keeps_previous)
        return self.head.cached(self._double_space(x), slots, index, keeps_previous=keeps_previous)

    @staticmethod
    def _double_space(x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=(1, 2, 2))


class Decoder21(TinyDecoder):
    """Gives a list of pieces, and loses a frame of the past after a chunk of one."""

    def forward(self, x: Tensor, feat_cache: list | None, feat_idx: list[int]) -> list[Tensor]:
        pieces = list(self.streamed(x, feat_cache, feat_idx, keeps_previous=False).split(2, dim=2))
        self.given += [weakref.ref(piece) for piece in pieces]
        return pieces


class Decoder22(TinyDecoder):
    """Gives one piece, and has to be told which chunk is the first."""

    def forward(self, x: Tensor, feat_cache: list, feat_idx: list[int], first_chunk: bool = False) -> Tensor:
        assert first_chunk == all(slot is None for slot in feat_cache)
        piece = self.streamed(x, feat_cache, feat_idx, keeps_previous=True)
        self.given.append(weakref.ref(piece))
        return piece


class TinyVae(nn.Module):
    """A latent convolution and a decoder, as the host's own Wan VAEs name them."""

    def __init__(self, spec: VaeSpec) -> None:
        super().__init__()
        decoder = Decoder21 if spec.kind == "Wan2.1" else Decoder22
        self.latent_conv = CausalConv(spec.latent_channels, spec.latent_channels, (1, 1, 1))
        self.decoder = decoder(spec.latent_channels, spec.image_channels * spec.patch**2)
        self.conv2_calls: list[int] = []  # latent frames of each call

    def conv2(self, x: Tensor) -> Tensor:
        self.conv2_calls.append(x.shape[2])
        return self.latent_conv.whole(x)


WAN21 = VaeSpec(
    kind="Wan2.1",
    latent_channels=3,
    image_channels=3,
    spatial_scale=2,
    temporal_scale=4,
    patch=1,
    chunk_latents=2,
    cache_slots=5,
)
WAN22 = VaeSpec(
    kind="Wan2.2",
    latent_channels=5,
    image_channels=3,
    spatial_scale=4,
    temporal_scale=4,
    patch=2,
    chunk_latents=1,
    cache_slots=5,
)


def tiny(spec: VaeSpec) -> TinyVae:
    torch.manual_seed(0)
    return TinyVae(spec).requires_grad_(False)


def latent_of(spec: VaeSpec, latent_frames: int) -> Tensor:
    return torch.randn(spec.latent_channels, latent_frames, 3, 4, dtype=torch.float64)  # z t h w


def stream(vae: TinyVae, latent: Tensor, spec: VaeSpec) -> list[Tensor]:
    return list(stream_frames(vae, latent, spec, HOST_PLAN, device=CPU, dtype=torch.float64))


def whole_clip(vae: TinyVae, latent: Tensor, spec: VaeSpec) -> Tensor:
    """The frames f h w c of a clip decoded in one go, every patch unpacked by its own index."""
    packed = vae.decoder.whole(vae.conv2(latent[None]))[0]  # c*patch*patch f h w
    p, (_, f, h, w) = spec.patch, packed.shape
    frames = torch.empty(f, h * p, w * p, spec.image_channels, dtype=packed.dtype)
    for c in range(spec.image_channels):
        for right in range(p):
            for down in range(p):
                frames[:, down::p, right::p, c] = packed[(c * p + right) * p + down]
    return frames


@pytest.mark.parametrize("latent_frames", range(1, 41))
@pytest.mark.parametrize("chunk_latents", [1, 2])
def test_the_chunks_cover_the_clip_once_and_only_the_ends_are_short(latent_frames: int, chunk_latents: int) -> None:
    chunks = list(chunk_schedule(latent_frames, chunk_latents))
    assert chunks[0] == (0, 1)
    assert chunks[-1][1] == latent_frames
    assert all(stop == start for (_, stop), (start, _) in pairwise(chunks))
    assert all(stop - start == chunk_latents for start, stop in chunks[1:-1])
    assert all(1 <= stop - start <= chunk_latents for start, stop in chunks[-1:])


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 4, 5, 9, 12])
@pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])
def test_a_streamed_clip_equals_the_clip_decoded_in_one_go(spec: VaeSpec, latent_frames: int) -> None:
    vae, latent = tiny(spec), latent_of(spec, latent_frames)
    frames = torch.cat(stream(vae, latent, spec))
    assert frames.shape == spec.image_shape((1, spec.latent_channels, *latent.shape[1:]))
    torch.testing.assert_close(frames, whole_clip(vae, latent, spec), rtol=0, atol=1e-12)


def test_a_wan21_stream_of_single_latents_would_be_wrong() -> None:
    vae, latent, cache = tiny(WAN21), latent_of(WAN21, 4), [None] * WAN21.cache_slots
    pieces = [piece for x in latent[None].split(1, dim=2) for piece in vae.decoder(vae.conv2(x), cache, [0])]
    wrong = torch.cat(pieces, dim=2)[0].permute(1, 2, 3, 0)
    assert (wrong - whole_clip(vae, latent, WAN21)).abs().max() > 0.01


@pytest.mark.parametrize(("spec", "calls"), [(WAN21, [1, 2, 2, 1]), (WAN22, [1] * 6)], ids=["wan21", "wan22"])
def test_the_decoder_is_called_only_when_its_frames_are_asked_for(spec: VaeSpec, calls: list[int]) -> None:
    vae = tiny(spec)
    frames = stream_frames(vae, latent_of(spec, 6), spec, HOST_PLAN, device=CPU, dtype=torch.float64)
    assert vae.decoder.calls == []
    assert next(frames).shape[0] == 1
    assert vae.decoder.calls == [1]
    assert sum(len(piece) for piece in frames) == 20
    assert vae.decoder.calls == calls


def test_the_latent_convolution_sees_the_whole_clip_because_its_rounding_may_depend_on_size() -> None:
    vae = tiny(WAN22)
    stream(vae, latent_of(WAN22, 6), WAN22)
    assert vae.conv2_calls == [6]


@pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])
def test_clips_streamed_side_by_side_do_not_mix(spec: VaeSpec) -> None:
    vae, clips = tiny(spec), [latent_of(spec, 5), latent_of(spec, 5)]
    streams = [stream_frames(vae, clip, spec, HOST_PLAN, device=CPU, dtype=torch.float64) for clip in clips]
    turns = list(zip(*streams, strict=True))
    for clip, pieces in zip(clips, zip(*turns, strict=True), strict=True):
        assert torch.equal(torch.cat(pieces), torch.cat(stream(vae, clip, spec)))


@pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])
def test_a_stream_that_is_dropped_leaves_nothing_behind(spec: VaeSpec) -> None:
    vae, latent = tiny(spec), latent_of(spec, 5)
    clean = torch.cat(stream(vae, latent, spec))
    cut_off = stream_frames(vae, latent, spec, HOST_PLAN, device=CPU, dtype=torch.float64)
    next(cut_off), next(cut_off)
    cut_off.close()
    assert torch.equal(torch.cat(stream(vae, latent, spec)), clean)


@pytest.mark.parametrize(("spec", "pieces_in_call"), [(WAN21, 4), (WAN22, 1)], ids=["wan21", "wan22"])
def test_only_the_pieces_of_one_decoder_call_stay_alive(spec: VaeSpec, pieces_in_call: int) -> None:
    vae = tiny(spec)
    for _ in stream_frames(vae, latent_of(spec, 30), spec, HOST_PLAN, device=CPU, dtype=torch.float64):
        assert sum(piece() is not None for piece in vae.decoder.given) <= pieces_in_call
    assert all(piece() is None for piece in vae.decoder.given)


def test_a_piece_that_the_caller_lets_go_is_free_before_the_next_call() -> None:
    vae, alive = tiny(WAN22), []
    pieces = vae.decoder.given
    vae.decoder.register_forward_pre_hook(lambda *_: alive.append(sum(piece() is not None for piece in pieces)))
    stream = stream_frames(vae, latent_of(WAN22, 6), WAN22, HOST_PLAN, device=CPU, dtype=torch.float64)
    while next(stream, None) is not None:
        continue
    assert alive == [0] * 6


def test_the_latent_is_read_and_not_written() -> None:
    latent = latent_of(WAN21, 5)
    before = latent.clone()
    stream(tiny(WAN21), latent, WAN21)
    assert torch.equal(latent, before)


@pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])
def test_the_hosts_cache_is_known_and_the_same_for_a_clip_of_any_length(spec: VaeSpec) -> None:
    vae, most = tiny(spec), []
    for latent_frames in (5, 21):
        stream = stream_frames(vae, latent_of(spec, latent_frames), spec, HOST_PLAN, device=CPU, dtype=torch.float64)
        most.append(max(stream.cache_bytes for _ in stream))
        assert stream.cache_bytes == 0
    assert most[0] == most[1] > 0


def test_a_single_wan21_latent_leaves_no_cache() -> None:
    stream = stream_frames(tiny(WAN21), latent_of(WAN21, 1), WAN21, HOST_PLAN, device=CPU, dtype=torch.float64)
    assert [stream.cache_bytes for _ in stream] == [0]


@pytest.mark.parametrize(("spec", "calls"), [(WAN21, [1, 2, 2, 1]), (WAN22, [1] * 6)], ids=["wan21", "wan22"])
def test_a_bounded_stream_takes_the_latent_in_the_decoders_own_chunks(spec: VaeSpec, calls: list[int]) -> None:
    vae, latent = tiny(spec), latent_of(spec, 6)
    frames = list(stream_frames(vae, latent, spec, HOST_PLAN, device=CPU, dtype=torch.float64, bounded=True))
    assert vae.conv2_calls == vae.decoder.calls == calls
    torch.testing.assert_close(torch.cat(frames), whole_clip(vae, latent, spec), rtol=0, atol=1e-12)
