from __future__ import annotations

import pytest
import torch

from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity.images import read_pictures, sample_evenly, square_crops


def test_alpha_is_dropped_and_grey_is_repeated() -> None:
    rgba, grey = noise(2, 8, 9, 4), noise(2, 8, 9, 1)
    assert torch.equal(read_pictures(rgba).rgb, rgba[..., :3])
    assert torch.equal(read_pictures(grey).rgb, torch.cat((grey, grey, grey), dim=-1))
    assert read_pictures(grey).opacity is None


def test_alpha_and_mask_lay_a_picture_on_white() -> None:
    rgba, mask = noise(2, 8, 9, 4), noise(1, 8, 9)
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    torch.testing.assert_close(read_pictures(rgba).on_white(1), (rgb * alpha + 1 - alpha)[1])
    both = read_pictures(rgba, mask)
    opacity = alpha * mask[..., None]
    torch.testing.assert_close(both.on_white(0), (rgb * opacity + 1 - opacity)[0])
    assert torch.equal(both.rgb, rgb)
    assert torch.equal(read_pictures(rgb).on_white(0), rgb[0])


def test_a_mask_may_come_without_a_batch_or_one_for_each_picture() -> None:
    rgb, masks = noise(2, 8, 9, 3), noise(2, 8, 9)
    assert torch.equal(read_pictures(rgb, masks[0]).opacity, masks[:1].expand(2, -1, -1))
    assert torch.equal(read_pictures(rgb, masks).opacity, masks)


def test_the_input_is_left_alone_and_overshoot_is_clipped() -> None:
    image = noise(1, 4, 4, 3) * 1.08 - 0.04
    before = image.clone()
    assert torch.equal(read_pictures(image).rgb, before.clamp(0, 1))
    assert torch.equal(image, before)


def test_a_long_batch_is_sampled_evenly_from_the_first_to_the_last() -> None:
    assert (sample_evenly(1, 16), sample_evenly(16, 16)) == ((0,), tuple(range(16)))
    assert sample_evenly(151, 16) == tuple(range(0, 151, 10))
    for total in (17, 18, 100, 121, 1000):
        indices = sample_evenly(total, 16)
        steps = [later - earlier for earlier, later in zip(indices, indices[1:], strict=False)]
        assert (len(indices), indices[0], indices[-1]) == (16, 0, total - 1)
        assert max(steps) - 1 <= min(steps) >= 1


def test_the_sampled_pictures_keep_their_numbers_and_masks() -> None:
    images = torch.arange(31.0)[:, None, None, None].expand(31, 2, 2, 3) / 31
    pictures = read_pictures(images, images[..., 0])
    assert pictures.numbers == tuple(range(1, 32, 2))
    assert (pictures.total, len(pictures.rgb)) == (31, 16)
    assert torch.equal(pictures.rgb[3], images[6])
    assert torch.equal(pictures.opacity, images[::2, ..., 0])


CHANNELS = "1 (grey), 3 (RGB) or 4 (RGBA) channels"
FROM_0_TO_1 = "pixels from 0 to 1"


@pytest.mark.parametrize(
    ("images", "found", "wanted"),
    [
        (None, "NoneType", "an IMAGE"),
        ("text", "str", "an IMAGE"),
        (noise(8, 9, 3), "a tensor of shape (8, 9, 3)", "images as batch, height, width, channels"),
        (torch.empty(0, 8, 9, 3), "an empty batch of shape (0, 8, 9, 3)", "at least one image"),
        (torch.empty(1, 0, 9, 3), "an empty batch of shape (1, 0, 9, 3)", "at least one image"),
        (noise(1, 8, 9, 2), "2 channels", CHANNELS),
        (torch.full((1, 8, 9, 3), float("nan")), "NaN or infinite pixels", "finite pixels"),
        (torch.full((1, 8, 9, 4), float("inf")), "NaN or infinite pixels", "finite pixels"),
        (torch.linspace(0, 255, 6).view(1, 1, 2, 3), "pixels from 0 to 255", FROM_0_TO_1),
        (torch.linspace(-0.06, 1, 6).view(1, 1, 2, 3), "pixels from -0.06 to 1", FROM_0_TO_1),
        (torch.tensor([0, 9, 65535], dtype=torch.int32).view(1, 1, 1, 3), "pixels from 0 to 6.55e+04", FROM_0_TO_1),
    ],
)
def test_bad_images_are_named(images: object, found: str, wanted: str) -> None:
    with refused("images", found, wanted):
        read_pictures(images)


SAME_SIZE = "1 or 3 of 9 x 8 px, as the images"


@pytest.mark.parametrize(
    ("mask", "found", "wanted"),
    [
        ("text", "str", "a MASK"),
        (noise(1, 9, 8), "a mask of shape (1, 9, 8)", SAME_SIZE),
        (noise(2, 8, 9), "a mask of shape (2, 8, 9)", SAME_SIZE),
        (noise(1, 1, 8, 9), "a mask of shape (1, 1, 8, 9)", SAME_SIZE),
        (torch.full((1, 8, 9), float("nan")), "NaN or infinite values", "values from 0 to 1"),
    ],
)
def test_bad_masks_are_named(mask: object, found: str, wanted: str) -> None:
    with refused("foreground", found, wanted):
        read_pictures(noise(3, 8, 9, 3), mask)


def test_a_larger_crop_is_averaged_and_not_thinned_and_one_of_112_px_not_touched() -> None:
    stripes = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(112).expand(1, 448, 448)[..., None].repeat(1, 1, 1, 3)
    small = square_crops(stripes)
    assert small.shape == (1, 112, 112, 3)
    assert (small[:, :, 2:-2] - 0.5).abs().max() < 0.2  # thinning would give 1
    assert torch.equal(square_crops(small), small)


def test_a_crop_must_be_square_and_not_tiny() -> None:
    with refused("images", "20 x 10 px", "a square crop that is aligned to the ArcFace template"):
        square_crops(noise(1, 10, 20, 3))
    with refused("images", "a face of 16 px", "24 px or more, better 112"):
        square_crops(noise(1, 16, 16, 3))
