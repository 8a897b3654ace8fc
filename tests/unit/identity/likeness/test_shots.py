"""The frames of a shot: of pictures and of a film the same ones, and what is no shot, named by its input."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from tests.unit.identity.some_inputs import noise, refused
from tests.unit.media.films import film
from tests.unit.media.films import noise as pictures_of_noise
from wan_core.identity.likeness.shots import checked_shot, frames_of
from wan_core.media import source
from wan_core.media.source import VideoSource


def test_some_frames_are_given_in_order_and_what_follows_is_not_read() -> None:
    read = []

    class Frames:
        def __iter__(self) -> object:
            for number in range(9):
                read.append(number)
                yield noise(4, 4, 3, seed=number)

    shot = checked_shot(noise(9, 4, 4, 3), "clips.clip_1")
    lazily = type(shot)("clips.clip_1", Frames(), 1.0, 9)
    given = list(frames_of(lazily, [1, 5, 3, 3]))
    assert [index for index, _ in given] == [1, 3, 5]
    assert all(torch.equal(picture, noise(4, 4, 3, seed=index)) for index, picture in given)
    assert read == [0, 1, 2, 3, 4, 5]


def test_a_film_is_read_as_its_frames_are(tmp_path: Path) -> None:
    path = film(tmp_path, pictures_of_noise(5), codec="ffv1")
    with VideoSource(str(path)) as video:
        decoded = torch.from_numpy(numpy.stack(list(video))) / 255
        shots = checked_shot(video, "clips.clip_1"), checked_shot(decoded, "clips.clip_2")
        ours, theirs = (list(frames_of(shot, [0, 2, 4])) for shot in shots)
    assert [index for index, _ in ours] == [index for index, _ in theirs] == [0, 2, 4]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.float32), (4, torch.float32), (3, torch.float16)])
def test_grey_alpha_and_half_precision_become_rgb(channels: int, dtype: torch.dtype) -> None:
    clip = noise(2, 6, 5, channels).to(dtype)
    ((_, picture),) = frames_of(checked_shot(clip, "clips.clip_1"), [1])
    wanted = clip[1].expand(-1, -1, 3) if channels == 1 else clip[1, ..., :3]
    torch.testing.assert_close(picture, wanted.float())


KINDS = "images as frames, height, width, channels, or a VIDEO"
NO_SHOTS = [
    (torch.zeros(4, 4, 3), "a tensor of shape (4, 4, 3)", KINDS),
    ("film.mp4", "str", KINDS),
    (torch.zeros(0, 4, 4, 3), "no frame", "at least one"),
    (torch.zeros(1, 4, 4, 2), "2 channels", "1 (grey), 3 (RGB) or 4 (RGBA) channels"),
    (torch.zeros(1, 4, 40, 3), "40 x 4 px", "one side at most 8 times the other"),
    (torch.full((1, 4, 4, 3), torch.nan), "NaN or infinite pixels", "finite pixels"),
    (torch.full((1, 4, 4, 3), 255.0), "pixels from 255 to 255", "pixels from 0 to 1"),
]


@pytest.mark.parametrize(("clip", "found", "wanted"), NO_SHOTS)
def test_what_is_no_shot_is_named_by_its_input(clip: object, found: str, wanted: str) -> None:
    with refused("clips.clip_7", found, wanted):
        next(frames_of(checked_shot(clip, "clips.clip_7"), [0]))


def test_a_film_that_is_too_long_is_named_by_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path, pictures_of_noise(20))
    with VideoSource(str(path)) as video:
        monkeypatch.setattr(source, "LONGEST_S", 1)
        monkeypatch.setattr("wan_core.identity.likeness.shots.LONGEST_S", 1)
        with refused("clips.clip_2", "more than 16 frames at 16 fps", "at most 1 s"):
            checked_shot(video, "clips.clip_2")
