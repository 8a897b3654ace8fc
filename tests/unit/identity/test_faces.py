from __future__ import annotations

import cmath
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.identity.some_inputs import face_at, noise, refused
from wan_core.identity.align import TEMPLATE
from wan_core.identity.faces import (
    Face,
    face_of_insightface,
    face_of_mediapipe,
    face_of_points,
    face_problem,
    mediapipe_angles,
)
from wan_core.identity.images import read_pictures
from wan_core.identity.selection import FaceSelection, parse_box, select_face, select_faces
from wan_core.identity.sources import GivenLandmarks, parse_landmarks

FACES = [face_at(190, 240, 120), face_at(300, 390, 200), face_at(410, 90, 60)]


def test_the_box_of_five_points_is_the_window_of_the_template() -> None:
    assert face_at(300, 200, 112).box == pytest.approx((252, 144, 348, 256))
    assert face_at(300, 200, 224).box == pytest.approx((204, 88, 396, 312))


def test_roll_is_the_turn_of_the_eyes() -> None:
    turned = tuple(200 + 200j + cmath.rect(1.5, math.radians(20)) * (point - 56 - 56j) for point in TEMPLATE)
    upright = math.degrees(cmath.phase(TEMPLATE[1] - TEMPLATE[0]))
    assert face_of_points(turned).roll_deg == pytest.approx(20 + upright)


# Which face


@pytest.mark.parametrize(
    ("method", "about", "expected"),
    [
        ("largest", {}, 1),
        ("nearest to centre", {}, 0),
        ("index", {"index": 0}, 0),
        ("index", {"index": 2}, 2),
        ("index", {"index": 3}, "no face 3, only 0 to 2"),
        ("box", {"box": "390 70 430 120"}, 2),
        ("box", {"box": "0, 0, 220, 400"}, 0),
        ("box", {"box": "450 400 500 500"}, "no face in the box"),
    ],
)
def test_the_face_that_is_meant(method: str, about: dict[str, object], expected: int | str) -> None:
    assert select_face(FACES, FaceSelection(method, **about), 512, 512) == expected
    assert select_face([], FaceSelection(method, **about), 512, 512) == "no face"


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
    for index in (-1, 100):
        with refused("index", str(index), "a number from 0 to 99"):
            FaceSelection("index", index)


# Faces that cannot be aligned

MIRRORED = tuple(TEMPLATE[index] * 2 for index in (1, 0, 2, 4, 3))


@pytest.mark.parametrize(
    ("face", "problem"),
    [
        *((face, None) for face in FACES),
        (replace(FACES[0], points=tuple(point * cmath.rect(1, 2.5) for point in FACES[0].points)), None),
        (face_at(100, 100, 24.5), "eyes 7.7 px apart"),
        (face_at(100, 100, 20), "a face of 20 px"),
        (replace(FACES[0], points=MIRRORED), "points that are mirrored or lie on one line"),
        (
            replace(FACES[0], points=tuple(30 * i * (1 + 1j) for i in range(5))),
            "points that are mirrored or lie on one line",
        ),
        (replace(FACES[0], points=(complex(5, 5),) * 5), "five points in one place"),
        (replace(FACES[0], points=(complex(math.nan, 1), *TEMPLATE[1:])), "points that are no finite numbers"),
        (replace(FACES[0], box=(0.0, 0.0, math.inf, 1.0)), "points that are no finite numbers"),
    ],
)
def test_why_a_face_cannot_be_aligned(face: Face, problem: str | None) -> None:
    assert face_problem(face) == problem


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
TEN_NUMBERS, ONE_LINE, LARGER = "10 finite numbers", "one line for each image", "8 px or more"
INSIDE = "points inside the image of 256 x 300 px"
IN_ORDER = "left eye, right eye, nose, left and right mouth corner, left as seen in the image"
ON_ONE_LINE = "points in line 1 that are mirrored or lie on one line"


@pytest.mark.parametrize("text", [FACE, FACE.replace(" ", ", "), f"\n  {FACE}  \n\n"])
def test_landmarks_are_read_with_spaces_or_commas(text: str) -> None:
    (points,) = parse_landmarks(text, count=1, width_px=256, height_px=300)
    assert points == (100 + 100j, 160 + 102j, 130 + 140j, 105 + 170j, 155 + 171j)


@pytest.mark.parametrize(
    ("text", "found", "wanted"),
    [
        ("", "0 lines of points for 1 images", ONE_LINE),
        (f"{FACE}\n{FACE}", "2 lines of points for 1 images", ONE_LINE),
        ("100 100 160 102 130 140 105 170 155", "'100 100 160 102 130 140 105 170 155' in line 1", TEN_NUMBERS),
        ("a b", "'a b' in line 1", TEN_NUMBERS),
        (f"nan{FACE[3:]}", "'nan 100 160 102 130 140 105 170 155 171' in line 1", TEN_NUMBERS),
        (f"999{FACE[3:]}", "the point (999, 100) in line 1", INSIDE),
        (f"-1{FACE[3:]}", "the point (-1, 100) in line 1", INSIDE),
        (FACE.replace("171", "301"), "the point (155, 301) in line 1", INSIDE),
        ("10 10 11 10 10.5 11 10 12 11 12", "eyes 1.0 px apart in line 1", LARGER),
        ("160 102 100 100 130 140 155 171 105 170", ON_ONE_LINE, IN_ORDER),
        ("10 10 20 20 30 30 40 40 50 50", ON_ONE_LINE, IN_ORDER),
    ],
)
def test_bad_landmarks_are_named(text: str, found: str, wanted: str) -> None:
    with refused("landmarks", found, wanted):
        parse_landmarks(text, count=1, width_px=256, height_px=300)


def test_the_line_of_the_bad_landmarks_is_named() -> None:
    with refused("landmarks", "'1 2 3' in line 2", TEN_NUMBERS):
        parse_landmarks(f"{FACE}\n1 2 3", count=2, width_px=256, height_px=256)


def test_a_sampled_picture_has_the_points_of_its_own_line() -> None:
    lines = [" ".join(str(float(number) + step) for number in FACE.split()) for step in range(31)]
    found = GivenLandmarks("\n".join(lines)).find(read_pictures(noise(31, 256, 256, 1)), print)
    assert [reference.number for reference in found.references] == list(range(1, 32, 2))
    assert [reference.face.points[0].real for reference in found.references] == [100.0 + n for n in range(0, 31, 2)]
