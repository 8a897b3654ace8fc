from __future__ import annotations

import pytest
import torch

from wan_core.errors import InputError
from wan_core.identity.images import as_rgb, square_crops


def picture(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_alpha_is_dropped_and_grey_is_repeated() -> None:
    rgba, grey = picture(2, 8, 9, 4), picture(2, 8, 9, 1)
    assert torch.equal(as_rgb(rgba), rgba[..., :3])
    assert torch.equal(as_rgb(grey), torch.cat((grey, grey, grey), dim=-1))


def test_the_input_is_left_alone_and_overshoot_is_clipped() -> None:
    image = picture(1, 4, 4, 3) * 1.08 - 0.04
    before = image.clone()
    assert torch.equal(as_rgb(image), before.clamp(0, 1))
    assert torch.equal(image, before)


BAD_IMAGES = {
    "found a tensor of shape (8, 9, 3); wanted images as batch": picture(8, 9, 3),
    "found an empty batch of shape (0, 8, 9, 3)": torch.empty(0, 8, 9, 3),
    "found an empty batch of shape (1, 0, 9, 3)": torch.empty(1, 0, 9, 3),
    "found 2 channels; wanted 1 (grey), 3 (RGB) or 4 (RGBA)": picture(1, 8, 9, 2),
    "found NaN or infinite pixels": torch.full((1, 8, 9, 3), float("nan")),
    "NaN or infinite": torch.full((1, 8, 9, 3), float("inf")),
    "found pixels from 0 to 255; wanted pixels from 0 to 1": torch.tensor([0.0, 255.0]).expand(1, 2, 1, 2).repeat(
        1, 1, 1, 2
    )[..., :3],
}


@pytest.mark.parametrize(("message", "images"), BAD_IMAGES.items())
def test_bad_images_are_named(message: str, images: torch.Tensor) -> None:
    with pytest.raises(InputError) as caught:
        as_rgb(images)
    assert str(caught.value).startswith("images: ")
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
