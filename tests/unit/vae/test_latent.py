from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wan_core.errors import InputError
from wan_core.vae.latent import GIB, check_image_fits, notes_on, samples_of, video_latent
from wan_core.vae.spec import VaeSpec

WAN21 = VaeSpec(
    kind="Wan2.1",
    latent_channels=16,
    image_channels=3,
    spatial_scale=8,
    temporal_scale=4,
    patch=1,
    chunk_latents=2,
    cache_slots=33,
)
WAN22 = VaeSpec(
    kind="Wan2.2",
    latent_channels=48,
    image_channels=3,
    spatial_scale=16,
    temporal_scale=4,
    patch=2,
    chunk_latents=1,
    cache_slots=34,
)

Z16 = torch.zeros(1, 16, 2, 4, 4)
Z48 = torch.zeros(1, 48, 2, 4, 4)


class Nested:
    """A nested latent as the host makes it: video first, audio second."""

    is_nested = True

    def __init__(self, *parts: Tensor) -> None:
        self.parts = list(parts)

    def unbind(self) -> list[Tensor]:
        return self.parts


def broken_at(*where: int, value: float) -> Tensor:
    latent = torch.zeros(2, 16, 5, 3, 3)
    latent[where] = value
    return latent


def test_a_video_latent_passes_unchanged() -> None:
    latent = torch.randn(2, 16, 3, 4, 5)
    assert video_latent(latent, WAN21) is latent


def test_an_image_latent_is_a_video_of_one_latent_frame() -> None:
    latent = torch.randn(2, 48, 4, 5)
    assert torch.equal(video_latent(latent, WAN22), latent[:, :, None])


def test_the_video_part_of_a_nested_latent_is_taken() -> None:
    video = torch.randn(1, 16, 3, 4, 5)
    assert video_latent(Nested(video, torch.randn(1, 8, 100)), WAN21) is video


@pytest.mark.parametrize(
    ("latent", "spec", "message"),
    [
        (torch.zeros(1, 16, 9), WAN21, "found a latent of shape [1, 16, 9]; wanted [batch, channels, frames,"),
        (Z16, WAN22, "found a latent with 16 channels; wanted 48 channels, because the VAE is a Wan2.2 VAE"),
        (Z48, WAN21, "found a latent with 48 channels; wanted 16 channels, because the VAE is a Wan2.1 VAE"),
        (torch.zeros(1, 4, 8, 8), WAN21, "found a latent with 4 channels; wanted 16 channels"),
        (torch.zeros(0, 16, 2, 4, 4), WAN21, "found an empty latent of shape [0, 16, 2, 4, 4]; wanted at least"),
        (torch.zeros(1, 16, 0, 4, 4), WAN21, "found an empty latent of shape [1, 16, 0, 4, 4]"),
        (torch.zeros(1, 16, 2, 0, 4), WAN21, "found an empty latent of shape [1, 16, 2, 0, 4]"),
        (torch.zeros(1, 16, 2, 4, 0), WAN21, "found an empty latent of shape [1, 16, 2, 4, 0]"),
        (broken_at(0, 7, 0, 0, 0, value=float("nan")), WAN21, "found NaN or Inf in latent frame 0 of clip 0 (both"),
        (broken_at(1, 3, 2, 1, 2, value=float("inf")), WAN21, "found NaN or Inf in latent frame 2 of clip 1 (both"),
        (broken_at(1, 3, slice(3, 5), 1, 2, value=-float("inf")), WAN21, "found NaN or Inf in latent frame 3 of clip"),
    ],
)
def test_a_latent_that_cannot_be_decoded_is_refused_by_name(latent: Tensor, spec: VaeSpec, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        video_latent(latent, spec)
    assert str(refusal.value).startswith(f"samples: {message}")


def test_an_image_that_just_fits_is_let_through() -> None:
    needed_bytes = 5 * 32 * 64 * 3 * 4
    assert check_image_fits((5, 32, 64, 3), item_bytes=4, free_bytes=needed_bytes) == needed_bytes


def test_an_image_one_byte_too_large_is_refused_with_both_sizes() -> None:
    nbytes = 961 * 720 * 1280 * 3 * 4
    with pytest.raises(InputError) as refusal:
        check_image_fits((961, 720, 1280, 3), item_bytes=4, free_bytes=nbytes - 1)
    assert "961 frames of 1280 x 720 pixels, an IMAGE of 9.9 GiB" in str(refusal.value)
    assert f"at most the {nbytes / GIB:.1f} GiB of memory that are free" in str(refusal.value)
    assert "Use WanCast Decode To Video" in str(refusal.value)


@pytest.mark.parametrize("samples", [Z16, Nested(Z16, torch.zeros(1, 8, 10))], ids=["tensor", "nested"])
def test_the_samples_of_a_latent_are_handed_on_as_they_are(samples: Tensor | Nested) -> None:
    assert samples_of({"samples": samples, "batch_index": [0]}) is samples


@pytest.mark.parametrize("latent", [None, "latent", {}, {"noise": Z16}, {"samples": None}])
def test_what_is_no_latent_is_refused(latent: object) -> None:
    with pytest.raises(InputError, match=f"samples: found {type(latent).__name__}; wanted a LATENT"):
        samples_of(latent)


@pytest.mark.parametrize(("spread", "frames", "noted"), [(1.0, 5, True), (2.0, 5, False), (1.0, 1, False)])
def test_a_latent_that_seems_to_be_normalised_is_noted(spread: float, frames: int, noted: bool) -> None:
    """A latent of a sampler spreads by what its channel spreads; a small one says nothing."""
    latent = spread * torch.randn(1, 16, frames, 32, 32, generator=torch.Generator().manual_seed(3))
    assert bool(notes_on(latent)) == noted
    latent[:, 3] *= 1.5
    assert notes_on(latent) == []
