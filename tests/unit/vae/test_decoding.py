"""The door: what a script does, and what its callbacks are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import WAN21, WAN22, TinyWan, latent_of
from wan_core.errors import InputError
from wan_core.notes import Note
from wan_core.vae import DecodePlan, DecodeRequest, FreeMemory, LoadedVae, Tiling, decode, describe
from wan_core.vae.latent import NORMALISED
from wan_core.vae.methods import HOST_SCHEDULE
from wan_core.vae.params import VaeParams

both_families = pytest.mark.parametrize("params", [WAN21, WAN22], ids=["wan21", "wan22"])
AGAIN = Note("decoded_again_in_fp32", "frame 9 was not finite in fp16, so everything was decoded again in fp32")


def joined(pieces: Iterator[Tensor]) -> Tensor:
    return torch.cat(list(pieces))


@both_families
def test_the_frames_of_all_clips_come_in_order(params: VaeParams) -> None:
    vae, clips = TinyWan(params), [latent_of(params, 3), -latent_of(params, 3)]
    result = decode(DecodeRequest.of(vae, torch.stack(clips)), joined)
    torch.testing.assert_close(result.output, torch.cat([vae.whole(clip) for clip in clips]), rtol=0, atol=1e-11)
    assert (result.plan.method, result.notes) == (HOST_SCHEDULE, ())
    assert describe(result) == result.plan.why


@both_families
def test_the_plan_keeps_within_the_free_memory_and_the_tiling(params: VaeParams) -> None:
    vae, latent = TinyWan(params), latent_of(params, 2)
    request = DecodeRequest.of(vae, latent[None], tiling=Tiling(1, 2))
    asked: list[tuple[object, DecodePlan, torch.dtype]] = []

    @contextmanager
    def load(network: TinyWan, plan: DecodePlan, dtype: torch.dtype) -> Iterator[LoadedVae]:
        asked.append((network, plan, dtype))
        yield LoadedVae(network, torch.device("cpu"), dtype)

    result = decode(request, joined, memory=lambda: FreeMemory(2**30), load=load)
    assert asked == [(vae, result.plan, torch.float64)]
    assert (result.plan.method.rows, result.plan.method.columns) == (1, 2)
    torch.testing.assert_close(result.output, vae.whole(latent), rtol=0, atol=1e-10)
    with pytest.raises(InputError, match="samples: found .* the smallest plan needs"):
        decode(request, joined, memory=lambda: FreeMemory(2**20), load=load)


def test_a_latent_that_seems_normalised_is_noted_in_the_report() -> None:
    """Whether it is depends on the latent alone, so that no frame is taken."""
    latent = torch.randn(1, 3, 2, 48, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    result = decode(DecodeRequest.of(TinyWan(WAN21), latent), lambda pieces: None)
    assert result.notes == (NORMALISED,)
    assert describe(result) == f"{result.plan.why}\nnote: {NORMALISED.text}"


# Numbers that are too large


def overflowing(params: VaeParams) -> TinyWan:
    """A VAE whose frames are infinite from its third call on."""
    vae = TinyWan(params)

    def overflow(decoder: torch.nn.Module, args: object, pieces: list[Tensor]) -> list[Tensor]:
        return [piece * (torch.inf if len(decoder.calls) > 2 else 1) for piece in pieces]

    vae.decoder.register_forward_hook(overflow)
    return vae


def test_what_overflows_in_fp16_is_decoded_again_in_fp32_from_the_first_frame_on() -> None:
    vae, bad, latent, starts = TinyWan(WAN21), overflowing(WAN21), latent_of(WAN21, 6), []

    @contextmanager
    def load(network: TinyWan, plan: DecodePlan, dtype: torch.dtype) -> Iterator[LoadedVae]:
        yield LoadedVae(bad if dtype == torch.float16 else network, torch.device("cpu"), torch.float64)

    def consume(pieces: Iterator[Tensor]) -> Tensor:
        starts.append(next(pieces))
        return torch.cat([starts[-1], *pieces])

    result = decode(DecodeRequest.of(vae, latent[None], dtype=torch.float16), consume, load=load)
    torch.testing.assert_close(result.output, vae.whole(latent), rtol=0, atol=1e-11)
    assert len(starts) == 2
    assert result.notes == (AGAIN,)
    assert describe(result).splitlines()[1:] == [f"note: {AGAIN.text}"]


@pytest.mark.parametrize(("dtype", "frame"), [(torch.float64, 5), (torch.float16, 0)])
def test_frames_that_are_never_finite_are_an_error(dtype: torch.dtype, frame: int) -> None:
    """Counted through all clips; in fp16 by the second try, whose first call is the fourth."""
    bad = overflowing(WAN21)

    @contextmanager
    def load(network: TinyWan, plan: DecodePlan, dtype: torch.dtype) -> Iterator[LoadedVae]:
        yield LoadedVae(network, torch.device("cpu"), torch.float64)

    clips = torch.stack([latent_of(WAN21, 2), latent_of(WAN21, 2)])  # 5 frames each, in two calls
    with pytest.raises(InputError, match=rf"vae: found NaN or infinite pixels in frame {frame} .counted from 0."):
        decode(DecodeRequest.of(bad, clips, dtype=dtype), joined, load=load)


def test_a_network_is_cast_where_it_is_and_back() -> None:
    vae, latent = TinyWan(WAN21), latent_of(WAN21, 2)
    result = decode(DecodeRequest.of(vae, latent[None], dtype=torch.float32), joined)
    torch.testing.assert_close(result.output, vae.whole(latent).float(), rtol=0, atol=1e-4)
    assert {weight.dtype for weight in vae.parameters()} == {torch.float64}


def test_a_decode_that_is_stopped_closes_its_stream() -> None:
    taken: list[Iterator[Tensor]] = []

    def stop(pieces: Iterator[Tensor]) -> None:
        taken.append(pieces)
        next(pieces)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode(DecodeRequest.of(TinyWan(WAN21), latent_of(WAN21, 3)[None]), stop)
    assert next(taken[0], None) is None
