"""Tiles against the whole picture: exact with the halo that the design says, and wrong with a smaller one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import WAN21, WAN22, TinyWan, latent_of
from wan_core.vae.blocks import run_middle, stages_of
from wan_core.vae.cache import DecoderCache
from wan_core.vae.methods import DecodeMethod
from wan_core.vae.params import VaeParams
from wan_core.vae.stream import stream_frames
from wan_core.vae.tiles import HALO_LATENTS, Tile, decode_tile, spans, tiles_of

CPU = torch.device("cpu")
both_families = pytest.mark.parametrize("params", [WAN21, WAN22], ids=["wan21", "wan22"])


def tiled(rows: int, columns: int, segment_latents: int, *, cache_in_ram: bool = True) -> DecodeMethod:
    return DecodeMethod(True, rows, columns, segment_latents, cache_in_ram)


def decode(vae: TinyWan, latent: Tensor, method: DecodeMethod) -> list[Tensor]:
    return list(stream_frames(vae, latent, vae.params, method, device=CPU, dtype=torch.float64))


def worst(frames: Tensor, wanted: Tensor) -> float:
    """The largest difference, in standard deviations of the wanted frames."""
    return ((frames - wanted).abs().max() / wanted.std()).item()


def with_halo(vae: TinyWan, latent: Tensor, halo: int) -> Tensor:
    """The frames in two columns with a halo of so many latent pixels."""
    cache, stages = DecoderCache(CPU), stages_of(vae.decoder)
    features = [run_middle(vae.decoder, vae.conv2(x), cache) for x in latent[None].split(1, dim=2)]
    frames = torch.zeros_like(vae.whole(latent))
    for tile in tiles_of(*latent.shape[2:], 1, 2, halo):
        decode_tile(vae.decoder, stages, features, tile, DecoderCache(CPU), vae.params, frames.split(1))
    return frames


@pytest.mark.parametrize("size", [1, 2, 5, 33, 90])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("halo", [0, 4, 13])
def test_the_parts_of_a_side_cover_it_once_with_a_halo_that_ends_at_the_picture(
    size: int, parts: int, halo: int
) -> None:
    cut = spans(size, parts, halo)
    assert [pixel for span in cut for pixel in range(span.start, span.stop)] == list(range(size))
    assert len(cut) == min(parts, size)
    assert max(s.stop - s.start for s in cut) - min(s.stop - s.start for s in cut) <= 1
    for span in cut:
        assert span.low == max(0, span.start - halo)
        assert span.high == min(size, span.stop + halo)
        whole, part = torch.arange(size * 4), torch.arange(span.low * 4, span.high * 4)
        assert torch.equal(part[span.wanted(4)], whole[span.place(4)])


def test_a_tile_cuts_its_rows_and_columns() -> None:
    frame = torch.arange(6 * 50).reshape(1, 1, 1, 6, 50)
    tile = tiles_of(6, 50, 2, 3)[4]  # row 1, column 1
    assert isinstance(tile, Tile)
    assert torch.equal(tile.cut(frame), frame[..., 0:6, 16 - 13 : 33 + 13])
    assert (tile.rows.start, tile.rows.stop, tile.columns.start, tile.columns.stop) == (3, 6, 16, 33)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns", "segment"),
    [(1, 29, 1, 2, 2), (29, 2, 2, 1, 1), (2, 41, 1, 3, 3), (3, 31, 3, 2, 8), (1, 33, 1, 5, 2), (2, 3, 4, 7, 1)],
)
@both_families
def test_tiles_give_the_frames_of_the_whole_picture(
    params: VaeParams, height: int, width: int, rows: int, columns: int, segment: int
) -> None:
    vae, latent = TinyWan(params), latent_of(params, 3, height, width)
    frames = torch.cat(decode(vae, latent, tiled(rows, columns, segment)))
    assert worst(frames, vae.whole(latent)) < 1e-10


@both_families
def test_a_halo_of_four_is_too_small_and_the_whole_one_is_not(params: VaeParams) -> None:
    vae, latent = TinyWan(params, width=2), latent_of(params, 3, 1, 30)
    wanted = vae.whole(latent)
    assert worst(with_halo(vae, latent, 4), wanted) > 1e-3
    assert worst(with_halo(vae, latent, HALO_LATENTS), wanted) < 1e-10


@both_families
def test_the_halo_is_no_larger_than_the_reach_of_the_stages(params: VaeParams) -> None:
    vae, cache = TinyWan(params), DecoderCache(CPU)
    feature = run_middle(vae.decoder, vae.conv2(latent_of(params, 1, 1, 40)[None]), cache)
    feature[..., 20] = float("nan")
    hit = vae.decoder.whole_stages(feature).isnan().any(dim=(0, 1, 2, 3)).nonzero().flatten()
    per_latent = params.spatial_scale // params.patch
    reach = max(20 * per_latent - hit.min().item(), hit.max().item() + 1 - 21 * per_latent) / per_latent
    assert HALO_LATENTS - 1 < reach <= HALO_LATENTS


@both_families
def test_every_segment_length_and_place_of_the_cache_give_the_same_bits(params: VaeParams) -> None:
    vae, latent = TinyWan(params), latent_of(params, 4, 1, 3)
    methods = [tiled(1, 2, k, cache_in_ram=in_ram) for k, in_ram in ((1, True), (3, True), (3, False), (9, True))]
    first, *others = (torch.cat(decode(vae, latent, method)) for method in methods)
    assert all(torch.equal(first, frames) for frames in others)


@both_families
def test_frames_that_are_kept_are_not_written_again(params: VaeParams) -> None:
    vae, latent = TinyWan(params), latent_of(params, 4, 1, 3)
    frames = stream_frames(vae, latent, params, tiled(1, 2, 1), device=CPU, dtype=torch.float64)
    kept = [(frame, frame.clone()) for frame in frames]
    assert all(frame.shape[0] == 1 and torch.equal(frame, copy) for frame, copy in kept)
