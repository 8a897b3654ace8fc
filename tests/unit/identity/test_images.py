from __future__ import annotations

import pytest
import torch

from wan_core.errors import InputError
from wan_core.identity.images import read_pictures, sample_evenly, square_crops


def picture(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_alpha_is_dropped_and_grey_is_repeated() -> None:
    rgba, grey = picture(2, 8, 9, 4), picture(2, 8, 9, 1)
    assert torch.equal(read_pictures(rgba).rgb, rgba[..., :3])
    assert torch.equal(read_pictures(grey).rgb, torch.cat((grey, grey, grey), dim=-1))
    assert read_pictures(grey).opacity is None


def test_alpha_and_mask_lay_a_picture_on_white() -> None:
    rgba, mask = picture(2, 8, 9, 4), picture(1, 8, 9)
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    torch.testing.assert_close(read_pictures(rgba).on_white(1), (rgb * alpha + 1 - alpha)[1])
    both = read_pictures(rgba, mask)
    opacity = alpha * mask[..., None]
    torch.testing.assert_close(both.on_white(0), (rgb * opacity + 1 - opacity)[0])
    assert torch.equal(both.rgb, rgb)
    assert torch.equal(read_pictures(rgb).on_white(0), rgb[0])


def test_a_mask_may_come_without_a_batch_or_one_for_each_picture() -> None:
    rgb, masks = picture(2, 8, 9, 3), picture(2, 8, 9)
    assert torch.equal(read_pictures(rgb, masks[0]).opacity, masks[:1].expand(2, -1, -1))
    assert torch.equal(read_pictures(rgb, masks).opacity, masks)


def test_the_input_is_left_alone_and_overshoot_is_clipped() -> None:
    image = picture(1, 4, 4, 3) * 1.08 - 0.04
    before = image.clone()
    assert torch.equal(read_pictures(image).rgb, before.clamp(0, 1))
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("total", "indices"),
    [(1, (0,)), (16, tuple(range(16))), (31, tuple(range(0, 31, 2))), (151, tuple(range(0, 151, 10)))],
)
def test_a_long_batch_is_sampled_evenly_from_the_first_to_the_last(total: int, indices: tuple[int, ...]) -> None:
    assert sample_evenly(total, 16) == indices


@pytest.mark.parametrize("total", [17, 18, 100, 121, 1000])
def test_no_picture_is_sampled_twice(total: int) -> None:
    indices = sample_evenly(total, 16)
    steps = [later - earlier for earlier, later in zip(indices, indices[1:], strict=False)]
    assert (len(indices), indices[0], indices[-1]) == (16, 0, total - 1)
    assert max(steps) - min(steps) <= 1
    assert min(steps) >= 1


def test_the_sampled_pictures_keep_their_numbers_and_masks() -> None:
    images = torch.arange(31.0)[:, None, None, None].expand(31, 2, 2, 3) / 31
    pictures = read_pictures(images, images[..., 0])
    assert pictures.numbers == tuple(range(1, 32, 2))
    assert (pictures.total, len(pictures.rgb)) == (31, 16)
    assert torch.equal(pictures.rgb[3], images[6])
    assert torch.equal(pictures.opacity, images[::2, ..., 0])


BAD_IMAGES = {
    "found str; wanted an IMAGE": "text",
    "found a tensor of shape (8, 9, 3); wanted images as batch": picture(8, 9, 3),
    "found an empty batch of shape (0, 8, 9, 3)": torch.empty(0, 8, 9, 3),
    "found an empty batch of shape (1, 0, 9, 3)": torch.empty(1, 0, 9, 3),
    "found 2 channels; wanted 1 (grey), 3 (RGB) or 4 (RGBA)": picture(1, 8, 9, 2),
    "found NaN or infinite pixels": torch.full((1, 8, 9, 3), float("nan")),
    "NaN or infinite": torch.full((1, 8, 9, 4), float("inf")),
    "found pixels from 0 to 255; wanted pixels from 0 to 1": torch.tensor([0.0, 255.0])
    .expand(1, 2, 1, 2)
    .repeat(1, 1, 1, 2)[..., :3],
    "found pixels from 0 to 6.55e+04; wanted pixels from 0 to 1": torch.tensor([0, 65535], dtype=torch.int32)
    .expand(1, 2, 1, 2)
    .repeat(1, 1, 1, 2)[..., :3],
}


@pytest.mark.parametrize(("message", "images"), BAD_IMAGES.items())
def test_bad_images_are_named(message: str, images: object) -> None:
    with pytest.raises(InputError) as caught:
        read_pictures(images)
    assert str(caught.value).startswith("images: ")
    assert message in str(caught.value)


BAD_MASKS = {
    "found str; wanted a MASK": "text",
    "found a mask of shape (1, 9, 8); wanted 1 or 3 of 9 x 8 px, as the images": picture(1, 9, 8),
    "found a mask of shape (2, 8, 9); wanted 1 or 3 of": picture(2, 8, 9),
    "found a mask of shape (1, 1, 8, 9); wanted 1 or 3 of": picture(1, 1, 8, 9),
    "found NaN or infinite values; wanted values from 0 to 1": torch.full((1, 8, 9), float("nan")),
}


@pytest.mark.parametrize(("message", "mask"), BAD_MASKS.items())
def test_bad_masks_are_named(message: str, mask: object) -> None:
    with pytest.raises(InputError) as caught:
        read_pictures(picture(3, 8, 9, 3), mask)
    assert str(caught.value).startswith("foreground: ")
    assert message in str(caught.value)


def test_a_crop_of_112_px_is_not_touched() -> None:
    crops = picture(2, 112, 112, 3)
    assert torch.equal(square_crops(crops), crops)


def test_a_larger_crop_is_averaged_and_not_thinned() -> None:
    middle_of_four = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(112)
    stripes = middle_of_four.expand(1, 448, 448)[..., None].repeat(1, 1, 1, 3)
    small = square_crops(stripes)
    assert small.shape == (1, 112, 112, 3)
    assert (small[:, :, 2:-2] - 0.5).abs().max() < 0.2  # thinning would give 1


def test_a_crop_must_be_square_and_not_tiny() -> None:
    with pytest.raises(InputError, match="images: found 20 x 10 px; wanted a square crop"):
        square_crops(picture(1, 10, 20, 3))
    with pytest.raises(InputError, match="images: found a face of 16 px; wanted 24 px or more"):
        square_crops(picture(1, 16, 16, 3))
