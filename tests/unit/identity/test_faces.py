from __future__ import annotations

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.identity.some_inputs import face_at, noise, refused
from wan_core.identity.align import TEMPLATE
from wan_core.identity.draw import OTHER, SELECTED, draw_faces
from wan_core.identity.faces import (
    Face,
    face_of_insightface,
    face_of_mediapipe,
    face_of_points,
    face_problem,
    mediapipe_angles,
)
from wan_core.identity.images import read_pictures
from wan_core.identity.quality import assess, frontal_share, sharpness
from wan_core.identity.selection import FaceSelection, parse_box, select_face, select_faces
from wan_core.identity.sources import GivenLandmarks, parse_landmarks

FACES = [face_at(190, 240, 120), face_at(300, 390, 200), face_at(410, 90, 60)]


def test_the_box_of_five_points_is_the_window_of_the_template_and_roll_the_turn_of_the_eyes() -> None:
    assert face_at(300, 200, 112).box == pytest.approx((252, 144, 348, 256))
    assert face_at(300, 200, 224).box == pytest.approx((204, 88, 396, 312))
    turned = tuple(200 + 200j + cmath.rect(1.5, math.radians(20)) * (point - 56 - 56j) for point in TEMPLATE)
    upright = math.degrees(cmath.phase(TEMPLATE[1] - TEMPLATE[0]))
    assert face_of_points(turned).roll_deg == pytest.approx(20 + upright)


# Which face


def test_the_face_that_is_meant() -> None:
    for selection, expected in (
        (FaceSelection("largest"), 1),
        (FaceSelection("nearest to centre"), 0),
        (FaceSelection("index", index=0), 0),
        (FaceSelection("index", index=2), 2),
        (FaceSelection("index", index=3), "no face 3, only 0 to 2"),
        (FaceSelection("box", box="390 70 430 120"), 2),
        (FaceSelection("box", box="0, 0, 220, 400"), 0),
        (FaceSelection("box", box="450 400 500 500"), "no face in the box"),
    ):
        assert select_face(FACES, selection, 512, 512) == expected
        assert select_face([], selection, 512, 512) == "no face"


def test_faces_are_numbered_from_the_left_and_all_are_kept() -> None:
    found = [[FACES[2], FACES[0], FACES[1]]]
    (detected,) = select_faces(read_pictures(noise(1, 512, 512, 1)), found, FaceSelection())
    assert (detected.faces, detected.selected, detected.problem) == (tuple(FACES), 1, None)


def test_a_box_is_read_with_spaces_or_commas_or_named() -> None:
    assert parse_box(" 1, 2;3 4.5 ") == (1.0, 2.0, 3.0, 4.5)
    for text in ("", "1 2 3", "1 2 3 x", "10 10 5 20", "10 20 30 20", "1 2 3 inf", "1 2 3 4 5"):
        with refused("box", repr(text), "left, top, right and bottom of the face in pixels"):
            parse_box(text)


def test_a_selection_that_there_is_not_is_named() -> None:
    with refused("pick", "'smallest'", "one of largest, nearest to centre, index, box"):
        FaceSelection("smallest")
    for index in (-1, 100, 2.0):
        with refused("index", repr(index), "a whole number from 0 to 99"):
            FaceSelection("index", index)


MIRRORED, SIDE = "points that are mirrored or lie on one line", ", as of a face from the side"


def in_profile(eye_distance_px: float) -> Face:
    """A head of 200 px that is turned until its eyes are so near to each other."""
    eyes = (complex(150, 120), complex(150 + eye_distance_px, 120))
    return face_of_points((*eyes, 120 + 170j, complex(140, 220), complex(140 + eye_distance_px, 220)))


def test_why_a_face_cannot_be_aligned() -> None:
    for points, problem in (
        (FACES[0].points, None),
        (tuple(point * cmath.rect(1, 2.5) for point in FACES[0].points), None),
        (face_at(100, 100, 24.5).points, "eyes 7.7 px apart"),
        (face_at(100, 100, 20).points, "a face of 20 px"),
        (tuple(TEMPLATE[index] * 2 for index in (1, 0, 2, 4, 3)), MIRRORED),
        (tuple(30 * i * (1 + 1j) for i in range(5)), f"{MIRRORED}{SIDE}"),
        (in_profile(6.0).points, f"eyes 6.0 px apart{SIDE}"),
        (in_profile(20.0).points, None),
        ((complex(5, 5),) * 5, "five points in one place"),
        ((complex(math.nan, 1), *TEMPLATE[1:]), "points that are no finite numbers"),
    ):
        assert face_problem(replace(FACES[0], points=points)) == problem
    assert face_problem(replace(FACES[0], box=(0.0, 0.0, math.inf, 1.0))) == "points that are no finite numbers"


# What detectors give


def test_a_face_of_insightface() -> None:
    found = {
        "bbox": np.array([1, 2, 3, 4], np.float32),
        "kps": np.arange(10, dtype=np.float32).reshape(5, 2),
        "det_score": np.float32(0.75),
        "pose": np.array([-5, 12, 3], np.float32),
        "age": 41,
        "gender": np.int64(1),
    }
    face = face_of_insightface(found)
    assert face == Face((1.0, 2.0, 3.0, 4.0), (1j, 2 + 3j, 4 + 5j, 6 + 7j, 8 + 9j), 0.75, 12.0, -5.0, 41, "male")
    bare = face_of_insightface({key: found[key] for key in ("bbox", "kps", "det_score")} | {"gender": 0})
    assert bare == replace(face, yaw_deg=None, pitch_deg=None, age_years=None, sex="female")
    for guess, age_years in ((-3, 0), (500, 120)):
        assert face_of_insightface(found | {"age": guess}).age_years == age_years


def test_the_five_points_of_mediapipe() -> None:
    landmarks = np.stack((np.arange(478), 1000 + np.arange(478)), axis=1)
    found = {"bbox_xyxy": np.array([1.0, 2.0, 3.0, 4.0]), "landmarks_xy": landmarks, "score": 0.5}
    points = (468 + 1468j, 473 + 1473j, 1 + 1001j, 61 + 1061j, 291 + 1291j)
    assert face_of_mediapipe(found, np.eye(4).tolist()) == Face((1.0, 2.0, 3.0, 4.0), points, 0.5, 0.0, 0.0)


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0, 0, 0), (30, 0, 0), (-50, 0, 10), (0, 20, 0), (25, -35, -15)])
def test_the_angles_of_a_turned_face(yaw: float, pitch: float, roll: float) -> None:
    """A rotation about z, then about x (down is positive), then about y, of a face that looks along z."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    about_y = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    about_z = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    assert mediapipe_angles((7.0 * about_y @ about_x @ about_z).tolist()) == pytest.approx((yaw, pitch), abs=1e-9)


# Given points

FACE = "100 100 160 102 130 140 105 170 155 171"
TEN_NUMBERS, ONE_LINE = "10 finite numbers", "one line for each image"
INSIDE = "points inside the image of 256 x 300 px"
IN_ORDER = "left eye, right eye, nose, left and right mouth corner, left as seen in the image"
ON_ONE_LINE = "points in line 1 that are mirrored or lie on one line"
ONE_PICTURE = read_pictures(noise(1, 300, 256, 1))


def test_landmarks_are_read_with_spaces_or_commas() -> None:
    for text in (FACE, FACE.replace(" ", ", "), f"\n  {FACE}  \n\n"):
        (points,) = parse_landmarks(text, ONE_PICTURE)
        assert points == (100 + 100j, 160 + 102j, 130 + 140j, 105 + 170j, 155 + 171j)
    with refused("landmarks", "'1 2 3' in line 2", TEN_NUMBERS):
        parse_landmarks(f"{FACE}\n1 2 3", read_pictures(noise(2, 256, 256, 1)))


def test_bad_landmarks_are_named() -> None:
    for text, found, wanted in (
        ("", "0 lines of points for 1 images", ONE_LINE),
        (f"{FACE}\n{FACE}", "2 lines of points for 1 images", ONE_LINE),
        ("100 100 160 102 130 140 105 170 155", "'100 100 160 102 130 140 105 170 155' in line 1", TEN_NUMBERS),
        ("a b", "'a b' in line 1", TEN_NUMBERS),
        (f"nan{FACE[3:]}", "'nan 100 160 102 130 140 105 170 155 171' in line 1", TEN_NUMBERS),
        (f"999{FACE[3:]}", "the point (999, 100) in line 1", INSIDE),
        (f"-1{FACE[3:]}", "the point (-1, 100) in line 1", INSIDE),
        (FACE.replace("171", "301"), "the point (155, 301) in line 1", INSIDE),
        ("10 10 11 10 10.5 11 10 12 11 12", "eyes 1.0 px apart in line 1", "8 px or more"),
        ("90 80 92 80 70 99 85 130 87 130", f"eyes 2.0 px apart{SIDE}, in line 1", "8 px or more"),
        ("160 102 100 100 130 140 155 171 105 170", ON_ONE_LINE, IN_ORDER),
        ("10 10 20 20 30 30 40 40 50 50", ON_ONE_LINE, IN_ORDER),
    ):
        with refused("landmarks", found, wanted):
            parse_landmarks(text, ONE_PICTURE)


def test_a_sampled_picture_has_the_points_of_its_own_line() -> None:
    lines = [" ".join(str(float(number) + step) for number in FACE.split()) for step in range(31)]
    found = GivenLandmarks("\n".join(lines)).find(read_pictures(noise(31, 256, 256, 1)), print)
    assert [reference.number for reference in found.references] == list(range(1, 32, 2))
    assert [reference.face.points[0].real for reference in found.references] == [100.0 + n for n in range(0, 31, 2)]


# How well a face is shown, and the drawing of what was seen


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
    beside_and_lost = [face_at(-300, 900), replace(face_at(1, 1), box=(math.nan,) * 4)]
    assert torch.equal(draw_faces(picture, beside_and_lost, None), picture)
