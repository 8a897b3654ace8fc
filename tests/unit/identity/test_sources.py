from __future__ import annotations

import pytest

from tests.unit.identity.some_inputs import noise, refused
from wan_core.identity.images import read_pictures
from wan_core.identity.sources import GivenLandmarks, parse_landmarks

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
