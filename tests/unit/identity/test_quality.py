"""How well a reference shows a face, and the drawing of what was seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.unit.identity.some_inputs import face_at, noise
from wan_core.identity.draw import OTHER, SELECTED, draw_faces
from wan_core.identity.quality import assess, frontal_share, sharpness


def test_sharpness_is_the_mean_laplacian() -> None:
    image = noise(6, 7, 3)
    luma = image @ torch.tensor([0.299, 0.587, 0.114])
    total = 0.0
    for row in range(1, 5):
        for column in range(1, 6):
            around = luma[row - 1, column] + luma[row + 1, column] + luma[row, column - 1] + luma[row, column + 1]
            total += abs((around - 4 * luma[row, column]).item())
    assert sharpness(image) == pytest.approx(total / 20, rel=1e-5)


def test_a_blurred_a_small_a_turned_and_an_unsure_face_are_worse() -> None:
    crop, face = noise(112, 112, 3), replace(face_at(100, 100), score=0.9, yaw_deg=0.0, pitch_deg=0.0)
    quality, sharp = assess(crop, face, 112), sharpness(crop)
    assert (quality.large, quality.frontal, quality.score) == (0.5, 1.0, 0.9)
    assert quality.total == pytest.approx(0.5 * 0.9 * sharp / (sharp + 0.02))
    smooth = torch.nn.functional.avg_pool2d(crop.movedim(-1, 0), 5, 1, 2).movedim(0, -1)
    assert assess(smooth, face, 112).total < quality.total
    assert assess(crop, face, 60).total < quality.total
    for about in ({"yaw_deg": 40.0}, {"pitch_deg": -25.0}, {"score": 0.6}):
        assert assess(crop, replace(face, **about), 112).total < quality.total
    unmeasured = (replace(face, score=None), None)  # no score, and a crop of which nothing is known
    assert [assess(crop, one, 112).score for one in unmeasured] == [1.0, 1.0]


def test_the_nose_tells_a_turned_face_where_nothing_measured_the_angles() -> None:
    turned = replace(face_at(100, 100), points=(0j, 100 + 0j, 80 + 50j, 10 + 100j, 90 + 100j))
    assert frontal_share(turned) == pytest.approx(0.4)  # the nose is 0.3 off the middle of the eyes
    assert frontal_share(face_at(100, 100)) > 0.98
    assert frontal_share(replace(turned, yaw_deg=0.0, pitch_deg=60.0)) == pytest.approx(0.5)
    assert frontal_share(replace(turned, yaw_deg=120.0, pitch_deg=0.0)) == 0


def test_boxes_and_points_are_drawn_on_a_copy() -> None:
    picture, faces = torch.zeros(100, 120, 3), [face_at(30, 50, 40), face_at(80, 50, 50)]
    drawn = draw_faces(picture, faces, selected=1)
    assert picture.abs().max() == 0
    for face, colour in zip(faces, (OTHER, SELECTED), strict=True):
        left, top, right, bottom = (round(side) for side in face.box)
        expected = torch.tensor(colour)
        for place in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)):
            torch.testing.assert_close(drawn[place], expected)
        nose = face.points[2]
        torch.testing.assert_close(drawn[round(nose.imag), round(nose.real)], expected)
    assert drawn[99, 119].abs().max() == 0


def test_a_face_beside_the_picture_and_one_of_nan_do_not_break_the_drawing() -> None:
    away, lost = face_at(-300, 900), replace(face_at(1, 1), box=(float("nan"),) * 4)
    assert torch.equal(draw_faces(torch.zeros(20, 20, 3), [away, lost], None), torch.zeros(20, 20, 3))
