"""From faces in pictures to the identity and its report: what is kept, left out, warned of and refused."""

from __future__ import annotations

import cmath
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.unit.identity.some_faces import face_at
from wan_core.errors import InputError
from wan_core.identity.align import Points, align_face, cut_reference
from wan_core.identity.combine import combine
from wan_core.identity.draw import CHOSEN, OTHER, draw_faces
from wan_core.identity.encode import Embeddings
from wan_core.identity.faces import Face, Pick
from wan_core.identity.gather import (
    Reference,
    Sighting,
    best_of,
    identity_of,
    identity_of_pictures,
    look,
    references_of,
    references_of_crops,
)
from wan_core.identity.images import Pictures, read_pictures
from wan_core.identity.portrait import cut_portrait
from wan_core.identity.quality import assess, frontal_share, nose_offset, sharpness, warnings
from wan_core.identity.record import Identity, Space
from wan_core.identity.report import describe, describe_picture, describe_portrait

SPACE = Space("recogniser.onnx", "cd" * 32, "iResNet")
SURE = {"score": 0.9, "yaw_deg": 0.0, "pitch_deg": 0.0}


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def seen(x: float, y: float, size: float = 150.0, **about: object) -> Face:
    return replace(face_at(x, y, size), **SURE | about)


def turned(degrees: float) -> Points:
    """The points of a face that is turned clockwise in its picture."""
    turn = cmath.rect(1, math.radians(degrees))
    return tuple((point - 200 - 200j) * turn + 200 + 200j for point in face_at(200, 200, 150.0).points)


def made(
    pictures: Pictures, found: list[list[Face]], vectors: Tensor, way: str = "mean"
) -> tuple[Identity, str, list[Reference]]:
    """Everything between the detector and the sockets, with the recogniser's answer given."""
    sightings = look(pictures, found, Pick())
    references = references_of(pictures, sightings)
    combined = combine(
        vectors,
        way=way,
        qualities=[each.quality.total for each in references],
        weights=[each.quality.score for each in references],
        numbers=[each.number for each in references],
    )
    identity = identity_of(pictures, references, vectors, combined, SPACE)
    embeddings = Embeddings(vectors, (9.5,) * len(vectors))
    words = {"encoder": "iResNet, ONNX", "source": "test", "way": way}
    return identity, describe(identity, pictures, sightings, references, embeddings, combined, **words), references


def axis(*angles: float) -> Tensor:
    turned = torch.deg2rad(torch.tensor(angles))
    return torch.nn.functional.pad(torch.stack((turned.cos(), turned.sin()), dim=1), (0, 510))


def test_the_parts_come_from_the_best_reference() -> None:
    pictures = read_pictures(noise(2, 400, 300, 3), torch.ones(400, 300))
    faces = [seen(150, 150, 60), seen(160, 200, 180)]
    identity, report, references = made(pictures, [[faces[0]], [faces[1]]], axis(0, 30))
    assert torch.equal(identity.crops[0], align_face(pictures.rgb[0], faces[0].points).crop)
    assert torch.equal(identity.reference_crop, cut_reference(pictures.rgb[1], faces[1].points))
    assert torch.equal(identity.portrait, cut_portrait(pictures.rgb[1], faces[1].box))
    assert [about.face_px for about in identity.attributes] == pytest.approx([60, 180])
    assert [about.quality for about in identity.attributes] == [each.quality.total for each in references]
    assert identity.space == SPACE
    assert "image 1: face 60 px, score 0.90, yaw 0, pitch 0, roll 0 degrees, cos 0.866 to the mean" in report
    assert "combined: 2 of 2 references, the mean of their vectors; the best is image 2" in report
    assert "portrait and reference crop: from image 2, its background white" in report
    assert "sampled" not in report


def test_the_portrait_is_on_white_and_the_crop_for_lynx_is_not() -> None:
    image, mask = noise(1, 300, 300, 3), torch.zeros(300, 300)
    mask[120:180, 120:180] = 1.0
    pictures = read_pictures(image, mask)
    identity, _, _ = made(pictures, [[seen(150, 150)]], axis(0))
    assert identity.portrait[:100].min() == 1.0
    assert identity.portrait[200:300, 200:300].std() > 0.1
    assert identity.reference_crop[:60].std() > 0.1


def test_what_is_left_out_is_told() -> None:
    pictures = read_pictures(noise(7, 300, 300, 3))
    good = [seen(150, 150)]
    found = [good, [], [seen(150, 150, 20)], good, [seen(140, 150, 170)], good, [seen(60, 150, 50), seen(200, 150)]]
    identity, report, references = made(pictures, found, axis(0, 2, 30, 130, 45))
    assert [each.number for each in references] == [1, 4, 5, 6, 7]
    assert len(identity.references) == 3
    lines = report.splitlines()
    assert "image 2: left out, no face" in lines
    assert "image 3: left out, a face of 20 px" in lines
    assert (
        "image 7: 2 faces from left to right, 0: 39 125 81 175 (score 0.90); 1: 136 75 264 225 (score 0.90); "
        "1 is taken" in lines
    )
    twins = [line for line in lines if "which counts once" in line]
    assert len(twins) == 1
    assert "left out: it repeats image" in twins[0]
    assert "(cos 0.999)" in twins[0]
    strangers = [line for line in lines if line.endswith("left out: it shows another person")]
    assert [line[:8] for line in strangers] == ["image 6:"]
    assert "combined: 3 of 5 references" in report


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([[]], "no face that can be used (image 1: no face)"),
        ([[seen(150, 150, 20)]], "no face that can be used (image 1: a face of 20 px)"),
        ([[seen(150, 150, 24.5)]], "no face that can be used (image 1: eyes 7.7 px apart)"),
        ([[replace(seen(1, 1), points=(complex("nan"),) * 5)]], "(image 1: points that are no finite numbers)"),
        ([[], [seen(150, 150, 10)]], "no face that can be used (image 1: no face; image 2: a face of 10 px)"),
    ],
)
def test_without_a_face_that_can_be_used_the_message_says_why(found: list[list[Face]], words: str) -> None:
    pictures = read_pictures(noise(len(found), 300, 300, 3))
    with pytest.raises(InputError) as caught:
        look(pictures, found, Pick())
    message = str(caught.value)
    assert message.startswith("images: found ")
    assert words in message
    assert "; wanted a face of 24 px or more, better 112. " in message
    assert "choose the whole picture, which Stand-In can use." in message


def test_a_choice_that_no_picture_has_is_told() -> None:
    with pytest.raises(InputError, match="image 1: no face 4, only 0 to 0"):
        look(read_pictures(noise(1, 300, 300, 3)), [[seen(150, 150)]], Pick("index", index=4))


@pytest.mark.parametrize(
    ("about", "size", "told"),
    [
        ({}, 150.0, []),
        ({}, 111.0, ["small: 111 px, 112 px or more is better"]),
        ({"yaw_deg": -46.0}, 150.0, ["turned aside by 46 degrees"]),
        ({"yaw_deg": 45.0, "pitch_deg": -30.0, "score": 0.6}, 150.0, []),
        ({"pitch_deg": 31.0}, 150.0, ["tilted up or down by 31 degrees"]),
        ({"points": turned(29)}, 150.0, []),
        (
            {"points": turned(-90)},
            150.0,
            ["on its side by 90 degrees: rotate the picture, Stand-In gets it as it is"],
        ),
        ({"score": 0.59}, 150.0, ["detection score only 0.59: is something in front of the face?"]),
        ({"yaw_deg": None, "pitch_deg": None, "score": None}, 150.0, []),
        (
            {"yaw_deg": 60.0, "pitch_deg": -40.0, "score": 0.5},
            60.0,
            [
                "small: 60 px, 112 px or more is better",
                "turned aside by 60 degrees",
                "tilted up or down by 40 degrees",
                "detection score only 0.50: is something in front of the face?",
            ],
        ),
    ],
)
def test_what_can_be_used_but_is_not_good_is_a_warning(about: dict[str, object], size: float, told: list[str]) -> None:
    face = seen(200, 200, size, **about)
    assert warnings(face, size) == told
    _, report, _ = made(read_pictures(noise(1, 400, 400, 3)), [[face]], axis(0))
    assert [line.removeprefix("  warning: ") for line in report.splitlines() if "warning" in line] == told


def test_crops_have_no_reference_crop_and_are_their_own_portrait() -> None:
    pictures = read_pictures(noise(1, 224, 224, 3))
    (reference,) = references_of_crops(pictures)
    assert (reference.face, reference.face_px) == (None, 224.0)
    combined = combine(axis(0), way="mean", qualities=[1.0], weights=[1.0], numbers=[1])
    identity = identity_of(pictures, [reference], axis(0), combined, SPACE)
    assert identity.reference_crop is None
    assert torch.equal(identity.portrait, cut_portrait(pictures.rgb[0], None))
    assert identity.attributes[0].roll_deg is None
    report = describe(
        identity, pictures, [], [reference], Embeddings(axis(0), (1.0,)), combined, encoder="x", source="y", way="mean"
    )
    assert "portrait: the aligned crop of image 1 itself, which is narrow; no reference crop" in report


def test_a_picture_without_a_face_has_a_portrait_and_no_vectors() -> None:
    pictures = read_pictures(noise(40, 30, 50, 3))
    identity = identity_of_pictures(pictures, None)
    assert (identity.z, identity.space, len(identity.references)) == (None, None, 0)
    assert torch.equal(identity.portrait, cut_portrait(pictures.rgb[0], None))
    assert "only Stand-In can use it" in describe_picture(pictures)
    assert "sampled evenly: 16 of 40 images, these: 1, 4, 6, 9, 11, 14, 17, 19, 22, 24, 27, 30, 32, 35, 37, 40" in (
        describe_picture(pictures)
    )


def test_faces_without_a_recogniser_give_the_pictures_of_the_best_and_no_vectors() -> None:
    pictures = read_pictures(noise(2, 400, 300, 3))
    faces = [seen(150, 150, 60), seen(160, 200, 180)]
    sightings = look(pictures, [[faces[0]], [faces[1]]], Pick())
    references = references_of(pictures, sightings)
    best = best_of(references)
    identity = identity_of_pictures(pictures, best)
    assert best.number == 2
    assert (identity.z, identity.space, len(identity.references), len(identity.crops)) == (None, None, 0, 0)
    assert torch.equal(identity.portrait, cut_portrait(pictures.rgb[1], faces[1].box))
    assert torch.equal(identity.reference_crop, cut_reference(pictures.rgb[1], faces[1].points))
    lines = describe_portrait(pictures, sightings, references, best, source="test").splitlines()
    assert lines[0].startswith("no recogniser: this identity has no vectors; Stand-In can use it, and Lynx's ")
    assert lines[2].startswith("image 1: face 60 px, score 0.90, yaw 0, pitch 0, roll 0 degrees, quality ")
    assert lines[3] == "  warning: small: 60 px, 112 px or more is better"
    assert lines[5] == "the best of 2 references is image 2"
    assert lines[6].startswith("portrait and reference crop: from image 2, with its background")


@pytest.mark.parametrize("white", ["one eye", "all but the face", "a corner of a crop"])
def test_a_foreground_without_the_face_is_refused(white: str) -> None:
    mask = torch.zeros(300, 300)
    if white == "one eye":
        mask[100:150, 100:145] = 1.0
    elif white == "all but the face":
        mask = 1 - torch.nn.functional.pad(torch.ones(160, 160), (70,) * 4)
    else:
        mask[:80, :80] = 1.0
    pictures = read_pictures(noise(1, 300, 300, 3), mask)
    if white == "a corner of a crop":
        (reference,) = references_of_crops(pictures)
    else:
        (reference,) = references_of(pictures, look(pictures, [[seen(150, 150)]], Pick()))
    with pytest.raises(InputError, match="foreground: found a mask that is black on the face of image 1, .* Invert"):
        identity_of_pictures(pictures, reference)


def test_a_foreground_with_most_of_the_face_passes() -> None:
    mask = torch.ones(300, 300)
    mask[:, :140] = 0.0  # an eye and a corner of the mouth
    pictures = read_pictures(noise(1, 300, 300, 3), mask)
    (reference,) = references_of(pictures, look(pictures, [[seen(150, 150)]], Pick()))
    assert identity_of_pictures(pictures, reference).portrait[:, -1].std() > 0.1


# Quality


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
    crop, face = noise(112, 112, 3), seen(100, 100)
    best = assess(crop, face, 200).total
    smooth = torch.nn.functional.avg_pool2d(crop.movedim(-1, 0), 5, 1, 2).movedim(0, -1)
    assert assess(smooth, face, 200).total < best
    assert assess(crop, face, 60).total < best
    assert assess(crop, replace(face, yaw_deg=40.0), 200).total < best
    assert assess(crop, replace(face, pitch_deg=-25.0), 200).total < best
    assert assess(crop, replace(face, score=0.6), 200).total < best
    assert assess(crop, face, 112).large == 0.5


def test_the_nose_tells_a_turned_face_where_nothing_measured_the_angles() -> None:
    turned = replace(face_at(100, 100), points=(0j, 100 + 0j, 80 + 50j, 10 + 100j, 90 + 100j))
    assert nose_offset(turned.points) == pytest.approx(0.3)
    assert frontal_share(turned) == pytest.approx(0.4)
    assert frontal_share(face_at(100, 100)) > 0.98
    assert frontal_share(replace(turned, yaw_deg=0.0, pitch_deg=60.0)) == pytest.approx(0.5)
    assert frontal_share(replace(turned, yaw_deg=120.0, pitch_deg=0.0)) == 0


# The drawing


def test_boxes_and_points_are_drawn_on_a_copy() -> None:
    picture = torch.zeros(100, 120, 3)
    faces = [seen(30, 50, 40), seen(80, 50, 50)]
    drawn = draw_faces(picture, faces, chosen=1)
    assert picture.abs().max() == 0
    for face, colour in zip(faces, (OTHER, CHOSEN), strict=True):
        left, top, right, bottom = (round(side) for side in face.box)
        expected = torch.tensor(colour)
        for place in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)):
            torch.testing.assert_close(drawn[place], expected)
        nose = face.points[2]
        torch.testing.assert_close(drawn[round(nose.imag), round(nose.real)], expected)
    assert drawn[99, 119].abs().max() == 0


def test_a_face_beside_the_picture_and_one_of_nan_do_not_break_the_drawing() -> None:
    away, lost = seen(-300, 900), replace(seen(1, 1), box=(float("nan"),) * 4)
    assert torch.equal(draw_faces(torch.zeros(20, 20, 3), [away, lost], None), torch.zeros(20, 20, 3))


def test_a_sighting_keeps_all_faces_for_the_drawing() -> None:
    (sighting,) = look(read_pictures(noise(1, 300, 300, 3)), [[seen(200, 150), seen(50, 150, 60)]], Pick())
    assert isinstance(sighting, Sighting)
    assert (len(sighting.faces), sighting.chosen, sighting.problem) == (2, 1, None)
