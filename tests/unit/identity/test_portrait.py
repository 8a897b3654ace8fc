from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.unit.identity.some_inputs import noise
from wan_core.identity.portrait import area_resize, cut_portrait, pad_to_square, portrait_window


def slow_area(image: Tensor, side: int) -> Tensor:
    """The mean of what each new pixel covers, pixel by pixel."""
    scale, out = len(image) / side, torch.zeros(side, side, 3)
    for row in range(side):
        for column in range(side):
            total = 0.0
            for y in range(math.floor(row * scale), min(math.ceil((row + 1) * scale), len(image))):
                for x in range(math.floor(column * scale), min(math.ceil((column + 1) * scale), len(image))):
                    down = min((row + 1) * scale, y + 1) - max(row * scale, y)
                    across = min((column + 1) * scale, x + 1) - max(column * scale, x)
                    out[row, column] += down * across * image[y, x]
                    total += down * across
            out[row, column] /= total
    return out


@pytest.mark.parametrize(("size", "side"), [(10, 5), (11, 4), (7, 6), (9, 9)])
def test_shrinking_takes_the_mean_of_what_each_pixel_covers(size: int, side: int) -> None:
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


def test_a_box_beside_the_picture_takes_it_whole() -> None:
    for box in ((600, 9, 700, 92), (50, 50, 50, 50), (9, -90, 50, -60)):
        assert portrait_window(box, 400, 500) == (0, 0, 400, 500)


def test_the_portrait_is_the_window_in_a_white_square_at_512_px() -> None:
    image = noise(300, 200, 3, seed=3)
    # box 60 x 80 at (150, 110): half is 60, so x from 120 to 200 (cut off) and y from 90 to 210
    portrait = cut_portrait(image, (150.0, 110.0, 210.0, 190.0))
    assert portrait.shape == (512, 512, 3)
    square = torch.ones(120, 120, 3)
    square[:, 20:100] = image[90:210, 120:200]
    torch.testing.assert_close(portrait, area_resize(square, 512).clamp(0, 1))


def test_without_a_face_the_whole_picture_is_taken() -> None:
    image = noise(40, 100, 3)
    torch.testing.assert_close(cut_portrait(image, None), area_resize(pad_to_square(image), 512).clamp(0, 1))
