from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.vae.tiny_wan import WAN21 as TINY21
from tests.unit.vae.tiny_wan import WAN22 as TINY22
from tests.unit.vae.tiny_wan import Shapes, wan21_shapes, wan22_shapes
from wan_core.errors import InputError
from wan_core.vae.latent import GIB, NORMALISED, notes_on, require_image_fits, video_latent
from wan_core.vae.params import VaeParams
from wan_core.vae.plan import AUTO, Tiling
from wan_core.vae.request import DecodeRequest, tiling_of

WAN21, WAN22 = replace(TINY21, latent_channels=16), replace(TINY22, latent_channels=48)
Z16, Z48 = torch.zeros(1, 16, 2, 4, 4), torch.zeros(1, 48, 2, 4, 4)


class Nested:
    """A nested latent as the host makes it: video first, audio second."""

    is_nested = True

    def __init__(self, *parts: Tensor) -> None:
        self.parts = list(parts)

    def unbind(self) -> list[Tensor]:
        return self.parts


class Named:
    """A network of which only the shapes of its weights are known."""

    conv2 = decoder = None

    def __init__(self, shapes: Shapes) -> None:
        self.weights = {name: torch.empty(shape, dtype=torch.bfloat16, device="meta") for name, shape in shapes.items()}

    def named_parameters(self) -> Any:
        return self.weights.items()


def broken_at(*where: Any, value: float) -> Tensor:
    latent = torch.zeros(2, 16, 5, 3, 3)
    latent[where] = value
    return latent


# The latent


def test_the_video_in_a_latent_is_taken_as_it_is() -> None:
    video, picture = torch.randn(2, 16, 3, 4, 5), torch.randn(2, 48, 4, 5)
    assert video_latent(video, WAN21) is video
    assert video_latent(Nested(video, torch.randn(1, 8, 100)), WAN21) is video
    assert torch.equal(video_latent(picture, WAN22), picture[:, :, None])


@pytest.mark.parametrize(
    ("latent", "params", "message"),
    [
        (
            torch.zeros(1, 16, 9),
            WAN21,
            "a latent of shape [1, 16, 9]; wanted [batch, channels, frames, height, width] (video) or "
            "[batch, channels, height, width] (image). Connect the LATENT",
        ),
        (Z16, WAN22, "a latent with 16 channels; wanted 48 channels, because the VAE is a Wan2.2 VAE. Use the Wan2.1"),
        (Z48, WAN21, "a latent with 48 channels; wanted 16 channels, because the VAE is a Wan2.1 VAE. Use the Wan2.1"),
        (torch.zeros(1, 4, 8, 8), WAN21, "a latent with 4 channels; wanted 16 channels"),
        (Nested(), WAN21, "a nested latent without a part; wanted one of a video"),
        *(
            (
                torch.zeros(shape),
                WAN21,
                f"an empty latent of shape {list(shape)}; wanted at least one clip, one latent frame and one latent "
                "pixel each way. Raise the length",
            )
            for shape in ((0, 16, 2, 4, 4), (1, 16, 0, 4, 4), (1, 16, 2, 0, 4), (1, 16, 2, 4, 0))
        ),
        *(
            (latent, WAN21, f"NaN or Inf in latent {place} (both counted from 0); wanted finite numbers only. Sample")
            for latent, place in (
                (broken_at(0, 7, 0, 0, 0, value=float("nan")), "frame 0 of clip 0"),
                (broken_at(1, 3, 2, 1, 2, value=float("inf")), "frame 2 of clip 1"),
                (broken_at(1, 3, slice(3, 5), 1, 2, value=-float("inf")), "frame 3 of clip 1"),
            )
        ),
    ],
)
def test_a_latent_that_cannot_be_decoded_is_refused_by_name(latent: Tensor, params: VaeParams, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        video_latent(latent, params)
    assert str(refusal.value).startswith(f"samples: found {message}")


@pytest.mark.parametrize(("spread", "frames", "notes"), [(1.0, 5, [NORMALISED]), (2.0, 5, []), (1.0, 1, [])])
def test_a_latent_that_seems_to_be_normalised_is_noted(spread: float, frames: int, notes: list[object]) -> None:
    """A latent of a sampler spreads by what its channel spreads; a small one says nothing."""
    latent = spread * torch.randn(1, 16, frames, 32, 32, generator=torch.Generator().manual_seed(3))
    assert notes_on(latent) == notes
    latent[:, 3] *= 1.5
    assert notes_on(latent) == []


def test_an_image_one_byte_too_large_is_refused_with_both_sizes() -> None:
    shape, nbytes = (961, 720, 1280, 3), 961 * 720 * 1280 * 3 * 4
    require_image_fits(shape, item_bytes=4, free_bytes=nbytes)
    with pytest.raises(InputError) as refusal:
        require_image_fits(shape, item_bytes=4, free_bytes=nbytes - 1)
    assert str(refusal.value) == (
        "samples: found 961 frames of 1280 x 720 pixels, an IMAGE of 9.9 GiB; wanted at most the "
        f"{nbytes / GIB:.1f} GiB of memory that are free. Use WanCast Decode To Video, which writes a file instead, or "
        "decode fewer frames."
    )


# The request


@pytest.mark.parametrize("to_video", [False, True])
@pytest.mark.parametrize(
    ("shapes", "latent", "image"), [(wan21_shapes(), Z16, (5, 32, 32, 3)), (wan22_shapes(), Z48, (5, 64, 64, 3))]
)
def test_a_request_knows_its_network(shapes: Shapes, latent: Tensor, image: tuple[int, ...], to_video: bool) -> None:
    network = Named(shapes)
    request = DecodeRequest.of(network, latent, tiling=Tiling(2, 1), to_video=to_video)
    assert request.network is network
    assert request.latent is latent
    assert (request.image_shape, request.dtype) == (image, torch.bfloat16)
    assert (request.tiling, request.bounded) == (Tiling(2, 1), to_video)
    assert DecodeRequest.of(network, latent, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize(
    ("shapes", "latent", "message"),
    [
        ({}, Z16, "vae: found a VAE without weights; wanted a Wan2.1 VAE"),
        (
            wan21_shapes(channels=4),
            Z16,
            "vae: found a VAE with an alpha channel; wanted one of three colours, because the video has no alpha. "
            "Decode with High Compression VAE Decode",
        ),
        (
            wan21_shapes(),
            Z16.repeat(2, 1, 1, 1, 1),
            "samples: found a batch of 2 clips; wanted one clip, because a video file holds one. Pick one with",
        ),
    ],
)
def test_what_is_no_video_is_refused(shapes: Shapes, latent: Tensor, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        DecodeRequest.of(Named(shapes), latent, to_video=True)
    assert str(refusal.value).startswith(message)
    if shapes:
        assert len(DecodeRequest.of(Named(shapes), latent).latent) == len(latent)


@pytest.mark.parametrize(
    ("choice", "tiling"),
    [
        (None, AUTO),
        ({"tiling": "auto"}, AUTO),
        ({"tiling": "whole frame"}, Tiling(1, 1)),
        ({"tiling": "tiles", "rows": 3, "columns": 2}, Tiling(rows=3, columns=2)),
    ],
)
def test_every_choice_of_the_node_is_a_tiling(choice: object, tiling: Tiling) -> None:
    assert tiling_of(choice) == tiling


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ("half\u200b", r"'half\u200b'"),
        ({"tiling": "half", "a": "/secret"}, "'half'"),
        ({"tiling": "tiles"}, "'tiles'"),
        ({"tiling": "tiles", "rows": 0, "columns": 2}, "'tiles'"),
    ],
)
def test_another_choice_is_refused(choice: object, found: str) -> None:
    with pytest.raises(InputError) as refusal:
        tiling_of(choice)
    wanted = "wanted auto, whole frame, or tiles with rows and columns. Pick one in the node."
    assert str(refusal.value) == f"tiling: found {found}; {wanted}"
