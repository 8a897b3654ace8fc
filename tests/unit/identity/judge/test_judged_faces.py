"""What others say of the faces that we find, align and embed: pictures of real people, a detector and a recogniser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.unit.identity.judge.real_people import CAST, PORTRAIT, PRESIDENT, Look, as_tensor
from tests.unit.identity.judge.the_judge import SAME_COS, SAME_DISTANCE, Judge
from wan_core import identity
from wan_core.identity.align import align_face
from wan_core.identity.faces import Face, face_problem

LOOKS = {f"{name}, look {number}": look for name, looks in CAST.items() for number, look in enumerate(looks, start=1)}


def face_in(judge: Judge, picture: Tensor) -> Face:
    """The only face of a picture."""
    (face,) = judge.detect(picture)
    return face


def of_crop(judge: Judge, picture: Tensor) -> Tensor:
    """dlib's vector of a face as we align it."""
    return judge.embed_crop(align_face(picture, face_in(judge, picture).points).crop)


def cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def test_the_points_of_the_portrait_are_where_mtcnn_sees_them(judge: Judge) -> None:
    picture = as_tensor(Image.open(PORTRAIT))
    numbers = numpy.loadtxt(PORTRAIT.with_name("portrait_landmarks.txt")).reshape(5, 2)
    by_hand = tuple(complex(*point) for point in numbers.tolist())
    face = face_in(judge, picture)
    eye_distance_px = abs(by_hand[1] - by_hand[0])
    assert all(abs(one - other) < 0.07 * eye_distance_px for one, other in zip(face.points, by_hand, strict=True))
    crops = [align_face(picture, points).crop for points in (face.points, by_hand)]
    assert cosine(*map(judge.embed_crop, crops)) > 0.985


def test_our_crop_shows_dlib_the_person_that_its_own_chip_does(judge: Judge) -> None:
    pictures = [look.picture() for look in LOOKS.values()]
    ours = [of_crop(judge, picture) for picture in pictures]
    theirs = [judge.embed_picture(picture) for picture in pictures]
    pairs = [(i, j) for i in range(len(LOOKS)) for j in range(i)]
    by_us = {pair: cosine(ours[pair[0]], ours[pair[1]]) for pair in pairs}
    by_them = {pair: cosine(theirs[pair[0]], theirs[pair[1]]) for pair in pairs}
    who = [name.split(",")[0] for name in LOOKS]
    for i, j in pairs:
        assert (by_us[i, j] >= SAME_COS) is (by_them[i, j] >= SAME_COS) is (who[i] == who[j]), (who[i], who[j])
    assert max(abs(by_us[pair] - by_them[pair]) for pair in pairs) < 0.05
    assert min(cosine(*both) for both in zip(ours, theirs, strict=True)) > 0.96


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_left_and_right_are_as_seen_in_the_picture(judge: Judge, look: Look) -> None:
    """In the mirror image the left eye is the other one."""
    picture = look.picture()
    face, mirrored = face_in(judge, picture), face_in(judge, picture.flip(1))
    width_px, eye_distance_px = picture.shape[1], abs(face.points[1] - face.points[0])
    flipped = tuple(complex(width_px - 1 - point.real, point.imag) for point in face.points)
    exchanged = tuple(flipped[index] for index in (1, 0, 2, 4, 3))
    assert face_problem(face) is None and face_problem(mirrored) is None
    assert max(abs(a - b) for a, b in zip(mirrored.points, exchanged, strict=True)) < 0.1 * eye_distance_px
    assert face_problem(replace(face, points=flipped)) == "points that are mirrored or lie on one line"


@pytest.mark.parametrize(
    "change",
    [lambda picture: picture.flip(1), lambda picture: picture.flip(2), lambda picture: picture[::2, ::2]],
    ids=["mirrored", "blue for red", "half size"],
)
def test_what_is_done_to_a_photo_makes_no_other_person(judge: Judge, change: Callable[[Tensor], Tensor]) -> None:
    for look in PRESIDENT:
        one, other = (of_crop(judge, picture) for picture in (look.picture(), change(look.picture()).contiguous()))
        assert 0 < float((one - other).norm()) < SAME_DISTANCE / 2


# The whole chain


def test_photos_of_one_person_become_one_identity_and_the_same_photo_counts_once(judge: Judge) -> None:
    again = Image.open(PRESIDENT[1].file.with_name("32bit.png"))  # the second photo once more, with transparency
    result = judge.encode(*(look.picture() for look in PRESIDENT), as_tensor(again.crop(PRESIDENT[1].box)))
    twins = [line[:8] for line in identity.describe(result).splitlines() if "which counts once" in line]
    assert len(result.identity.references) == 3 and twins in (["image 2:"], ["image 4:"])
    for look in PRESIDENT:
        assert cosine(result.identity.z, of_crop(judge, look.picture())) > SAME_COS
    assert cosine(result.identity.z, of_crop(judge, CAST["vice president"][0].picture())) < SAME_COS
