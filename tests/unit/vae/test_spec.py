from __future__ import annotations

from itertools import product

import pytest

from wan_core.errors import InputError
from wan_core.vae.spec import VaeSpec, detect_vae

Shapes = dict[str, tuple[int, ...]]


def wan21_shapes(*, z: int = 16, dim: int = 96, head: int = 3) -> Shapes:
    """The weights that tell a Wan2.1 VAE of this width, and some that must not mislead."""
    return {
        "encoder.conv1.weight": (dim, 3, 3, 3, 3),
        "encoder.downsamples.5.resample.1.weight": (dim, dim, 3, 3),
        "encoder.downsamples.5.time_conv.weight": (dim, dim, 3, 1, 1),
        "conv2.weight": (z, z, 1, 1, 1),
        "conv2.bias": (z,),
        "decoder.conv1.weight": (4 * dim, z, 3, 3, 3),
        "decoder.middle.0.residual.0.gamma": (4 * dim, 1, 1, 1),
        "decoder.upsamples.3.resample.1.weight": (2 * dim, 4 * dim, 3, 3),
        "decoder.upsamples.3.time_conv.weight": (8 * dim, 4 * dim, 3, 1, 1),
        "decoder.upsamples.7.resample.1.weight": (2 * dim, 4 * dim, 3, 3),
        "decoder.upsamples.7.time_conv.weight": (8 * dim, 4 * dim, 3, 1, 1),
        "decoder.upsamples.11.resample.1.weight": (dim, 2 * dim, 3, 3),
        "decoder.head.0.gamma": (dim, 1, 1, 1),
        "decoder.head.2.weight": (head, dim, 3, 3, 3),
    }


def wan22_shapes(*, z: int = 48, dim: int = 256, head: int = 12) -> Shapes:
    """The weights that tell a Wan2.2 VAE of this width."""
    return {
        "conv2.weight": (z, z, 1, 1, 1),
        "decoder.conv1.weight": (4 * dim, z, 3, 3, 3),
        "decoder.middle.0.residual.0.gamma": (4 * dim, 1, 1, 1),
        "decoder.upsamples.0.upsamples.0.residual.2.weight": (4 * dim, 4 * dim, 3, 3, 3),
        "decoder.upsamples.0.upsamples.3.resample.1.weight": (4 * dim, 4 * dim, 3, 3),
        "decoder.upsamples.0.upsamples.3.time_conv.weight": (8 * dim, 4 * dim, 3, 1, 1),
        "decoder.upsamples.1.upsamples.3.resample.1.weight": (4 * dim, 4 * dim, 3, 3),
        "decoder.upsamples.1.upsamples.3.time_conv.weight": (8 * dim, 4 * dim, 3, 1, 1),
        "decoder.upsamples.2.upsamples.3.resample.1.weight": (2 * dim, 2 * dim, 3, 3),
        "decoder.head.2.weight": (head, dim, 3, 3, 3),
    }


def without(shapes: Shapes, name: str) -> Shapes:
    return {key: shape for key, shape in shapes.items() if key != name}


@pytest.mark.parametrize(("z", "dim", "channels"), list(product((4, 16), (8, 24, 96), (3, 4))))
def test_the_wan21_layout_is_known_at_any_width(z: int, dim: int, channels: int) -> None:
    assert detect_vae(wan21_shapes(z=z, dim=dim, head=channels)) == VaeSpec(
        kind="Wan2.1", latent_channels=z, image_channels=channels, spatial_scale=8, temporal_scale=4, patch=1,
        chunk_latents=2, cache_slots=4,
    )


@pytest.mark.parametrize(("z", "dim", "channels"), list(product((4, 48), (8, 256), (3, 4))))
def test_the_wan22_layout_is_known_at_any_width(z: int, dim: int, channels: int) -> None:
    assert detect_vae(wan22_shapes(z=z, dim=dim, head=4 * channels)) == VaeSpec(
        kind="Wan2.2", latent_channels=z, image_channels=channels, spatial_scale=16, temporal_scale=4, patch=2,
        chunk_latents=1, cache_slots=5,
    )


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({}, "vae: found a VAE without weights; wanted a Wan2.1 VAE"),
        ({"decoder.up_blocks.0.resnets.0.norm1.weight": (512,)}, "vae: found a VAE that is not Wan's; wanted a Wan"),
        ({"decoder.22.bias": (3,)}, "vae: found a VAE that is not Wan's; wanted"),
        (without(wan21_shapes(), "conv2.weight"), "a damaged Wan VAE: its conv2.weight is missing;"),
        (without(wan22_shapes(), "decoder.head.2.weight"), "a damaged Wan VAE: its decoder.head.2.weight is missing;"),
        (wan21_shapes() | {"conv2.weight": (16, 16)}, "a damaged Wan VAE: its conv2.weight is [16, 16];"),
        (wan21_shapes() | {"conv2.weight": (48, 48, 1, 1, 1)}, "48 channels in conv2 but 16 in decoder.conv1;"),
        (wan21_shapes(head=12), "a Wan VAE whose decoder ends in 12 channels, which is neither RGB nor RGBA;"),
        (wan22_shapes(head=3), "a Wan VAE whose decoder ends in 3 channels, which is neither RGB nor RGBA;"),
    ],
)
def test_what_is_not_a_wan_vae_is_refused_by_name(shapes: Shapes, found: str) -> None:
    with pytest.raises(InputError) as refusal:
        detect_vae(shapes)
    assert found in str(refusal.value)
    assert str(refusal.value).endswith("with Load VAE.")


@pytest.mark.parametrize(("latent_frames", "frames"), [(1, 1), (2, 5), (3, 9), (21, 81), (31, 121)])
def test_the_first_latent_frame_is_one_frame_and_each_later_one_four(latent_frames: int, frames: int) -> None:
    assert detect_vae(wan21_shapes()).frames(latent_frames) == frames


def test_the_image_shape_joins_the_clips_of_a_batch() -> None:
    assert detect_vae(wan21_shapes()).image_shape((2, 16, 3, 60, 104)) == (18, 480, 832, 3)
    assert detect_vae(wan22_shapes()).image_shape((1, 48, 31, 44, 80)) == (121, 704, 1280, 3)
