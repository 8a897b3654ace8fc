from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from wan_core.identity.align import TEMPLATE
from wan_core.identity.faces import Face
from wan_core.identity.likeness.opens2v import (
    DETECTOR,
    PUBLISHED_ARC,
    PUBLISHED_CUR,
    FaceSim,
    FaceVectors,
    face_sim,
    face_vectors,
    frame_indices,
)
from wan_core.identity.likeness.published import Instruments

Pair = tuple[np.ndarray, np.ndarray]  # of one picture: the vectors of the Arc and of the Cur recogniser


# Numbers


def as_written_down(photo: Pair, frames: list[Pair | None]) -> list[float]:
    """Arc and Cur as the script computes them, then both as strict means, one frame after the other."""
    sums, counts, strict = [0.0, 0.0], [0, 0], [0.0, 0.0]
    for frame in frames:
        if frame is None:
            continue
        for which in (0, 1):
            a, b = photo[which], frame[which]
            length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
            cos = sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0
            strict[which] += cos
            clamped = cos if cos > 0 else 0.0
            if which == 1 and clamped == 0:
                continue
            sums[which] += clamped
            counts[which] += 1
    means = [total / count if count else 0.0 for total, count in zip(sums, counts, strict=True)]
    return [*means, *(total / len(frames) for total in strict)]


def scores(sim: FaceSim) -> list[float | None]:
    return [sim.arc.published, sim.cur.published, sim.arc.corrected, sim.cur.corrected]


def measured(photo: Pair, frames: list[Pair | None]) -> list[float | None]:
    vectors = [None if frame is None else FaceVectors(*map(torch.from_numpy, frame)) for frame in frames]
    return scores(face_sim(FaceVectors(*map(torch.from_numpy, photo)), vectors, PUBLISHED_ARC, PUBLISHED_CUR))


def random_clip(draw: np.random.Generator) -> tuple[Pair, list[Pair | None]]:
    """A photo and the frames of a clip: like it, unlike it, its opposite, without length, without a face."""
    width, person, without = draw.integers(2, 9), draw.normal(size=8), draw.choice([0, 0.3, 1.0])

    def pair(like: float) -> Pair:
        one, other = like * person[:width] + draw.normal(size=(2, width))
        return one * (draw.random() > 0.05), other * (draw.random() > 0.05)

    return pair(2), [None if draw.random() < without else pair(draw.choice([-2, 0, 0.5, 2])) for _ in range(32)]


def test_the_scores_are_those_that_the_script_computes() -> None:
    for seed in range(1000):
        photo, frames = random_clip(np.random.default_rng(seed))
        assert measured(photo, frames) == pytest.approx(as_written_down(photo, frames), abs=1e-12)


def at(cosine: float) -> np.ndarray:
    return np.array([cosine, math.sqrt(1 - cosine**2)])


WORKED = [  # cosines of the frames; Arc, Cur, and the strict mean
    ((0.8, 0.6, -0.2, None, 0.4), 0.45, 0.6, 0.32),
    ((0.7, 0.5, -0.1, None, 0.3), 0.375, 0.5, 0.28),
    ((0.8, 0.6, 0.0, 0.4), 0.45, 0.6, 0.45),
    ((-0.5, -0.1), 0.0, 0.0, -0.3),
    ((None, None), 0.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("cosines", "arc", "cur", "strict"), WORKED)
def test_zeros_are_left_out_of_cur_alone(cosines: tuple[float | None], arc: float, cur: float, strict: float) -> None:
    frames = [None if cosine is None else (at(cosine), at(cosine)) for cosine in cosines]
    assert measured((at(1), at(1)), frames) == pytest.approx([arc, cur, strict, strict], abs=1e-12)


def test_arc_and_cur_are_of_their_own_vectors_under_their_own_names() -> None:
    photo, other = FaceVectors(torch.tensor([1.0, 0]), torch.tensor([0.0, 1])), Instruments(DETECTOR, ("IR-SE50",))
    sim = face_sim(photo, [FaceVectors(torch.tensor([3.0, 0]), torch.tensor([1.0, 0]))], PUBLISHED_ARC, other)
    assert scores(sim) == [1, 0, 1, 0]
    assert sim.arc.protocol.startswith("OpenS2V-Eval FaceSim-Arc: 32 frames")
    assert sim.cur.protocol.startswith("not OpenS2V-Eval FaceSim-Cur, but by its rules with other networks: 32 frames")
    assert sim.cur.protocol.endswith("0 left out; insightface buffalo_l, det_size 320, det_thresh 0.5; IR-SE50")


def test_the_frames_are_those_of_linspace_cut_to_whole_numbers() -> None:
    for count in range(1, 2000):
        assert list(frame_indices(count)) == np.linspace(0, count - 1, 32, dtype=int).tolist()
    assert frame_indices(81)[:6] + frame_indices(81)[-2:] == (0, 2, 5, 7, 10, 12, 77, 80)
    assert (len(set(frame_indices(20))), frame_indices(1)) == (20, (0,) * 32)


# Pictures


def picture_of(height_px: int, width_px: int) -> Tensor:
    """A photo's smooth colours and its noise."""
    y, x = np.mgrid[:height_px, :width_px]
    waves = np.stack([np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)], axis=-1) * 90 + 128
    return torch.from_numpy((waves + np.random.default_rng(0).normal(0, 9, waves.shape)).clip(0, 255).astype(np.uint8))


def points_at(centre: complex, slope: complex) -> tuple[complex, ...]:
    return tuple(centre + slope * (point - 56 - 56j) for point in TEMPLATE)


def face_at(left: float, top: float, side: float) -> Face:
    points = points_at(complex(left, top) + side * (0.5 + 0.5j), side / 112)
    return Face((left, top, left + side, top + side), points)


def crops_of(picture: Tensor, *found: list[Face]) -> tuple[list[Tensor], list[Tensor]]:
    """The pictures that a detector is shown, which finds these faces one time after the other, and the two crops."""
    shown, crops, answers = [], [], iter(found)

    def find(seen: Tensor) -> list[Face]:
        shown.append(seen)
        return next(answers)

    def embed(crop: Tensor) -> Tensor:
        crops.append(crop)
        return torch.tensor([float(len(crops))])

    vectors = face_vectors(picture, find, embed, embed)
    assert [None if vectors is None else (vectors.arc.item(), vectors.cur.item())] == [(1, 2) if crops else None]
    return shown, crops


def opencv_cut(picture: Tensor, points: tuple[complex, ...], scale: int) -> np.ndarray:
    rows, wanted = [], []
    for point, place in zip(points, TEMPLATE, strict=True):
        rows += [[point.real, -point.imag, 1, 0], [point.imag, point.real, 0, 1]]
        wanted += [scale * place.real, scale * place.imag]
    a, b, x, y = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    side_px = 112 * scale
    cut = cv2.warpAffine(picture.numpy(), np.array([[a, -b, x], [b, a, y]]), (side_px, side_px), borderValue=0.0)
    return cv2.resize(cut, (112, 112)).astype(float)


def assert_as_opencv_cuts_them(crops: list[Tensor], arc: np.ndarray, cur: np.ndarray) -> None:
    for crop, opencv, most in zip(crops, (arc, cur), (4, 2), strict=True):
        away = np.abs(crop.numpy() * 255 - opencv)
        assert away.max() <= most + 0.01 and away.mean() < 0.3
        assert (crop * 255 - (crop * 255).round()).abs().max() < 1e-4


@pytest.mark.parametrize(("sides", "chosen"), [((30, 50, 40), 1), ((50, 30, 50), 2), ((50, 50.5, 30), 1)])
def test_the_largest_face_is_taken_and_of_equal_ones_the_last(sides: tuple[float, ...], chosen: int) -> None:
    picture, faces = picture_of(120, 100), [face_at(10 + 9 * number, 10, side) for number, side in enumerate(sides)]
    for crop, alone in zip(crops_of(picture, faces)[1], crops_of(picture, [faces[chosen]])[1], strict=True):
        assert torch.equal(crop, alone)


@pytest.mark.parametrize(("height_px", "width_px", "margin_y", "margin_x"), [(120, 90, 30, 22), (67, 101, 16, 25)])
def test_without_a_face_grey_is_put_around_and_only_arcs_face_is_cut_with_it(
    height_px: int, width_px: int, margin_y: int, margin_x: int
) -> None:
    picture, in_margin, face = picture_of(height_px, width_px), face_at(margin_x - 9, margin_y, 40), face_at(-9, 0, 40)
    shown, crops = crops_of(picture, [], [in_margin])
    padded = torch.full((height_px + 2 * margin_y, width_px + 2 * margin_x, 3), 128, dtype=torch.uint8)
    padded[margin_y : margin_y + height_px, margin_x : margin_x + width_px] = picture
    assert torch.equal(shown[0], picture) and torch.equal(shown[1], padded)
    assert_as_opencv_cuts_them(crops, opencv_cut(padded, in_margin.points, 1), opencv_cut(picture, face.points, 2))
    assert crops_of(picture, [], [])[1] == []


@pytest.mark.parametrize("degrees", [0, 25, -70])
@pytest.mark.parametrize("scale", [0.1, 0.4, 1.3, 4.0])  # from a face of 11 px to one that reaches over the border
def test_faces_are_cut_as_opencv_cuts_them(scale: float, degrees: float) -> None:
    picture, points = picture_of(300, 260), points_at(90 + 120j, cmath.rect(scale, math.radians(degrees)))
    _, crops = crops_of(picture, [Face((0, 0, 1, 1), points)])
    assert_as_opencv_cuts_them(crops, opencv_cut(picture, points, 1), opencv_cut(picture, points, 2))
