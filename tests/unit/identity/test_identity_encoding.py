"""From pictures to the identity and its report, through the door: what is kept, left out, remarked on and refused."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from tests.unit.identity.some_inputs import at_degrees, face_at, noise, refused
from wan_core import identity
from wan_core.identity import AlignedCrops, EncodeRequest, EncodeResult, FaceSelection, WholePicture
from wan_core.identity.align import Points, align_face, cut_reference
from wan_core.identity.combine import COMBINE_METHODS
from wan_core.identity.draw import draw_faces
from wan_core.identity.faces import Face
from wan_core.identity.images import Pictures, read_pictures
from wan_core.identity.portrait import cut_portrait
from wan_core.identity.record import Attributes, Space
from wan_core.identity.sources import FoundFaces, OnDone, detect_and_align, detect_in_margin, select_and_align

SPACE = Space("recogniser.onnx", "cd" * 32, "iResNet")
SURE = {"score": 0.9, "yaw_deg": 0.0, "pitch_deg": 0.0}
WITHOUT_VECTORS = "this identity has no vectors"
BACKGROUND = "with its background: Stand-In expects white, so link a mask of the person to foreground"


@dataclass(frozen=True)
class Detector:
    """A source that finds the same faces whatever it is shown."""

    found: Sequence[Sequence[Face]]
    selection: FaceSelection = FaceSelection()
    label = "test"

    def find(self, pictures: Pictures, on_picture: OnDone) -> FoundFaces:
        for number in range(1, len(pictures.rgb) + 1):
            on_picture(number)
        return select_and_align(pictures, self.found, self.selection)


@contextmanager
def recogniser(*degrees: float) -> Iterator[identity.Recogniser]:
    """One that answers with vectors of length 9.5 at these angles in one plane, one after the other."""
    vectors = iter(at_degrees(*degrees) * 9.5)
    yield identity.Recogniser(lambda crop: next(vectors), SPACE, "iResNet, ONNX")


def encoded(images: Tensor, faces: list[list[Face]], by: AbstractContextManager | None = None) -> EncodeResult:
    return identity.encode(EncodeRequest(images), source=Detector(faces), recogniser=by)


def sure(x: float, y: float, size: float = 150.0, **about: object) -> Face:
    return replace(face_at(x, y, size), **SURE | about)


def turned(degrees: float) -> Points:
    """The points of a face that is turned clockwise in its picture."""
    turn = cmath.rect(1, math.radians(degrees))
    return tuple((point - 200 - 200j) * turn + 200 + 200j for point in face_at(200, 200, 150.0).points)


WORDS = ("the mean of their vectors", "the vector of image 2 alone", "all vectors side by side")
METHODS = dict(zip(COMBINE_METHODS, WORDS, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_the_parts_come_from_the_best_reference(method: str) -> None:
    images, faces = noise(2, 400, 300, 3), [sure(150, 150, 60, age_years=30, sex="male"), sure(160, 200, 180)]
    source, mask, on_white = Detector([faces[:1], faces[1:]]), torch.ones(400, 300), images[1].clone()
    mask[:180], on_white[:180] = 0.0, 1.0
    result = identity.encode(EncodeRequest(images, mask, method), source=source, recogniser=recogniser(0, 30))
    found = result.identity
    first, second = result.found.references
    assert len(found.embeddings) == (2 if method == "tokens" else 1)
    assert torch.equal(found.z, found.references[1]) is (method == "best")
    assert torch.equal(found.crops[0], align_face(images[0], faces[0].points).crop)
    assert torch.equal(result.aligned, found.crops)
    assert torch.equal(result.boxes[1], draw_faces(images[1], faces[1:], 0))
    assert torch.equal(found.reference_crop, cut_reference(images[1], faces[1].points))
    assert torch.equal(found.portrait, cut_portrait(on_white, faces[1].box))
    about = Attributes(30, "male", 0.0, 0.0, faces[0].roll_deg, 0.9, first.face_px, first.quality.total)
    assert (found.attributes[0], found.attributes[1].quality) == (about, second.quality.total)
    assert (found.space, result.best) == (SPACE, second)
    cos = f"cos {math.cos(math.pi / 6):.3f} to the mean of the others, embedding length 9.50"
    assert identity.describe(result).splitlines() == [
        "encoder: recogniser.onnx (iResNet, ONNX), sha256 cdcdcdcdcdcd",
        "faces: test",
        "image 1: face 60 px, score 0.90, yaw 0, pitch 0, roll 0 degrees, about 30 years, looks male, "
        f"{cos}, quality {first.quality.total:.2f}",
        "  warning: small: 60 px, 112 px or more is better",
        f"image 2: face 180 px, score 0.90, yaw 0, pitch 0, roll 0 degrees, {cos}, quality {second.quality.total:.2f}",
        f"combined: 2 of 2 references, {METHODS[method]}; the best is image 2",
        "portrait and reference crop: from image 2, its background white",
    ]


def test_what_is_left_out_is_told() -> None:
    good = [sure(150, 150)]
    faces = [good, [], [sure(150, 150, 20)], good, [sure(140, 150, 170)], good, [sure(60, 150, 50), sure(200, 150)]]
    result = encoded(noise(7, 300, 300, 3), faces, recogniser(0, 2, 30, 130, 45))
    assert [reference.number for reference in result.found.references] == [1, 4, 5, 6, 7]
    assert len(result.identity.references) == len(result.identity.crops) == len(result.identity.attributes) == 3
    lines = identity.describe(result).splitlines()
    assert lines[2:5] == [
        "image 2: left out, no face",
        "image 3: left out, a face of 20 px",
        "image 7: 2 faces from left to right, 0: 39 125 81 175 (score 0.90); 1: 136 75 264 225 (score 0.90); "
        "1 is taken",
    ]
    (twin,) = (line for line in lines if "which counts once" in line)
    number, other = (1, 4) if twin.startswith("image 1") else (4, 1)
    assert twin.startswith(f"image {number}: face 150 px, score 0.90, yaw 0, pitch 0, roll 0 degrees, embedding length")
    assert twin.endswith(f"; left out: it repeats image {other} (cos 0.999), which counts once")
    assert [line[:8] for line in lines if line.endswith("left out: it shows another person")] == ["image 6:"]
    assert lines[-2].startswith("combined: 3 of 5 references, ")
    assert lines[-1].endswith(BACKGROUND)


def test_what_cannot_be_used_is_refused() -> None:
    largest, fifth = FaceSelection(), FaceSelection("index", index=4)
    for faces, selection, found in (
        ([[]], largest, "image 1: no face"),
        ([[sure(150, 150, 24.5)]], largest, "image 1: eyes 7.7 px apart"),
        ([[sure(150, 150)]], fifth, "image 1: no face 4, only 0 to 0"),
        ([[], [sure(150, 150, 10)]], largest, "image 1: no face; image 2: a face of 10 px"),
    ):
        request = EncodeRequest(noise(len(faces), 300, 300, 3))
        with refused("images", f"no face that can be used ({found})", "a face of 24 px or more, better 112"):
            identity.encode(request, source=Detector(faces, selection))
    with refused("combine", "'median'", "one of mean, best, tokens"):
        identity.encode(EncodeRequest(noise(1, 9, 9, 3), method="median"), source=WholePicture())


PROFILE = (150 + 120j, 170 + 120j, 120 + 170j, 140 + 220j, 160 + 220j)
FROM_THE_SIDE = "seen from the side: recognisers know faces from in front"
ON_ITS_SIDE = "on its side by 90 degrees: rotate the picture, Stand-In gets it as it is"
MARGIN = "found only with a margin around the picture: one that shows more around the face is better"
BAD = {
    "small_face": "small: 111 px, 112 px or more is better",
    "turned_face": "turned aside by 46 degrees",
    "tilted_face": "tilted up or down by 31 degrees",
    "unsure_face": "detection score only 0.59: is something in front of the face?",
}


def test_what_can_be_used_but_is_not_good_is_noted() -> None:
    for about, size, notes in (
        ({"yaw_deg": 45.0, "pitch_deg": -30.0, "score": 0.6, "points": turned(29)}, 112.0, {}),
        ({"yaw_deg": None, "pitch_deg": None, "score": None}, 150.0, {}),
        ({"points": turned(-90)}, 150.0, {"face_on_its_side": ON_ITS_SIDE}),
        ({"needed_margin": True}, 150.0, {"face_fills_picture": MARGIN}),
        ({"points": PROFILE, "yaw_deg": None}, 150.0, {"turned_face": FROM_THE_SIDE}),
        ({"points": PROFILE}, 150.0, {}),  # the turn was measured
        ({"yaw_deg": -46.0, "pitch_deg": 31.0, "score": 0.59}, 111.0, BAD),
    ):
        result = encoded(noise(1, 400, 400, 3), [[sure(200, 200, size, **about)]], recogniser(0))
        assert {note.code: note.text for note in result.notes} == {code: f"image 1: {notes[code]}" for code in notes}
        warnings = [line for line in identity.describe(result).splitlines() if "warning" in line]
        assert warnings == [f"  warning: {text}" for text in notes.values()]


ALIGNED = (
    "taken as aligned, the eyes at 34 and 66 % of the width and 46 % of the height: aligned crops have 112 px as a "
    "rule and this picture 224. Where the face lies otherwise, choose auto in face"
)


def test_a_face_that_fills_the_picture_is_found_with_a_margin_and_in_its_own_pixels() -> None:
    """A detector that sees no face larger than three quarters of the picture, as those of insightface."""
    pictures, sizes, face = read_pictures([noise(1, 200, 160, 3), noise(1, 600, 600, 3)]), [], face_at(90, 110, 190)

    def detect(picture: Tensor) -> list[Face]:
        sizes.append(tuple(picture.shape))
        margin_px = (picture.shape[1] - 160) // 2 if picture.shape[1] == 360 else 0
        moved = face.without_margin(-margin_px)
        left, _, right, _ = moved.box
        return [replace(moved, needed_margin=False)] if right - left < 0.75 * picture.shape[1] else []

    near, far = detect_and_align(pictures, detect, FaceSelection(), print).references
    assert sizes == [(200, 160, 3), (400, 360, 3), (600, 600, 3)]
    assert (near.face.points, near.face.box) == (pytest.approx(face.points), pytest.approx(face.box))
    torch.testing.assert_close(near.crop, align_face(pictures.rgb[0], face.points).crop, atol=1e-5, rtol=0)
    assert (near.face.needed_margin, far.face) == (True, face)
    (found,) = detect_in_margin(
        pictures.rgb[0], lambda seen: sizes.append(seen.shape) or [face.without_margin(-100, 2)], longest_px=100
    )
    assert sizes[-1] == (200, 180, 3) and found.points == pytest.approx(face.points)


def test_crops_have_no_reference_crop_and_are_their_own_portrait() -> None:
    (of_112_px,) = AlignedCrops().find(read_pictures(noise(1, 112, 112, 3)), print).references
    assert of_112_px.notes == ()
    images = noise(1, 224, 224, 3)
    result = identity.encode(EncodeRequest(images), source=AlignedCrops(), recogniser=recogniser(0))
    quality = result.best.quality.total
    assert result.identity.reference_crop is None
    assert torch.equal(result.identity.portrait, cut_portrait(images[0], None))
    assert torch.equal(result.boxes, images)
    assert result.identity.attributes == (Attributes(None, None, None, None, None, None, 224.0, quality),)
    assert identity.describe(result).splitlines()[1:] == [
        "faces: aligned crop",
        f"image 1: face 224 px, embedding length 9.50, quality {quality:.2f}",
        f"  warning: {ALIGNED}",
        "combined: 1 of 1 references, the mean of their vectors; the best is image 1",
        "portrait: the aligned crop of image 1 itself, which is narrow; no reference crop for Lynx ref layers. "
        "Give the whole picture for both.",
    ]


def test_a_picture_without_a_face_has_a_portrait_and_no_vectors() -> None:
    images = noise(40, 30, 50, 3)
    result = identity.encode(EncodeRequest(images), source=WholePicture(), recogniser=recogniser())
    found = result.identity
    assert (found.z, found.space, found.reference_crop, result.best) == (None, None, None, None)
    assert torch.equal(found.portrait, cut_portrait(images[0], None))
    assert torch.equal(result.aligned, found.portrait[None])
    assert identity.describe(result).splitlines() == [
        f"no face was looked for: {WITHOUT_VECTORS}, and only Stand-In can use it",
        "sampled evenly: 16 of 40 images, these: 1, 4, 6, 9, 11, 14, 17, 19, 22, 24, 27, 30, 32, 35, 37, 40",
        f"portrait: image 1 whole, 512 px, {BACKGROUND}",
    ]


def test_faces_without_a_recogniser_give_the_pictures_of_the_best_and_no_vectors() -> None:
    images, faces = noise(2, 400, 300, 3), [sure(150, 150, 60), sure(160, 200, 180)]
    result = encoded(images, [[faces[0]], [faces[1]]])
    found, best = result.identity, result.best
    assert (best.number, found.z, found.space, len(found.references), len(found.crops)) == (2, None, None, 0, 0)
    assert torch.equal(found.portrait, cut_portrait(images[1], faces[1].box))
    assert torch.equal(found.reference_crop, cut_reference(images[1], faces[1].points))
    assert torch.equal(result.aligned, best.crop[None])
    words, *_, combined, portrait = identity.describe(result).splitlines()
    assert words == f"no recogniser: {WITHOUT_VECTORS}; Stand-In can use it, and Lynx's reference layers alone"
    assert combined == "the best of 2 references is image 2"
    assert portrait == f"portrait and reference crop: from image 2, {BACKGROUND}"


@pytest.mark.parametrize("white", ["one eye", "all but the face", "a corner of a crop", "most of the face"])
def test_a_foreground_without_the_face_is_refused(white: str) -> None:
    mask = torch.zeros(300, 300)
    if white == "one eye":
        mask[100:150, 100:145] = 1.0
    elif white == "all but the face":
        mask = 1 - torch.nn.functional.pad(torch.ones(160, 160), (70,) * 4)
    elif white == "a corner of a crop":
        mask[:80, :80] = 1.0
    else:
        mask[:, 140:] = 1.0  # not an eye and a corner of the mouth
    source = AlignedCrops() if white == "a corner of a crop" else Detector([[sure(150, 150)]])
    black = "a mask that is black on the face of image 1, or a picture that is transparent there"
    with nullcontext() if white == "most of the face" else refused("foreground", black, "white on the person"):
        result = identity.encode(EncodeRequest(noise(1, 300, 300, 3), mask), source=source)
        assert result.identity.portrait[:, -1].std() > 0.1


def test_progress_is_told_in_pictures_and_then_in_faces() -> None:
    for by, steps in ((None, 3), (recogniser(0, 9, 20), 6)):
        told: list[int] = []

        def progress(total: int, told: list[int] = told) -> OnDone:
            told.append(total)
            return told.append

        source = Detector([[sure(150, 150)]] * 3)
        identity.encode(EncodeRequest(noise(3, 300, 300, 3)), source=source, recogniser=by, progress=progress)
        assert told == [steps, *range(1, steps + 1)]


# In a script
