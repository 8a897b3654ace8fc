"""One frame at a time against the whole clip at once, on decoders with the host's names and depth."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import (
    BLOCKS_IN_STAGE,
    DOUBLES_TIME,
    WAN21,
    WAN22,
    CausalConv,
    Copies,
    TinyWan,
    Upsample,
    latent_of,
)
from wan_core.vae.blocks import FrameBox, add_copies_, run_middle, run_stages, stages_of
from wan_core.vae.cache import DecoderCache
from wan_core.vae.params import VaeParams

CPU = torch.device("cpu")
both_families = pytest.mark.parametrize("params", [WAN21, WAN22], ids=["wan21", "wan22"])


def decode_frame(vae: TinyWan, x: Tensor, cache: DecoderCache) -> Iterator[Tensor]:
    """The packed frames of one latent frame x (1 z 1 h w)."""
    box = FrameBox(run_middle(vae.decoder, x, cache))
    return run_stages(vae.decoder, stages_of(vae.decoder), box, cache)


def decode(vae: TinyWan, x: Tensor, cache: DecoderCache) -> Iterator[Tensor]:
    """The packed frames of a latent clip x (1 z t h w), one latent frame at a time."""
    for frame in x.split(1, dim=2):
        yield from decode_frame(vae, frame, cache)


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 6])
@both_families
def test_frame_by_frame_equals_the_clip_at_once(params: VaeParams, latent_frames: int) -> None:
    vae, x = TinyWan(params, width=2), latent_of(params, latent_frames)[None]
    frames = list(decode(vae, x, DecoderCache(CPU)))
    assert len(frames) == params.frames(latent_frames)
    torch.testing.assert_close(torch.cat(frames, dim=2), vae.decoder.whole(x), rtol=0, atol=1e-11)


def test_of_a_shortcut_whose_twins_differ_a_clip_begins_with_the_second() -> None:
    vae, x = TinyWan(WAN22, dim_mult=(16, 8, 2, 2, 1)), latent_of(WAN22, 3)[None]  # with Wan's own widths they agree
    frames = torch.cat(list(decode(vae, x, DecoderCache(CPU))), dim=2)
    torch.testing.assert_close(frames, vae.decoder.whole(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("park_at", range(4))
@both_families
def test_a_cache_may_move_between_latent_frames(params: VaeParams, park_at: int) -> None:
    vae, x, cache = TinyWan(params), latent_of(params, 4)[None], DecoderCache(CPU)
    frames = []
    for i, frame in enumerate(x.split(1, dim=2)):
        cache.move(parked=i == park_at)
        frames += decode_frame(vae, frame, cache)
    torch.testing.assert_close(torch.cat(frames, dim=2), vae.decoder.whole(x), rtol=0, atol=1e-11)


@both_families
def test_the_stages_are_cut_where_the_sides_double(params: VaeParams) -> None:
    stages = stages_of(TinyWan(params).decoder)
    assert [len(stage.blocks) for stage in stages] == [BLOCKS_IN_STAGE] * 4
    assert [isinstance(stage.upsample, Upsample) for stage in stages] == [True, True, True, False]
    assert tuple(hasattr(stage.upsample, "time_conv") for stage in stages[:3]) == DOUBLES_TIME
    has_shortcut = params.kind == "Wan2.2"
    assert [stage.shortcut is not None for stage in stages] == [has_shortcut] * 3 + [False]


@pytest.mark.parametrize(
    ("c_in", "c_out", "factor_t"), [(8, 8, 1), (8, 8, 2), (8, 4, 1), (8, 4, 2), (8, 2, 1), (8, 2, 2), (16, 2, 2)]
)
def test_the_copies_of_one_twin_are_those_of_the_whole_shortcut(c_in: int, c_out: int, factor_t: int) -> None:
    shortcut = Copies(c_in, c_out, factor_t)
    x = torch.randn(2, c_in, 3, 4, 5, dtype=torch.float64)
    wanted = shortcut.whole(x)  # b c f*factor_t-(factor_t-1) 2h 2w
    for i in range(3):
        for twin in range(factor_t):
            place = i * factor_t + twin - (factor_t - 1)
            if place >= 0:
                base = torch.randn(2, c_out, 8, 10, dtype=torch.float64)
                doubled = base.clone()
                add_copies_(doubled, x[:, :, i], shortcut, twin)
                assert torch.equal(doubled, base + wanted[:, :, place])


@both_families
def test_a_convolution_gets_its_three_frames_in_one_piece(params: VaeParams) -> None:
    vae = TinyWan(params)
    list(decode(vae, latent_of(params, 3)[None], DecoderCache(CPU)))
    for module in vae.decoder.modules():
        if isinstance(module, CausalConv) and module.kernel_size[0] == 3:
            assert module.calls[0] == (0, 1)
            assert set(module.calls[1:]) == {(3, 0)}


@both_families
def test_a_frame_is_finished_before_the_next_is_begun(params: VaeParams) -> None:
    vae = TinyWan(params)
    convs = [module for module in vae.decoder.modules() if isinstance(module, CausalConv)]
    last = [conv for conv in vae.decoder.upsamples.modules() if conv in set(convs)][-1]
    for done, _ in enumerate(decode(vae, latent_of(params, 4)[None], DecoderCache(CPU)), 1):
        assert len(last.calls) == len(vae.decoder.head[-1].calls) == done


@both_families
def test_the_input_of_the_stages_is_let_go_as_soon_as_nothing_needs_it(params: VaeParams) -> None:
    vae, cache = TinyWan(params), DecoderCache(CPU)
    is_free = []
    for frame in latent_of(params, 3)[None].split(1, dim=2):
        box = FrameBox(run_middle(vae.decoder, frame, cache))
        feature = weakref.ref(box.look())
        is_free.append([feature() is None for _ in run_stages(vae.decoder, stages_of(vae.decoder), box, cache)])
    shortcut_waits = params.kind == "Wan2.2"  # for the second twin, which becomes the last two frames
    assert is_free == [[True]] + [[not shortcut_waits, not shortcut_waits, True, True]] * 2


@both_families
def test_what_comes_in_is_not_written(params: VaeParams) -> None:
    vae, x = TinyWan(params), latent_of(params, 3)[None]
    before, features, cache = x.clone(), [], DecoderCache(CPU)
    for frame in x.split(1, dim=2):
        feature = run_middle(vae.decoder, frame, cache)
        features.append((feature, feature.clone()))
        list(run_stages(vae.decoder, stages_of(vae.decoder), FrameBox(feature), cache))
    assert torch.equal(x, before)
    assert all(torch.equal(feature, kept) for feature, kept in features)
