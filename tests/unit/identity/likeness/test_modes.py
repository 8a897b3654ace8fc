"""A published protocol through the door: the frames it looks at, its numbers, and under which name they go."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.unit.identity.planted import RECOGNISER, cos_deg, film, find, frame, identity_at, scorer, sighting
from tests.unit.identity.some_inputs import face_at, refused
from wan_core.identity import CheckRequest, CheckResult, check
from wan_core.identity.faces import Face
from wan_core.identity.likeness import opens2v, vistory
from wan_core.identity.likeness.modes import OpenS2V, Plain, ViStory, instruments_of
from wan_core.identity.likeness.shots import checked_shot
from wan_core.identity.recogniser import Recogniser
from wan_core.identity.record import Space

STEP = 2 * 360 / 255  # degrees, so that FaceSim's bytes hold each shade
TURN = [(60.0, STEP * number) for number in range(40)]  # one face that turns


def checked(*clips: torch.Tensor, cast: tuple[float, ...] = (0.0,), **changes: Any) -> CheckResult:
    shots = tuple(checked_shot(clip, f"clips.clip_{number}") for number, clip in enumerate(clips, start=1))
    used = changes.pop("scorer", None) or scorer()
    asked = {"detector": "planted detector"} | changes
    return check(CheckRequest(shots, tuple(map(identity_at, cast)), **asked), find_faces=find, scorer=used)


def numbers(result: CheckResult) -> dict[str, tuple[float, float | None]]:
    return {one.name: (one.score.published, one.score.corrected) for one in result.scores}


def test_facesim_looks_at_its_32_frames_and_compares_them_with_the_photo() -> None:
    clips = film(*[[one] for one in TURN]), film(*[[one] for one in TURN[:20]], [])
    result = checked(*clips, mode=OpenS2V(frame((60, 0))[None]))
    assert [seen.indices for seen in result.watched] == [tuple(i * 39 // 31 for i in range(32)), tuple(range(21))]
    cosines = [[cos_deg(STEP * (i * last // 31)) for i in range(32)] for last in (39, 20)]
    cosines[1] = [cosine for i, cosine in enumerate(cosines[1]) if i * 20 // 31 < 20]  # the last frame has no face
    published = [sum(max(c, 0) for c in row) / len(row) for row in cosines]
    dropped = [sum(above) / len(above) for above in ([c for c in row if c > 0] for row in cosines)]
    corrected = [sum(row) / 32 for row in cosines]
    found = numbers(result)
    for number, arc, cur, honest in zip((1, 2), published, dropped, corrected, strict=True):
        assert found[f"FaceSim-Arc of clip {number}"] == pytest.approx((arc, honest), abs=1e-4)
        assert found[f"FaceSim-Cur of clip {number}"] == pytest.approx((cur, honest), abs=1e-4)
    assert found["FaceSim-Cur of all clips"] == pytest.approx((sum(dropped) / 2, sum(corrected) / 2), abs=1e-4)


def test_facesim_cur_is_measured_with_its_own_recogniser() -> None:
    """Which takes everybody for one person here."""
    alike = Recogniser(lambda chip: torch.ones(3), Space("alike", "0" * 64, "a"), "b")
    shots = (checked_shot(film([(60, 0)], [(60, STEP * 16)]), "clips.clip_1"),)
    request = CheckRequest(shots, (identity_at(0.0),), detector="planted", mode=OpenS2V(frame((60, 0))[None]))
    result = check(request, find_faces=find, scorer=scorer(), chip_scorer=scorer(alike))
    found = numbers(result)
    assert found["FaceSim-Cur of clip 1"][0] == pytest.approx(1)
    assert found["FaceSim-Arc of clip 1"][0] == pytest.approx((31 + cos_deg(STEP * 16)) / 32, abs=1e-4)


CUT = [(face_at(60, 60, 11).points, 1.0), ((9 + 9j,) * 5, 0.0), ((complex("nan"), 1j, 2j, 3j, 4j), 0.0)]


@pytest.mark.parametrize(("points", "likeness"), CUT)
def test_facesim_counts_every_face_that_can_be_cut_however_small(points: tuple[complex, ...], likeness: float) -> None:
    """In an empty frame, whose grey is the shade of the photo's face, something is found."""
    shots = (checked_shot(film([]), "clips.clip_1"),)
    request = CheckRequest(shots, detector="planted", mode=OpenS2V(frame((60, 90))[None]))
    found = [Face((0, 0, 9, 9), points)]
    result = check(request, find_faces=lambda picture: find(picture) or found, scorer=scorer())
    assert numbers(result)["FaceSim-Arc of clip 1"] == pytest.approx((likeness, likeness), abs=1e-3)


NO_PHOTOS = [(torch.zeros(1, 64, 64, 3), "no face in it"), (None, "no photo, and a character without a portrait")]


@pytest.mark.parametrize(("photo", "found"), NO_PHOTOS)
def test_facesim_needs_a_photo_of_a_face(photo: torch.Tensor | None, found: str) -> None:
    with refused("photo", found, "a photo of the face"):
        checked(film([(60, 0)]), mode=OpenS2V(photo))


def test_a_story_is_scored_on_the_frame_in_the_middle_of_each_shot() -> None:
    clips = film([(60, 200)], [(60, 0), (180, 60)], [(60, 200)]), film([(60, 30), (180, 90)])
    result = checked(*clips, cast=(0.0, 60.0), mode=ViStory())
    assert [seen.indices for seen in result.watched] == [(1,), (0,)]
    found = numbers(result)
    assert found["cross of character 1"][0] == pytest.approx((1 + cos_deg(30)) / 2, abs=1e-4)
    assert found["self of character 2"][0] == pytest.approx(cos_deg(30), abs=1e-4)
    assert found["OCCM of the story"][0] == pytest.approx(100)
    assert found["CopyRate of the story"][0] == pytest.approx(0.5, abs=1e-3)


REFUSED = [
    (ViStory(), (), True, "characters", "none", "at least one for vistory"),
    (
        ViStory(),
        (0.0, 60.0),
        False,
        "presence",
        "characters that need not be in every clip",
        "all in every clip for vistory",
    ),
    (OpenS2V(), (), True, "photo", "no photo, and 0 characters", "a photo, or one character"),
    (OpenS2V(), (0.0, 60.0), True, "photo", "no photo, and 2 characters", "a photo, or one character"),
]


@pytest.mark.parametrize(("mode", "cast", "all_expected", "name", "found", "wanted"), REFUSED)
def test_a_cast_that_a_protocol_cannot_score_is_refused_before_a_frame_is_looked_at(
    mode: Any, cast: tuple[float, ...], all_expected: bool, name: str, found: str, wanted: str
) -> None:
    with refused(name, found, wanted):
        CheckRequest((), tuple(map(identity_at, cast)), mode=mode, all_expected=all_expected, detector="planted")


@pytest.mark.parametrize(
    ("mode", "name"),
    [(OpenS2V(frame((60, 0))[None]), "FaceSim-Arc of clip 3"), (ViStory(), "cross of character 2")],
)
def test_clips_and_characters_go_by_the_numbers_of_their_inputs(mode: Any, name: str) -> None:
    shots = (checked_shot(film([(60, 0)]), "clips.clip_3"),)
    asked = {"detector": "planted", "inputs": ("characters.character_2",), "mode": mode}
    result = check(CheckRequest(shots, (identity_at(0.0),), **asked), find_faces=find, scorer=scorer())
    assert name in numbers(result)


def test_a_photo_is_one_picture() -> None:
    with refused("photo", "2 pictures", "one"):
        OpenS2V(torch.zeros(2, 8, 8, 3))


def test_a_face_that_cannot_be_recognised_is_a_person_too_many_in_a_story() -> None:
    def find_one_more(picture: torch.Tensor) -> list[Any]:
        return [*find(picture), sighting(0, 200.0, torch.zeros(8), size=10.0).face]

    shots = (checked_shot(film([(60, 0)]), "clips.clip_1"),)
    request = CheckRequest(shots, (identity_at(0.0),), detector="planted", mode=ViStory())
    found = numbers(check(request, find_faces=find_one_more, scorer=scorer()))
    assert found["OCCM of the story"][0] == pytest.approx(100 * math.exp(-1), abs=1e-3)
    assert found["cross of character 1"][0] == pytest.approx(1)


def test_a_protocol_goes_by_its_name_only_with_its_own_networks() -> None:
    ours = checked(film([(60, 0)]), mode=OpenS2V(frame((60, 0))[None]))
    assert {one.is_published for one in ours.scores} == {False}
    assert ours.notes[-1].code == "other_networks"
    detector = "insightface buffalo_l, det_size 320, det_thresh 0.5"
    arc = Recogniser(RECOGNISER.embed_face, Space("buffalo_l/w600k_r50.onnx", "0" * 64, "iResNet"), "c")
    theirs = checked(film([(60, 0)]), mode=OpenS2V(frame((60, 0))[None]), detector=detector, scorer=scorer(arc))
    assert {one.name: one.is_published for one in theirs.scores if "clip 1" in one.name} == {
        "FaceSim-Arc of clip 1": True,
        "FaceSim-Cur of clip 1": False,
    }
    assert theirs.scores[0].score.protocol.startswith("OpenS2V-Eval FaceSim-Arc: ")
    cur = Space("folder/glint360k_curricular_face_r101_backbone.bin", "0" * 64, "IR")
    assert instruments_of(detector, cur) != opens2v.PUBLISHED_CUR  # a pack of that name is another recogniser
    assert instruments_of(detector, Space(cur.name.split("/")[1], "0" * 64, "IR")) == opens2v.PUBLISHED_CUR
    assert instruments_of(detector, arc.space) != vistory.PUBLISHED


def test_a_look_by_the_rules_of_a_protocol_is_counted_and_can_be_stopped() -> None:
    """The clip has 3 frames; the fifth look is the second of FaceSim."""
    shots = (checked_shot(film(*[[(60, 0)]] * 3), "clips.clip_1"),)
    request = CheckRequest(shots, detector="planted", mode=OpenS2V(frame((60, 0))[None]))
    told: list[int] = []

    def progress(total: int) -> Any:
        assert total == 6

        def tell(done: int) -> None:
            told.append(done)
            if done == 5:
                raise InterruptedError

        return tell

    with pytest.raises(InterruptedError):
        check(request, find_faces=find, scorer=scorer(), progress=progress)
    assert told == [1, 2, 3, 4, 5]


def test_plain_looks_at_evenly_spaced_frames_and_says_how_many() -> None:
    result = checked(film(*[[(60, 0)]] * 9), mode=Plain(3))
    assert result.watched[0].indices == (0, 4, 8)
    assert result.scores == ()
