"""What our check says of real people, scored by a recogniser that is not ours, with that one's own threshold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.unit.identity.judge.real_people import CAST, FRIENDS, MAN_WALKS_OFF, PRESIDENT, as_tensor, film_frames
from tests.unit.identity.judge.the_judge import SAME_COS, Judge, as_bytes
from tests.unit.media.films import film
from wan_core.identity import Identity
from wan_core.identity.check import CheckRequest, CheckResult, check
from wan_core.identity.likeness.shots import checked_shot
from wan_core.identity.likeness.verdict import Limits
from wan_core.identity.record import Space
from wan_core.media.source import VideoSource

FRAMES = 2  # of a shot
Change = Callable[[Tensor, Path], Tensor | VideoSource]


CHANGES: dict[str, Change] = {
    "as it is": lambda shot, _folder: shot,
    "crf 23": lambda shot, folder: VideoSource(str(film(folder, [as_bytes(one) for one in shot], quality=23))),
    "half size": lambda shot, _folder: shot[:, ::2, ::2],
    "mirrored": lambda shot, _folder: shot.flip(2),
    "a fifth brighter": lambda shot, _folder: (shot * 1.2).clamp(0, 1),
}


@pytest.fixture(scope="module")
def identities(judge: Judge) -> dict[str, Identity]:
    """Everybody, as another recogniser's identity: the check has to score their crops itself."""
    found = {name: judge.encode(looks[0].picture()).identity for name, looks in CAST.items()}
    return {name: replace(one, space=Space("another", "00" * 32, "IR-SE")) for name, one in found.items()}


@pytest.fixture(scope="module")
def shots(judge: Judge) -> dict[str, Tensor]:
    return {name: looks[-1].shot(FRAMES) for name, looks in CAST.items()}


def checked(judge: Judge, clips: Sequence[Tensor | VideoSource], identities: Sequence[Identity]) -> CheckResult:
    shots = tuple(checked_shot(clip, f"clip {number}") for number, clip in enumerate(clips, start=1))
    request = CheckRequest(shots, tuple(identities), Limits(SAME_COS, SAME_COS), detector=judge.label)
    return check(request, find_faces=judge.detect, scorer=judge.scorer())


def strangers(result: CheckResult) -> set[int]:
    """The clips, from 1, in which another person was seen."""
    texts = (failure.text for failure in result.failures if failure.code == "unlike")
    return {int(text.split("clip ")[1].split(":")[0]) for text in texts}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_people_are_told_apart_whatever_is_done_to_a_shot(
    judge: Judge, identities: dict[str, Identity], shots: dict[str, Tensor], change: Change, tmp_path: Path
) -> None:
    clips = [change(shot, tmp_path) for shot in shots.values()]
    everybody = set(range(1, len(CAST) + 1))
    for number, name in enumerate(CAST, start=1):
        result = checked(judge, clips, [identities[name]])
        (likeness,) = result.likenesses
        assert likeness.found == likeness.frames == FRAMES * len(CAST)
        assert strangers(result) == everybody - {number}, name
        assert checked(judge, [clips[number - 1]], [identities[name]]).passed


def test_a_stranger_in_one_of_four_clips_is_named(judge: Judge, identities: dict[str, Identity]) -> None:
    clips = [*(look.shot(FRAMES) for look in PRESIDENT), CAST["vice president"][0].shot(FRAMES)]
    result = checked(judge, clips, [identities["president"]])
    (likeness,) = result.likenesses
    assert strangers(result) == {4}
    assert {pair.shots for pair in likeness.pairs if pair.cosine < SAME_COS} == {(0, 3), (1, 3), (2, 3)}
    assert [failure.code for failure in result.failures] == ["unlike", "clips_differ"]
    assert likeness.shot_trend.slope < 0
    assert checked(judge, clips[:3], [identities["president"]]).passed
    without_character = checked(judge, clips, [])
    assert [failure.code for failure in without_character.failures] == ["clips_differ", "drifts"]
    assert " of clip 4 " in without_character.failures[1].text


def test_a_face_is_found_until_the_film_cuts_away_from_it(judge: Judge, identities: dict[str, Identity]) -> None:
    frames = islice(film_frames(MAN_WALKS_OFF, 0, 160), 0, None, 12)
    clip = torch.stack([as_tensor(frame.resize((400, 224))) for frame in frames])
    cut = int((clip[1:] - clip[:-1]).abs().mean(dim=(1, 2, 3)).argmax()) + 1
    result = checked(judge, [clip], [identities["man"]])
    (likeness,) = result.likenesses
    assert [sighting is not None for sighting in likeness.shots[0].sightings] == [k < cut for k in range(len(clip))]
    assert likeness.found_rate == pytest.approx(cut / len(clip))
    assert [failure.code for failure in result.failures] == ["face_lost"]


@pytest.mark.parametrize("order", [("first friend", "second friend"), ("second friend", "first friend")])
def test_two_of_five_people_are_followed_at_once(
    judge: Judge, identities: dict[str, Identity], order: tuple[str, str]
) -> None:
    """The camera moves to the right; beside the first sits one whom dlib takes for her, and who is nobody here."""
    photo, camera = Image.open(FRIENDS), numpy.linspace(0, 120, 4)
    windows = [(left, 30, left + 860, 655) for left in camera]
    clip = torch.stack([as_tensor(photo.resize((688, 500), Image.Resampling.BICUBIC, window)) for window in windows])
    result = checked(judge, [clip], [identities[name] for name in order])
    assert result.passed
    for name, likeness in zip(order, result.likenesses, strict=True):
        left, _, right, _ = CAST[name][0].box
        for sighting, at in zip(likeness.shots[0].sightings, camera, strict=True):
            assert (left - at) * 688 / 860 < sighting.face.centre.real < (right - at) * 688 / 860
    assert [len(track.sightings) for track in result.castings[0].others] == [len(camera)] * 3
