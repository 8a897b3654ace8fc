from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest

from tests.unit.vae.tiny_wan import WAN21, WAN22, Shapes, wan21_shapes, wan22_shapes
from wan_core.errors import InputError
from wan_core.vae.params import Stage, detect_vae

DIFFUSERS = "a VAE with the weight names of diffusers, which ComfyUI does not read as a Wan VAE"


def blocks(*channels: int) -> tuple[tuple[int, int], ...]:
    """Residual blocks that lead from each number of channels to the next."""
    return tuple(pairwise(channels))


def without(shapes: Shapes, name: str) -> Shapes:
    return {key: shape for key, shape in shapes.items() if key != name}


@pytest.mark.parametrize(("z", "dim", "channels"), list(product((4, 16), (8, 24, 96), (3, 4))))
def test_the_wan21_layout_is_known_at_any_width(z: int, dim: int, channels: int) -> None:
    found = detect_vae(wan21_shapes(z=z, dim=dim, channels=channels))
    assert replace(found, middle=WAN21.middle, stages=()) == replace(WAN21, latent_channels=z, image_channels=channels)
    assert found.middle == Stage(scale=1, frames=1, blocks=blocks(4 * dim, 4 * dim, 4 * dim))
    assert found.stages == (
        Stage(1, 1, blocks(4 * dim, 4 * dim, 4 * dim, 4 * dim), upsampled=2 * dim, doubles_time=True),
        Stage(2, 2, blocks(2 * dim, 4 * dim, 4 * dim, 4 * dim), upsampled=2 * dim, doubles_time=True),
        Stage(4, 4, blocks(2 * dim, 2 * dim, 2 * dim, 2 * dim), upsampled=dim),
        Stage(8, 4, blocks(dim, dim, dim, dim)),
    )


@pytest.mark.parametrize(("z", "dim", "channels"), list(product((4, 48), (8, 256), (3, 4))))
def test_the_wan22_layout_is_known_at_any_width(z: int, dim: int, channels: int) -> None:
    found = detect_vae(wan22_shapes(z=z, dim=dim, channels=channels))
    assert replace(found, middle=WAN22.middle, stages=()) == replace(WAN22, latent_channels=z, image_channels=channels)
    assert found.middle == Stage(scale=1, frames=1, blocks=blocks(4 * dim, 4 * dim, 4 * dim))
    assert found.stages == (
        Stage(1, 1, blocks(4 * dim, 4 * dim, 4 * dim, 4 * dim), upsampled=4 * dim, doubles_time=True),
        Stage(2, 2, blocks(4 * dim, 4 * dim, 4 * dim, 4 * dim), upsampled=4 * dim, doubles_time=True),
        Stage(4, 4, blocks(4 * dim, 2 * dim, 2 * dim, 2 * dim), upsampled=2 * dim),
        Stage(8, 4, blocks(2 * dim, dim, dim, dim)),
    )


@pytest.mark.parametrize("shapes", [wan21_shapes(), wan22_shapes()], ids=["wan21", "wan22"])
def test_the_order_of_the_weights_does_not_matter(shapes: Shapes) -> None:
    """A file sorts its weights by name, which puts module 10 before module 2."""
    assert detect_vae({name: shapes[name] for name in sorted(shapes)}) == detect_vae(shapes)


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({}, "a VAE without weights"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3)}, "a VAE that is not Wan's"),
        ({"decoder.up_blocks.0.resnets.0.norm1.gamma": (384,)}, DIFFUSERS),
        ({"decoder.mid_block.resnets.0.norm1.gamma": (384,)}, DIFFUSERS),
        ({"decoder.22.bias": (3,)}, "a tiny autoencoder for previews (taew or lighttae), whose decoder is another one"),
        (without(wan21_shapes(), "conv2.weight"), "a damaged Wan VAE: its conv2.weight is missing"),
        (without(wan22_shapes(), "decoder.head.2.weight"), "a damaged Wan VAE: its decoder.head.2.weight is missing"),
        (wan21_shapes() | {"conv2.weight": (16, 16)}, "a damaged Wan VAE: its conv2.weight is [16, 16]"),
        (
            wan21_shapes() | {"conv2.weight": (48, 48, 1, 1, 1)},
            "a Wan VAE with 48 channels in conv2 but 16 in decoder.conv1",
        ),
        (
            {name: shape for name, shape in wan22_shapes().items() if not name.startswith("decoder.upsamples.3.")},
            "a damaged Wan VAE: its decoder lacks residual blocks",
        ),
        (wan21_shapes(channels=12), "a Wan VAE whose decoder ends in 12 channels, which is neither RGB nor RGBA"),
        (
            wan22_shapes() | {"decoder.head.2.weight": (3, 256, 3, 3, 3)},
            "a Wan VAE whose decoder ends in 3 channels, which is neither RGB nor RGBA",
        ),
    ],
)
def test_what_is_not_a_wan_vae_is_refused_by_name(shapes: Shapes, found: str) -> None:
    with pytest.raises(InputError) as refusal:
        detect_vae(shapes)
    assert str(refusal.value) == (
        f"vae: found {found}; wanted a Wan2.1 VAE (16 latent channels) or a Wan2.2 VAE (48 latent channels). "
        "Load wan_2.1_vae.safetensors (for the 14B models) or wan2.2_vae.safetensors (for the 5B model) with Load VAE."
    )


@pytest.mark.parametrize(("latent_frames", "frames"), [(1, 1), (2, 5), (3, 9), (21, 81), (31, 121)])
def test_the_first_latent_frame_is_one_frame_and_each_later_one_four(latent_frames: int, frames: int) -> None:
    assert detect_vae(wan21_shapes()).frames(latent_frames) == frames


def test_the_image_shape_joins_the_clips_of_a_batch() -> None:
    assert detect_vae(wan21_shapes()).image_shape((2, 16, 3, 60, 104)) == (18, 480, 832, 3)
    assert detect_vae(wan22_shapes()).image_shape((1, 48, 31, 44, 80)) == (121, 704, 1280, 3)
