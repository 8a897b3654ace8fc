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
    EmbeddedFace,
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


def found_at(left: float, top: float, side: float, number: float) -> EmbeddedFace:
    box, points = (left, top, left + side, top + side), points_at(complex(left, top) + side * (0.5 + 0.5j), side / 112)
    return EmbeddedFace(Face(box, points), torch.tensor([number]))


def mean_colour(chip: Tensor) -> Tensor:
    return chip.mean(dim=(0, 1))


@pytest.mark.parametrize(("sides", "chosen"), [((30, 50, 40), 1), ((50, 30, 50), 2), ((50, 50.5, 30), 1)])
def test_the_largest_face_is_taken_and_of_equal_ones_the_last(sides: tuple[float], chosen: int) -> None:
    faces = [found_at(10, 10, side, number) for number, side in enumerate(sides)]
    vectors = face_vectors(picture_of(120, 100), lambda picture: faces, mean_colour)
    assert vectors is not None and vectors.arc == chosen


@pytest.mark.parametrize(("height_px", "width_px", "margin_y", "margin_x"), [(120, 90, 30, 22), (67, 101, 16, 25)])
def test_without_a_face_grey_is_put_around_and_the_chip_is_cut_without_it(
    height_px: int, width_px: int, margin_y: int, margin_x: int
) -> None:
    picture, seen, chips = picture_of(height_px, width_px), [], []

    def detect(shown: Tensor) -> list[EmbeddedFace]:
        seen.append(shown)
        return [found_at(margin_x + 10, margin_y + 12, 40, 7)] if len(seen) == 2 else []

    def embed(chip: Tensor) -> Tensor:
        chips.append(chip)
        return mean_colour(chip)

    vectors = face_vectors(picture, detect, embed)
    assert vectors is not None and vectors.arc == 7
    padded = torch.full((height_px + 2 * margin_y, width_px + 2 * margin_x, 3), 128, dtype=torch.uint8)
    padded[margin_y : margin_y + height_px, margin_x : margin_x + width_px] = picture
    assert torch.equal(seen[0], picture) and torch.equal(seen[1], padded)
    direct = face_vectors(picture, lambda shown: [found_at(10, 12, 40, 0)], embed)
    assert direct is not None and torch.equal(chips[0], chips[1]) and torch.equal(vectors.cur, direct.cur)
    assert face_vectors(picture, lambda shown: [], embed) is None


@pytest.mark.parametrize("degrees", [0, 25, -70])
@pytest.mark.parametrize("scale", [0.4, 1.3, 4.0])  # the face is larger than the cut, and reaches over the border
def test_the_chip_is_opencvs_cut_of_224_px_halved(scale: float, degrees: float) -> None:
    picture, chips = picture_of(300, 260), []
    points = points_at(90 + 120j, cmath.rect(scale, math.radians(degrees)))
    face = EmbeddedFace(Face((0, 0, 1, 1), points), torch.zeros(1))
    face_vectors(picture, lambda shown: [face], lambda chip: chips.append(chip) or torch.zeros(1))
    rows, wanted = [], []
    for point, place in zip(points, TEMPLATE, strict=True):
        rows += [[point.real, -point.imag, 1, 0], [point.imag, point.real, 0, 1]]
        wanted += [2 * place.real, 2 * place.imag]
    a, b, x, y = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    cut = cv2.warpAffine(picture.numpy(), np.array([[a, -b, x], [b, a, y]]), (224, 224), borderValue=0.0)
    halved = cv2.resize(cut, (112, 112)).astype(float)
    away = np.abs(chips[0].numpy() * 255 - halved)
    assert away.max() <= 2.01 and away.mean() < 0.2
