from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity.align import (
    TEMPLATE,
    TEMPLATE_PX,
    Similarity,
    align_face,
    cut_reference,
    fit_similarity,
    warp,
)

UNMOVED = Similarity(1, 0)


def positions(to_image: Similarity, side_px: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y in the picture of every pixel of a crop."""
    y, x = torch.meshgrid(torch.arange(float(side_px)), torch.arange(float(side_px)), indexing="ij")
    slope, shift = to_image.slope, to_image.shift
    return slope.real * x - slope.imag * y + shift.real, slope.imag * x + slope.real * y + shift.imag


def pattern(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """A smooth picture that is known at every position."""
    red = 0.5 + 0.4 * torch.sin(x / 11) * torch.cos(y / 17)
    return torch.stack((red, 0.5 + 0.4 * torch.cos((x + y) / 23), 0.5 + 0.3 * torch.sin(y / 9)), dim=-1)


@pytest.mark.parametrize("seed", range(8))
def test_the_fit_is_the_least_squares_similarity(seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(0, 300, (2, 5))
    one, zero = np.ones(5), np.zeros(5)
    system = np.vstack((np.stack((x, -y, one, zero), 1), np.stack((y, x, zero, one), 1)))
    target = np.concatenate(([p.real for p in TEMPLATE], [p.imag for p in TEMPLATE]))
    a, b, shift_x, shift_y = np.linalg.lstsq(system, target, rcond=None)[0]
    fit = fit_similarity(tuple((x + 1j * y).tolist()), TEMPLATE)
    assert fit.slope == pytest.approx(complex(a, b), abs=1e-10)
    assert fit.shift == pytest.approx(complex(shift_x, shift_y), abs=1e-8)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 1.0), (20, 1.7), (-35, 2.4), (170, 1.2)])
def test_a_known_picture_comes_out_of_the_warp_where_the_template_puts_it(degrees: float, scale: float) -> None:
    to_image = Similarity(cmath.rect(scale, math.radians(degrees)), 0)
    to_image = Similarity(to_image.slope, complex(200, 200) - to_image(complex(56, 56)))
    face = align_face(pattern(*positions(UNMOVED, 400)), tuple(to_image(p) for p in TEMPLATE))
    assert face.crop.shape == (112, 112, 3)
    assert (face.crop - pattern(*positions(to_image, 112))).abs().max() < 5e-3  # what bilinear sampling leaves
    assert face.face_px == pytest.approx(112 * scale)


def test_the_warp_is_bilinear_with_a_border_of_zeros() -> None:
    image = noise(9, 7, 2)
    to_image = Similarity(complex(0.8, 0.3), complex(-1.5, 0.7))
    expected = torch.zeros(12, 12, 2)
    for row in range(12):
        for column in range(12):
            p = to_image(complex(column, row))
            left, top = math.floor(p.real), math.floor(p.imag)
            for x, y in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                if 0 <= x < 7 and 0 <= y < 9:
                    expected[row, column] += (1 - abs(p.real - x)) * (1 - abs(p.imag - y)) * image[y, x]
    torch.testing.assert_close(warp(image, to_image, 12), expected, atol=1e-5, rtol=0)
    for shape in ((1, 1, 3), (1, 5, 3), (3, 1, 3)):  # a picture of one pixel
        assert torch.isfinite(warp(torch.ones(shape), Similarity(0.1, 0), 8)).all()


def test_the_template_is_the_published_one() -> None:
    """What scikit-image's SimilarityTransform makes of one face with InsightFace's arcface_dst."""
    fit = fit_similarity((100 + 100j, 160 + 102j, 130 + 140j, 105 + 170j, 155 + 171j), TEMPLATE)
    assert fit.slope == pytest.approx(complex(0.584173018, -0.00955278073), abs=1e-8)
    assert fit.shift == pytest.approx(complex(-21.2212422, -6.6553928), abs=1e-5)


def lynx_template() -> np.ndarray:
    """As the published code computes it for 256 px, step by step in fp32."""
    points = np.array(TEMPLATE_PX, dtype=np.float32)
    points[:, 1] = points[:, 1] + 10
    points = (points - 112 / 2) * 0.8 + 112 / 2
    points = points * (256 / 128.0)
    points[:, 0] += 8.0 * (256 / 128.0)
    return points


def test_the_reference_crop_is_the_picture_at_every_place_that_the_template_says() -> None:
    to_image = Similarity(cmath.rect(0.9, math.radians(12)), complex(60, 20))
    picture = pattern(*positions(UNMOVED, 340))
    crop = cut_reference(picture, tuple(to_image(complex(*p)) for p in lynx_template().tolist()))
    image_x, image_y = positions(to_image, 256)
    inside = (image_x >= 0) & (image_x <= 339) & (image_y >= 0) & (image_y <= 339)
    assert crop.shape == (256, 256, 3)
    assert inside.float().mean() > 0.9
    assert (crop - pattern(image_x, image_y))[inside].abs().max() < 5e-3


def test_a_tiny_face_is_refused_with_its_size() -> None:
    tiny = tuple(p * 0.2 + complex(50, 50) for p in TEMPLATE)
    with refused("landmarks", "a face of 22 px", "24 px or more, better 112"):
        align_face(torch.zeros(200, 200, 3), tiny)
