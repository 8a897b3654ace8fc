"""Faces followed through a shot: whoever is planted stays one track, and nobody is mixed with another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.identity.planted import RECOGNISER, direction_at, film, find, sighting, watched
from tests.unit.identity.some_inputs import refused
from wan_core.identity.likeness.matching import direction, match_above
from wan_core.identity.likeness.shots import checked_shot
from wan_core.identity.likeness.tracking import MOST_GAP, track_faces, watch
from wan_core.identity.recogniser import Recogniser
from wan_core.identity.record import Space
from wan_core.identity.sources import AlignedCrops

SAME_COS = 0.4


def around(centre: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(centre.shape, generator=generator)
    return torch.nn.functional.normalize(centre + spread * noise / noise.norm(), dim=0)


@pytest.mark.parametrize("seed", range(20))
def test_people_who_cross_stay_themselves_though_their_faces_are_missed_now_and_then(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = [around(torch.zeros(64), 1.0, generator) for _ in range(3)]
    ways = [(20.0, 8.0), (220.0, -8.0), (120.0, 0.0)]  # where each begins, and how far it goes in a frame
    frames, planted = [], {}
    for position in range(25):
        seen = [
            sighting(position, start + step * position, around(centre, 0.6, generator))
            for centre, (start, step) in zip(centres, ways, strict=True)
        ]
        planted |= {id(one): person for person, one in enumerate(seen)}
        missed = torch.rand(3, generator=generator) < 0.1
        order = torch.randperm(3, generator=generator).tolist()
        frames.append([seen[person] for person in order if not missed[person]])
    tracks = track_faces(watched(*frames), SAME_COS)
    people = [{planted[id(one)] for one in track.sightings} for track in tracks]
    assert all(len(one) == 1 for one in people)
    assert len(tracks) < 3 + 25 * 3 * 0.1
    seen_ids = sorted(id(one) for track in tracks for one in track.sightings)
    assert seen_ids == sorted(id(one) for frame in frames for one in frame)  # nobody lost, nobody twice
    for track in tracks:
        positions = [one.position for one in track.sightings]
        assert positions == sorted(set(positions))
        assert all(b - a <= MOST_GAP for a, b in zip(positions, positions[1:], strict=False))


CASES = {  # name: (position, x, degrees) of each sighting, one person or two, and the sizes of the tracks
    "a head that turns": ([(i, 60, 8 * i) for i in range(11)], [11]),
    "a head that turns at once": ([(i, 60, 0 if i < 5 else 72) for i in range(10)], [10]),
    "the same, somewhere else": ([(i, 60 if i < 5 else 200, 0 if i < 5 else 72) for i in range(10)], [5, 5]),
    "a head that turns as it moves": ([(i, 30 + 30 * i, 15 * i) for i in range(10)], [10]),
    "a look aside": ([(i, 60, 0) for i in range(3)] + [(3, 60, 72), (4, 80, -20)], [5]),
    "a stranger in the same place": ([(i, 60, 0 if i < 5 else 90) for i in range(10)], [5, 5]),
    "a stranger in another place": ([(i, 60 if i < 5 else 200, 0 if i < 5 else 90) for i in range(10)], [5, 5]),
    "the same person in another place": ([(i, 60 if i < 5 else 200, 0) for i in range(10)], [10]),
    "back after a short gap": ([(i, 60, 0) for i in (0, 1, 3, 4)], [4]),
    "back after a long gap": ([(i, 60, 0) for i in (0, 1, 4, 5)], [2, 2]),
}


@pytest.mark.parametrize(("seen", "sizes"), CASES.values(), ids=CASES)
def test_what_continues_a_track_and_what_does_not(seen: list[tuple[int, float, float]], sizes: list[int]) -> None:
    frames = [[] for _ in range(1 + max(position for position, _, _ in seen))]
    for position, x, degrees in seen:
        frames[position].append(sighting(position, x, direction_at(degrees)))
    assert [len(track.sightings) for track in track_faces(watched(*frames), SAME_COS)] == sizes


def test_only_pairs_above_the_least_are_matched_and_what_is_below_does_not_count() -> None:
    """With -9 in the total the best would be (0, 1) and (1, 0), neither of them the best there is."""
    assert match_above([[2.0, 1.0], [-0.5, -9.0]], 0.0) == ((0, 0),)
    assert match_above([[0.5]], 0.5) == ()
    assert match_above([], 0.0) == match_above([[], []], 0.0) == ()


def test_a_track_points_where_its_faces_do_and_is_as_prominent_as_their_boxes() -> None:
    (track,) = track_faces(watched(*[[sighting(i, 60, direction_at(20 * i))] for i in range(3)]), SAME_COS)
    torch.testing.assert_close(track.vector, direction_at(20))
    one = track.sightings[0].face.box
    assert track.prominence == pytest.approx(3 * (one[2] - one[0]) * (one[3] - one[1]))
    torch.testing.assert_close(direction([direction_at(0), direction_at(60)]), direction_at(30))


# Looking


def test_every_face_of_a_frame_is_recognised_whatever_the_width_of_the_vectors() -> None:
    shot = checked_shot(film([(60, 20), (160, 200)], [], [(100, 90)]), "clips.clip_1")
    told: list[int] = []
    seen = watch(shot, [0, 1, 2], find, RECOGNISER, lambda: told.append(1))
    degrees = [
        sorted(round(torch.rad2deg(torch.atan2(*one.vector[[1, 0]])).item()) % 360 for one in faces)
        for faces in seen.sightings
    ]
    assert degrees == [[20, 200], [], [90]]
    assert (len(told), seen.unusable) == (3, 0)
    assert {one.vector.shape for faces in seen.sightings for one in faces} == {(8,)}


def test_a_face_that_cannot_be_aligned_is_counted_and_left_out() -> None:
    shot = checked_shot(torch.zeros(2, 64, 64, 3), "clips.clip_1")
    small = sighting(0, 30, direction_at(0), size=10.0).face
    seen = watch(shot, [0, 1], lambda picture: [small], RECOGNISER, lambda: None)
    assert (seen.sightings, seen.unusable) == (((), ()), 2)


def test_a_face_that_fills_the_frame_is_found_with_a_margin_in_the_pixels_of_the_frame() -> None:
    big = sighting(0, 32, direction_at(0), size=64.0).face
    moved = [tuple(point / 2 + 16 + 16j for point in big.points)]

    def only_in_margin(picture: Tensor) -> list:
        return [big.__class__((0, 0, 1, 1), moved[0])] if picture.mean() < 1 else []

    seen = watch(checked_shot(torch.ones(1, 64, 64, 3), "clips.clip_1"), [0], only_in_margin, RECOGNISER, lambda: None)
    ((face,),) = seen.sightings
    assert face.face.needed_margin
    assert [complex(p) for p in face.face.points] == pytest.approx([complex(p) for p in big.points])


def test_aligned_crops_are_recognised_as_they_are_and_others_refused_by_their_input() -> None:
    crops = torch.rand(2, 112, 112, 3, generator=torch.Generator().manual_seed(3))
    seen_crops: list[Tensor] = []

    def remember(crop: Tensor) -> Tensor:
        seen_crops.append(crop)
        return direction_at(0)

    recogniser = Recogniser(remember, Space("a", "b" * 64, "c"), "d")
    find_crops = AlignedCrops().detector().detect
    watch(checked_shot(crops, "clips.clip_1"), [0, 1], find_crops, recogniser, lambda: None)
    torch.testing.assert_close(torch.stack(seen_crops), crops)
    with refused("clips.clip_3", "64 x 112 px", "a square crop that is aligned to the ArcFace template"):
        watch(checked_shot(torch.rand(1, 112, 64, 3), "clips.clip_3"), [0], find_crops, recogniser, lambda: None)
