"""Whether the cast was kept, through the door: planted films with known people, drift, swaps and losses."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch

from tests.unit.identity.planted import (
    OTHER_SPACE,
    SPACE,
    Person,
    cos_deg,
    direction_at,
    film,
    find,
    identity_at,
    scorer,
    vector_of,
)
from tests.unit.identity.some_inputs import refused
from wan_core.identity import CheckRequest, CheckResult, Limits, check
from wan_core.identity.check_report import describe, plot, sheet
from wan_core.identity.likeness.known import know
from wan_core.identity.likeness.shots import checked_shot
from wan_core.identity.recogniser import Recogniser
from wan_core.identity.record import Identity

HERE, THERE = 60.0, 180.0


def still(*people: Person, frames: int = 4) -> list[tuple[Person, ...]]:
    return [people] * frames


def crossing(one: float, other: float, frames: int = 16) -> list[list[Person]]:
    """Two people who change places; in the middle one hides the other."""
    step = (THERE - HERE) / (frames - 1)
    return [[(HERE + step * i, one), (THERE - step * i, other)] for i in range(frames)]


def request(*clips: list[Any], cast: tuple[float, ...] = (10.0,), **changes: Any) -> CheckRequest:
    shots = tuple(checked_shot(film(*clip), f"clips.clip_{number}") for number, clip in enumerate(clips, start=1))
    return CheckRequest(shots, tuple(map(identity_at, cast)), detector="planted detector", **changes)


def checked(*clips: list[Any], **changes: Any) -> CheckResult:
    return check(request(*clips, **changes), find_faces=find, scorer=scorer())


def test_one_person_in_three_clips_is_kept() -> None:
    result = checked(still((HERE, 10)), still((THERE, 20)), still((HERE, 0)))
    assert result.passed
    assert [note.code for note in result.notes] == ["copying_unknown"]  # a plain square is its own mirror image
    assert checked(still((HERE, 10)), cast=(10,), limits=Limits(warn_copy_rate=1.0)).notes == ()
    assert result.mean == pytest.approx((1 + 2 * cos_deg(10)) / 3, abs=1e-4)
    assert result.minimum == pytest.approx(cos_deg(10), abs=1e-4)
    assert result.found_rate == 1.0
    assert [pair.cosine for pair in result.likenesses[0].pairs] == pytest.approx(
        [cos_deg(10), cos_deg(10), cos_deg(20)], abs=1e-4
    )


FAILURES = {  # name: clips, cast, what else is asked, the codes of what is wrong
    "no face": ([still()], (10,), {}, ["no_face"]),
    "another person": ([still((HERE, 10)), still((HERE, 100))], (10,), {}, ["unlike", "clips_differ"]),
    "two people swapped": (
        [still((HERE, 10), (THERE, 100)), still((HERE, 200), (THERE, 300))],
        (10, 100),
        {},
        ["unlike"] * 2 + ["clips_differ"] * 2,
    ),
    "one of two missing": (
        [still((HERE, 10)), still((HERE, 10), (THERE, 100))],
        (10, 100),
        {},
        ["not_seen"],
    ),
    "nobody in one clip": ([still((HERE, 10)), still()], (10,), {}, ["not_seen"]),
    "one seen nowhere": ([still((HERE, 10))], (10, 100), {"all_expected": False}, ["not_seen"]),
    "a drift inside a clip": ([still((HERE, 10), frames=16) + still((HERE, 80), frames=9)], (10,), {}, ["drifts"]),
    "a drift without a character": (
        [[((HERE, 10.0 * number),) for number in range(19)], still((HERE, 90))],
        (),
        {},
        ["drifts"],
    ),
    "one clip and nobody to compare with": ([still((HERE, 10))], (), {}, ["nothing_compared"]),
    "one clip with a face, and nobody to compare with": (
        [still((HERE, 10)), still()],
        (),
        {},
        ["nothing_compared", "not_seen"],
    ),
    "a face lost": ([still((HERE, 10), frames=4) + still(frames=4)], (10,), {}, ["face_lost"]),
    "replaced on the way": ([still((HERE, 10), frames=4) + still((HERE, 190), frames=4)], (10,), {}, ["face_lost"]),
    "clips that differ, without a character": ([still((HERE, 0)), still((HERE, 100))], (), {}, ["clips_differ"]),
    "a drift": ([still((HERE, 10 + 25 * i)) for i in range(4)], (10,), {}, ["unlike", "clips_differ"]),
    "a stricter limit": ([still((HERE, 40))], (10,), {"limits": Limits(min_likeness=0.9)}, ["unlike"]),
}


@pytest.mark.parametrize(("clips", "cast", "changes", "codes"), FAILURES.values(), ids=FAILURES)
def test_what_is_wrong_fails_in_words(
    clips: list[Any], cast: tuple[float, ...], changes: Any, codes: list[str]
) -> None:
    result = checked(*clips, cast=cast, **changes)
    assert [failure.code for failure in result.failures] == codes
    assert not result.passed
    assert describe(result).startswith(f"not passed: {result.failures[0].text}\n")


def test_a_drift_says_how_many_frames_kept_the_face() -> None:
    """Two frames may be lost and one may be unlike, but not all three."""
    clip = still((HERE, 10), frames=17) + still((HERE, 80))[:1] + still(frames=2)
    (failure,) = checked(clip, cast=(10,)).failures
    wanted = "character 1 is as alike as wanted in 17 of 20 frames of clip 1 (85%), wanted 90%; least 0.342"
    assert failure.text == wanted


PASSES = {
    "two people who cross": ([crossing(10, 130)], (10, 130), {"limits": Limits(min_face_found=0.5)}),
    "two people in turn": ([still((HERE, 10)), still((HERE, 100))], (10, 100), {"all_expected": False}),
    "a passer-by": ([still((HERE, 10), (THERE, 200))], (10,), {}),
    "one person and no character": ([still((HERE, 10)), still((THERE, 20))], (), {}),
    "one frame": ([still((HERE, 10), frames=1)], (10,), {}),
    "as many frames as are wanted": (
        [still((HERE, 10), frames=14) + still(frames=11)],
        (10,),
        {"limits": Limits(min_face_found=0.56)},  # times 25 it is more than 14 in floating point
    ),
}


@pytest.mark.parametrize(("clips", "cast", "changes"), PASSES.values(), ids=PASSES)
def test_what_is_right_passes(clips: list[Any], cast: tuple[float, ...], changes: Any) -> None:
    result = checked(*clips, cast=cast, **changes)
    assert result.failures == ()
    assert all(cosine > 0.99 for one in result.likenesses for cosine in one.cosines)


def test_people_who_cross_keep_their_own_cosines_through_the_crossing() -> None:
    """Whoever is in front is always found; nobody gets the face of the other."""
    result = checked(crossing(10, 130), cast=(10, 130))
    back, front = result.likenesses
    assert front.found == 16 and 4 <= back.found < 16
    assert min(back.minimum, front.minimum) == pytest.approx(1, abs=1e-3)


def test_a_known_drift_over_the_clips_has_its_slope() -> None:
    degrees = [0.0, 10.0, 20.0, 30.0]
    result = checked(*[still((HERE, one)) for one in degrees], cast=(0.0,))
    mean = sum(map(cos_deg, degrees)) / 4
    slope = sum((i - 1.5) * (cos_deg(one) - mean) for i, one in enumerate(degrees)) / 5
    assert result.likenesses[0].shot_trend.slope == pytest.approx(slope, abs=1e-4)
    assert f"; slope {slope:+.4f} a clip (n=4)" in describe(result)


# The space


def test_an_identity_of_the_scorer_brings_its_own_vectors_and_the_report_says_so() -> None:
    """Its crops would point elsewhere."""
    shots = (checked_shot(film(*still((HERE, 50))), "clips.clip_1"),)
    own = identity_at(120.0, space=SPACE, z_degrees=50.0)
    wide = Recogniser(lambda crop: torch.nn.functional.pad(vector_of(crop), (0, 504)), SPACE, "planted")
    result = check(CheckRequest(shots, (own,), detector="planted"), find_faces=find, scorer=scorer(wide))
    assert result.mean == pytest.approx(1, abs=1e-4)
    assert result.notes[0].code == "same_recogniser"


def test_an_identity_of_another_space_is_compared_by_its_crops_alone() -> None:
    """Its own vectors have another width, and point elsewhere."""
    shots = (checked_shot(film(*still((HERE, 50))), "clips.clip_1"),)
    other = identity_at(40.0, 60.0, z_degrees=200.0)
    result = check(CheckRequest(shots, (other,), detector="planted"), find_faces=find, scorer=scorer())
    torch.testing.assert_close(result.cast[0].vector, direction_at(50), atol=1e-4, rtol=0)
    assert result.mean == pytest.approx(1, abs=1e-4)
    assert OTHER_SPACE.name not in describe(result)
    assert "same_recogniser" not in [note.code for note in result.notes]


def test_copying_is_told_by_the_first_reference_and_its_mirror_image() -> None:
    sides = Recogniser(lambda crop: torch.stack([crop[:, :56].mean(), crop[:, 56:].mean()]), SPACE, "planted")
    one, two = identity_at(10.0, 20.0), torch.zeros(2, 112, 112, 3)
    two[0, :, 56:] = two[1, :, :56] = 1.0
    known = know(replace(one, crops=two), "characters.character_3", sides)
    assert (known.references.tolist(), known.mirrored.tolist()) == ([[0, 1], [1, 0]], [1, 0])
    assert known.label == "character 3"


def faceless() -> Identity:
    """An identity of a whole picture."""
    nothing, picture = torch.zeros(0, 512), torch.zeros(512, 512, 3)
    return Identity(None, nothing, nothing, torch.zeros(0, 112, 112, 3), None, picture, (), None)


@pytest.mark.parametrize("name", ["min_likeness", "min_cross_clip", "min_face_found", "warn_copy_rate"])
@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_a_limit_that_is_none_is_refused(name: str, value: float) -> None:
    most = 0.99 if name in ("min_likeness", "min_cross_clip") else 1
    with refused(name, repr(value), f"a number from 0 to {most}"):
        Limits(**{name: value})


# What is told and shown


def test_clips_and_characters_keep_the_numbers_of_their_inputs() -> None:
    """Nothing is connected to the second clip and to the first character."""
    shots = tuple(
        checked_shot(film(*still((HERE, one))), f"clips.clip_{number}") for number, one in ((1, 10), (3, 100))
    )
    asked = {"detector": "planted", "inputs": ("characters.character_2",)}
    result = check(CheckRequest(shots, (identity_at(10.0),), **asked), find_faces=find, scorer=scorer())
    assert [failure.text.split(":")[0] for failure in result.failures] == [
        "character 2 is too unlike in clip 3",
        "character 2 differs between clip 1 and clip 3",
    ]
    assert "clip 3: 4 of 4 frames looked at" in describe(result)
    with refused(
        "characters.character_2",
        "an identity without an aligned face, made of a whole picture or without a recogniser",
        "one with faces that a recogniser can compare",
    ):
        check(CheckRequest(shots, (faceless(),), **asked), find_faces=find, scorer=scorer())


def test_one_identity_that_is_connected_twice_is_remarked_on() -> None:
    result = checked(still((HERE, 10), (THERE, 90)), cast=(10.0, 90.0, 10.0))
    (note,) = (note for note in result.notes if note.code == "connected_twice")
    assert note.text.startswith("character 1 and character 3 are one identity")
    assert [failure.text for failure in result.failures] == ["character 3 is not seen in clip 1"]


def test_an_unlike_face_is_not_called_a_copy() -> None:
    likeness = checked(still((HERE, 120)), limits=Limits(warn_copy_rate=0.4))
    assert [note.code for note in likeness.notes] == ["unlike_frames"]


def test_a_scorer_that_makes_no_vectors_is_named_by_its_input() -> None:
    broken = Recogniser(lambda crop: torch.full((8,), torch.nan), SPACE, "planted")
    found = "an embedding of length nan from 'planted.bin' for face 1"
    with refused("scorer", found, "finite embeddings"):
        check(request(still((HERE, 10))), find_faces=find, scorer=scorer(broken))


def test_progress_counts_the_frames_that_are_looked_at() -> None:
    told: list[int] = []
    totals = []

    def progress(total: int) -> Any:
        totals.append(total)
        return told.append

    check(request(still((HERE, 0)), still(frames=3)), find_faces=find, scorer=scorer(), progress=progress)
    assert (totals, told) == ([7], list(range(1, 8)))


def test_an_interrupted_check_stops_at_that_frame() -> None:
    class Stopped(Exception):
        pass

    looked = count(1)

    def interrupt(done: int) -> None:
        next(looked)
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        check(request(still((HERE, 0))), find_faces=find, scorer=scorer(), progress=lambda total: interrupt)
    assert next(looked) == 3


def test_the_report_says_every_number_and_what_there_is_no_data_for() -> None:
    clips = still((HERE, 10), (THERE, 200)) + still(), still((HERE, 30)), still((HERE, 100))
    report = describe(checked(*clips, limits=Limits(warn_copy_rate=0.4)))
    for line in (
        "not passed: character 1 is too unlike in clip 3: likeness 0.000, wanted 0.40 or more",
        "failed: character 1 differs between clip 1 and clip 3: likeness 0.000, wanted 0.40 or more",
        "failed: the face of character 1 was found in 4 of 8 frames of clip 1 (50%), wanted 90%",
        "scorer: planted.bin (planted), sha256 abababababab; faces: planted detector",
        "clip 1: 8 of 8 frames looked at, faces in 4 of them",
        "character 1: likeness mean 0.647, minimum 0.000, strict mean (no face counts 0) 0.485; "
        "face in 12 of 16 frames",
        "  likeness in clip 1 by frame: 1: 1.000, 2: 1.000, 3: 1.000, 4: 1.000, 5: -, 6: -, 7: -, 8: -",
        "  mean of clip 1 1.000, clip 2 0.940, clip 3 0.000; slope -0.5000 a clip (n=3)",
        "  CopyRate 0.500: a face of its own has 0.500, the reference photo itself 0.500",
        "  between clips: mean 0.427, minimum 0.000 of 3 pairs; to the mean of all clips 0.786",
        "  likeness of two clips: 1 apart 0.641 (n=2), 2 apart 0.000 (n=1); slope -0.6409 a clip of distance (n=3)",
        "note: the faces of character 1 may be its reference photo pasted in: CopyRate 0.50, "
        "where 0.50 is a face of its own",
        "note: character 1 is less alike than wanted in 4 of 12 frames with its face, least 0.000",
        "note: clip 1 shows a face that is nobody's of the cast in 4 of 8 frames",
    ):
        assert line in report.replace("-0.000", "0.000").splitlines()
    assert "CP" not in report.replace("CopyRate", "")
    one = checked(still((HERE, 10)))
    pasted = replace(one, likenesses=(replace(one.likenesses[0], copy_paste=0.25),))
    assert "  CP 0.250 (1: the first photo itself, -1: another photo of the person)" in describe(pasted).splitlines()
    alone = describe(checked(still((HERE, 10)), cast=()))
    assert "the person: face in 4 of 4 frames" in alone
    assert "between clips: no data, it is seen in fewer than two" in alone


def test_the_report_of_a_hostile_file_name_is_plain_text() -> None:
    odd = Recogniser(vector_of, type(SPACE)("a\n\x1b[31m\u202e.bin", "ab" * 32, "c"), "d")
    result = check(request(still((HERE, 0))), find_faces=find, scorer=scorer(odd))
    assert re.search(r"[^\n -~]", describe(result)) is None
    assert r"scorer: a\n\x1b[31m\u202e.bin (c)" in describe(result)


SHOWN = {  # name: clips, cast, cells in each row
    "a face kept": ([still((HERE, 10), frames=1)], (10,), [2]),
    "many faces and lost ones": ([still((HERE, 10), frames=40) + still(frames=2)], (10,), [9]),
    "two characters": ([still((HERE, 10), (THERE, 100), frames=1)], (10, 100), [2, 2]),
    "no face": ([still(frames=1)], (10,), [2]),
    "no character": ([still((HERE, 10), frames=1)], (), [1]),
}


@pytest.mark.parametrize(("clips", "cast", "cells"), SHOWN.values(), ids=SHOWN)
def test_chart_and_sheet_are_pictures_of_what_there_is(
    clips: list[Any], cast: tuple[float, ...], cells: list[int]
) -> None:
    result = checked(*clips, cast=cast)
    chart, contact = plot(result), sheet(result)
    assert chart.shape == (1, 360, 960, 3)
    assert contact.shape == (1, 12 + len(cells) * 242, 12 + max(cells) * 204, 3)
    for picture in (chart, contact):
        assert picture.min() >= 0 and picture.max() <= 1 and picture.std() > 0


TURNS = {  # name: the degrees of each frame of each clip, and those of the cells
    "a frame a clip": ([[0], [80], [40], [20], [60], [70]], [0, 0, 80, 70, 60, 40, 20]),
    "no two of a clip that follow each other": ([[2 * number for number in range(40)]], [0, 0, 78, 70, 62, 54, 46, 38]),
}


@pytest.mark.parametrize(("turns", "cells"), TURNS.values(), ids=TURNS)
def test_the_sheet_shows_the_reference_the_best_and_the_worst_faces(
    turns: list[list[float]], cells: list[float]
) -> None:
    """Each cell shows the colour of its face in its middle."""
    result = checked(*[[((HERE, one),) for one in clip] for clip in turns], cast=(0.0,))
    shown = sheet(result)[0]  # h w 3
    degrees = [float(shown[12 + 74, 12 + 204 * cell + 96, 1]) * 360 for cell in range(len(cells))]
    assert degrees == pytest.approx(cells, abs=2)
