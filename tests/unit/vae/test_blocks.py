"""One frame at a time against the whole clip at once, on decoders with the host's names and depth."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import (
    BLOCKS_IN_STAGE,
    RISES_IN_TIME,
    WAN21,
    WAN22,
    CausalConv,
    Copies,
    Rise,
    TinyWan,
    latent_of,
)
from wan_core.vae.blocks import add_copies_, stages_of, through_middle, through_stages
from wan_core.vae.cache import DecoderCache
from wan_core.vae.spec import VaeSpec

CPU = torch.device("cpu")
both_families = pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])


def decode(vae: TinyWan, x: Tensor, cache: DecoderCache) -> Iterator[Tensor]:
    """The packed frames of a latent clip x (1 z t h w), one latent frame at a time."""
    stages = stages_of(vae.decoder)
    for frame in x.split(1, dim=2):
        yield from through_stages(vae.decoder, stages, [through_middle(vae.decoder, frame, cache)], cache)


@pytest.mark.parametrize("latent_frames", [1, 2, 3, 6])
@both_families
def test_frame_by_frame_equals_the_clip_at_once(spec: VaeSpec, latent_frames: int) -> None:
    vae, x = TinyWan(spec, width=2), latent_of(spec, latent_frames)[None]
    frames = list(decode(vae, x, DecoderCache(CPU)))
    assert len(frames) == spec.frames(latent_frames)
    torch.testing.assert_close(torch.cat(frames, dim=2), vae.decoder.whole(x), rtol=0, atol=1e-11)


def test_of_a_shortcut_whose_twins_differ_a_clip_begins_with_the_second() -> None:
    vae, x = TinyWan(WAN22, dim_mult=(16, 8, 2, 2, 1)), latent_of(WAN22, 3)[None]  # with Wan's own widths they agree
    frames = torch.cat(list(decode(vae, x, DecoderCache(CPU))), dim=2)
    torch.testing.assert_close(frames, vae.decoder.whole(x), rtol=0, atol=1e-11)


@pytest.mark.parametrize("park_at", range(4))
@both_families
def test_a_cache_may_move_between_latent_frames(spec: VaeSpec, park_at: int) -> None:
    vae, x, cache = TinyWan(spec), latent_of(spec, 4)[None], DecoderCache(CPU)
    frames = []
    for i, frame in enumerate(x.split(1, dim=2)):
        (cache.park if i == park_at else cache.fetch)()
        held = [through_middle(vae.decoder, frame, cache)]
        frames += through_stages(vae.decoder, stages_of(vae.decoder), held, cache)
    torch.testing.assert_close(torch.cat(frames, dim=2), vae.decoder.whole(x), rtol=0, atol=1e-11)


@both_families
def test_the_stages_are_cut_where_the_sides_double(spec: VaeSpec) -> None:
    stages = stages_of(TinyWan(spec).decoder)
    assert [len(stage.blocks) for stage in stages] == [BLOCKS_IN_STAGE] * 4
    assert [isinstance(stage.rise, Rise) for stage in stages] == [True, True, True, False]
    assert tuple(hasattr(stage.rise, "time_conv") for stage in stages[:3]) == RISES_IN_TIME
    has_shortcut = spec.kind == "Wan2.2"
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
                grown = base.clone()
                add_copies_(grown, x[:, :, i], shortcut, twin)
                assert torch.equal(grown, base + wanted[:, :, place])


@both_families
def test_a_convolution_gets_its_three_frames_in_one_piece(spec: VaeSpec) -> None:
    vae = TinyWan(spec)
    list(decode(vae, latent_of(spec, 3)[None], DecoderCache(CPU)))
    for module in vae.decoder.modules():
        if isinstance(module, CausalConv) and module.kernel_size[0] == 3:
            assert module.calls[0] == (0, 1)
            assert set(module.calls[1:]) == {(3, 0)}


@both_families
def test_a_frame_is_finished_before_the_next_is_begun(spec: VaeSpec) -> None:
    vae = TinyWan(spec)
    convs = [module for module in vae.decoder.modules() if isinstance(module, CausalConv)]
    last = [conv for conv in vae.decoder.upsamples.modules() if conv in set(convs)][-1]
    for done, _ in enumerate(decode(vae, latent_of(spec, 4)[None], DecoderCache(CPU)), 1):
        assert len(last.calls) == len(vae.decoder.head[-1].calls) == done


@both_families
def test_the_input_of_the_stages_is_let_go_as_soon_as_nothing_needs_it(spec: VaeSpec) -> None:
    vae, cache = TinyWan(spec), DecoderCache(CPU)
    is_free = []
    for frame in latent_of(spec, 3)[None].split(1, dim=2):
        held = [through_middle(vae.decoder, frame, cache)]
        feature = weakref.ref(held[0])
        is_free.append([feature() is None for _ in through_stages(vae.decoder, stages_of(vae.decoder), held, cache)])
    shortcut_waits = spec.kind == "Wan2.2"  # for the second twin, which becomes the last two frames
    assert is_free == [[True]] + [[not shortcut_waits, not shortcut_waits, True, True]] * 2


@both_families
def test_what_comes_in_is_not_written(spec: VaeSpec) -> None:
    vae, x = TinyWan(spec), latent_of(spec, 3)[None]
    before, features, cache = x.clone(), [], DecoderCache(CPU)
    for frame in x.split(1, dim=2):
        feature = through_middle(vae.decoder, frame, cache)
        features.append((feature, feature.clone()))
        list(through_stages(vae.decoder, stages_of(vae.decoder), [feature], cache))
    assert torch.equal(x, before)
    assert all(torch.equal(feature, kept) for feature, kept in features)


@both_families
def test_the_cache_is_full_from_the_second_latent_frame_on(spec: VaeSpec) -> None:
    vae, cache, sizes = TinyWan(spec), DecoderCache(CPU), []
    x = latent_of(spec, 6)[None]
    for frame in x.split(1, dim=2):
        list(decode_one(vae, frame, cache))
        sizes.append(cache.nbytes)
    assert sizes[0] < sizes[1]
    assert len(set(sizes[1:])) == 1


def decode_one(vae: TinyWan, frame: Tensor, cache: DecoderCache) -> Iterator[Tensor]:
    held = [through_middle(vae.decoder, frame, cache)]
    return through_stages(vae.decoder, stages_of(vae.decoder), held, cache)
