from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity import images
from wan_core.identity import portrait as portraits
from wan_core.identity.images import on_one_canvas, read_pictures, sample_evenly, square_crop
from wan_core.identity.portrait import area_resize, cut_portrait, pad_to_square, portrait_window


def test_alpha_and_mask_lay_a_picture_on_white_and_grey_is_repeated() -> None:
    rgba, mask, grey = noise(2, 8, 9, 4), noise(1, 8, 9), noise(2, 8, 9, 1)
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    torch.testing.assert_close(read_pictures(rgba).on_white(1), (rgb * alpha + 1 - alpha)[1])
    both, opacity = read_pictures(rgba, mask), alpha * mask[..., None]
    torch.testing.assert_close(both.on_white(0), (rgb * opacity + 1 - opacity)[0])
    assert torch.equal(torch.stack(both.rgb), rgb)
    assert torch.equal(torch.stack(read_pictures(grey).rgb), torch.cat((grey, grey, grey), dim=-1))
    assert torch.equal(read_pictures(grey).on_white(0), read_pictures(grey).rgb[0])


def test_a_mask_may_come_without_a_batch_or_one_for_each_picture() -> None:
    rgb, masks = noise(2, 8, 9, 3), noise(2, 8, 9)
    assert torch.equal(torch.stack(read_pictures(rgb, masks[0]).opacity), masks[:1].expand(2, -1, -1))
    assert torch.equal(torch.stack(read_pictures(rgb, masks).opacity), masks)


def test_a_list_of_pictures_of_any_size_is_one_batch_with_a_mask_for_each() -> None:
    large, pair, masks = noise(1, 8, 9, 4), noise(2, 5, 12, 3), [noise(1, 8, 9), noise(2, 5, 12)]
    pictures = read_pictures([large, pair], masks)
    assert (pictures.numbers, pictures.total) == ((1, 2, 3), 3)
    for found, wanted in zip(pictures.rgb, (large[0, ..., :3], *pair), strict=True):
        assert torch.equal(found, wanted)
    for found, wanted in zip(pictures.opacity, (large[0, ..., 3] * masks[0][0], *masks[1]), strict=True):
        assert torch.equal(found, wanted)
    assert [opacity is None for opacity in read_pictures([large, pair]).opacity] == [False, True, True]
    assert read_pictures([pair[:1]] * 40).numbers == read_pictures(pair[:1].expand(40, -1, -1, -1)).numbers
    from_host = read_pictures([large, pair], [masks[0], torch.ones(2, 64, 64)]).opacity  # of pictures without alpha
    assert [opacity is None for opacity in from_host] == [False, True, True]
    canvas = on_one_canvas(pictures.rgb)
    assert canvas.shape == (3, 8, 12, 3)
    assert torch.equal(canvas[0, :, :9], pictures.rgb[0]) and torch.equal(canvas[2, :5], pictures.rgb[2])
    assert canvas[0, :, 9:].abs().max() == canvas[2, 5:].abs().max() == 0


def test_a_canvas_that_would_be_far_larger_than_its_pictures_is_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """To twice the pixels of the pictures, which are in it all the same."""
    monkeypatch.setattr(images, "MOST_CANVAS_PX", 1)
    tall, wide = torch.ones(80, 20, 3), torch.ones(20, 80, 3)
    assert on_one_canvas([tall, tall]).shape == (2, 80, 20, 3)
    shrunk = on_one_canvas([tall, wide])  # 2 80 80 3 unshrunk, of 3200 px
    torch.testing.assert_close(shrunk.mean(dim=(1, 2, 3)), torch.full((2,), 0.25))
    assert shrunk.shape == (2, 56, 56, 3)


def test_the_input_is_left_alone_and_overshoot_is_clipped() -> None:
    image = noise(1, 4, 4, 3) * 1.08 - 0.04
    before = image.clone()
    assert torch.equal(read_pictures(image).rgb[0], before[0].clamp(0, 1))
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
    assert torch.equal(torch.stack(pictures.opacity), images[::2, ..., 0])


def test_bad_images_are_named() -> None:
    for given, found, wanted in (
        (None, "NoneType", "an IMAGE"),
        ("text", "str", "an IMAGE"),
        ([], "an empty list", "at least one image"),
        ([noise(1, 8, 9, 3), None], "NoneType", "an IMAGE"),
        (noise(8, 9, 3), "a tensor of shape (8, 9, 3)", "images as batch, height, width, channels"),
        (torch.empty(0, 8, 9, 3), "an empty batch of shape (0, 8, 9, 3)", "at least one image"),
        (torch.empty(1, 0, 9, 3), "an empty batch of shape (1, 0, 9, 3)", "at least one image"),
        (noise(1, 9, 1, 3), "1 x 9 px", "one side at most 8 times the other"),
        (noise(1, 8, 9, 2), "2 channels", "1 (grey), 3 (RGB) or 4 (RGBA) channels"),
        (torch.full((1, 8, 9, 3), float("nan")), "NaN or infinite pixels", "finite pixels"),
        (torch.full((1, 8, 9, 4), float("inf")), "NaN or infinite pixels", "finite pixels"),
        (torch.linspace(0, 255, 6).view(1, 1, 2, 3), "pixels from 0 to 255", "pixels from 0 to 1"),
        (torch.linspace(-0.06, 1, 6).view(1, 1, 2, 3), "pixels from -0.06 to 1", "pixels from 0 to 1"),
        (torch.tensor([[[[0, 9, 65535]]]]), "pixels from 0 to 6.55e+04", "pixels from 0 to 1"),
    ):
        with refused("images", found, wanted):
            read_pictures(given)


def test_bad_masks_are_named() -> None:
    for count, mask, found, wanted in (
        (3, noise(1, 9, 8), "a mask of 8 x 9 px for image 1", "9 x 8 px, as that image"),
        (2, [noise(1, 8, 9), noise(9, 8)], "a mask of 8 x 9 px for image 2", "9 x 8 px, as that image"),
        (3, noise(2, 8, 9), "2 masks for 3 images", "one mask, or 3, as the images"),
        (1, noise(2, 8, 9), "2 masks for 1 images", "one mask, as the images"),
        (3, noise(1, 1, 8, 9), "a mask of shape (1, 1, 8, 9)", "masks as batch, height, width"),
        (3, "text", "str", "a MASK"),
        (3, noise(1, 8, 9) / 0, "NaN or infinite values", "values from 0 to 1"),
    ):
        with refused("foreground", found, wanted):
            read_pictures(noise(count, 8, 9, 3), mask)


def test_a_larger_crop_is_averaged_and_not_thinned_and_one_of_112_px_not_touched() -> None:
    stripes = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(112).expand(448, 448)[..., None].repeat(1, 1, 3)
    small = square_crop(stripes)
    assert small.shape == (112, 112, 3)
    assert (small[:, 2:-2] - 0.5).abs().max() < 0.2  # thinning would give 1
    assert torch.equal(square_crop(small), small)


def test_a_crop_must_be_square_and_not_tiny() -> None:
    with refused("images", "20 x 10 px", "a square crop that is aligned to the ArcFace template"):
        square_crop(noise(10, 20, 3))
    with refused("images", "a face of 16 px", "24 px or more, better 112"):
        square_crop(noise(16, 16, 3))


# The portrait


def slow_area(image: Tensor, side: int) -> Tensor:
    """The mean of what each new pixel covers, pixel by pixel."""
    scale, out = len(image) / side, torch.zeros(side, side, 3)

    def covered(index: int) -> Tensor:
        return torch.tensor([min((index + 1) * scale, p + 1) - max(index * scale, p) for p in range(len(image))])

    for row in range(side):
        for column in range(side):
            areas = covered(row).clamp(min=0)[:, None] * covered(column).clamp(min=0)  # y x
            out[row, column] = (areas[..., None] * image).sum(dim=(0, 1)) / areas.sum()
    return out


def test_shrinking_takes_the_mean_of_what_each_pixel_covers() -> None:
    for size, side in ((10, 5), (11, 4), (7, 6), (9, 9)):
        image = noise(size, size, 3)
        torch.testing.assert_close(area_resize(image, side), slow_area(image, side), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [1, 3, 100, 113, 224, 511, 512, 513, 700, 1024, 1111])
def test_resizing_is_that_of_opencv(size: int) -> None:
    cv2 = pytest.importorskip("cv2")
    image = noise(size, size, 3)
    expected = torch.from_numpy(cv2.resize(image.numpy(), (512, 512), interpolation=cv2.INTER_AREA))
    torch.testing.assert_close(area_resize(image, 512), expected, atol=2e-4, rtol=0)


def test_a_picture_stands_in_the_middle_of_a_white_square() -> None:
    for height, width, left, top in ((4, 9, 0, 2), (9, 4, 2, 0), (5, 5, 0, 0), (1, 4, 0, 1), (6, 3, 1, 0)):
        image, side = noise(height, width, 3), max(height, width)
        expected = torch.ones(side, side, 3)
        expected[top : top + height, left : left + width] = image
        assert torch.equal(pad_to_square(image), expected)


def published_window(box: tuple[float, ...], w: int, h: int) -> tuple[int, int, int, int]:
    """Line by line as Stand-In's preprocessor does it."""
    x1, y1, x2, y2 = map(int, box)
    if x1 <= 10 and y1 <= 10 and x2 >= w - 10 and y2 >= h - 10:
        return 0, 0, w, h
    cx, cy = (x1 + x2) // 2, (y1 + y2) // 2
    side = int(max(x2 - x1, y2 - y1) * 1.5)
    half = side // 2
    return max(cx - half, 0), max(cy - half, 0), min(cx + half, w), min(cy + half, h)


def test_the_window_is_the_published_one() -> None:
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand(40, 2, generator=draw) * 300 - 20
    boxes = torch.cat((corners, corners + torch.rand(40, 2, generator=draw) * 250 + 30), dim=1).tolist()
    for box in (*boxes, (10, 9, 390, 492), (5, 100, 395, 200), (5, 5, 395, 300)):
        assert portrait_window(box, 400, 500) == published_window(box, 400, 500)
    for box in ((8, 10, 14, 14), (11, 10, 14, 14), (8, 10, 14, 13)):  # near the border means ten pixels
        assert portrait_window(box, 24, 24) == published_window(box, 24, 24)
    for box in ((600, 9, 700, 92), (50, 50, 50, 50), (9, -90, 50, -60)):  # beside the picture
        assert portrait_window(box, 400, 500) == (0, 0, 400, 500)


def test_the_portrait_is_the_window_or_the_whole_picture_in_a_white_square_at_512_px(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = noise(300, 200, 3, seed=3)
    # box 60 x 80 at (150, 110): half is 60, so x from 120 to 200 (cut off) and y from 90 to 210
    portrait = cut_portrait(image, (150.0, 110.0, 210.0, 190.0))
    square = torch.ones(120, 120, 3)
    square[:, 20:100] = image[90:210, 120:200]
    torch.testing.assert_close(portrait, area_resize(square, 512).clamp(0, 1))
    whole, sides = area_resize(pad_to_square(image), 512).clamp(0, 1), []
    torch.testing.assert_close(cut_portrait(image, None), whole)
    monkeypatch.setattr(portraits, "LARGEST_SQUARE_PX", 240)
    monkeypatch.setattr(portraits, "pad_to_square", lambda window: sides.append(window.shape) or pad_to_square(window))
    assert (cut_portrait(image, None) - whole).mean().abs() < 0.01
    assert sides == [(240, 160, 3)]
