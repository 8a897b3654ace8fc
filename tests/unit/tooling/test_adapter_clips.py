"""Folders of clips: what is refused, which frames are read, and where faces lie in what an adapter is trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from devtools.adapter_clips import ClipEncoders, ClipForm, EncodedClips, brought_into, find_clips, frames_of, own_face
from tests.unit.media.films import film
from tests.unit.training.some_clips import POINTS
from wan_core.errors import InputError
from wan_core.identity.faces import Face, face_of_points

FORM = ClipForm(64, 32, 5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two persons with two clips each: squares that are brighter with each frame, at twice Wan's frame rate."""
    for name in ("ann/1", "ann/2", "bob/1", "bob/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames = [np.full((96, 160, 3), 20 * index, dtype=np.uint8) for index in range(10)]
        shutil.move(film(tmp_path, frames, fps=Fraction(32), quality=1), tmp_path / f"{name}.mp4")
        (tmp_path / f"{name}.txt").write_text(f"clip {name}\n", encoding="utf-8")
    return tmp_path


def clear(path: Path) -> None:
    path.write_text(" \n", encoding="utf-8")


SPOILED: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: shutil.rmtree(folder), "clips: found no folder"),
    (lambda folder: [shutil.rmtree(folder / name) for name in ("ann", "bob")], "clips: found no video in the folders"),
    (lambda folder: (folder / "bob/1.txt").unlink(), "clips: found 1 clips without a caption, as 'bob/1.mp4'; wanted"),
    (lambda folder: clear(folder / "ann/2.txt"), "clips: found 1 clips without a caption, as 'ann/2.mp4'; wanted"),
    (
        lambda folder: (folder / "bob/1.mp4").unlink(),
        "clips: found one clip alone of 'bob'; wanted two clips",
    ),
    (lambda folder: (folder / "bob/1.txt").write_bytes(b"\xff"), "clips: found a caption '1.txt' that is no UTF-8"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILED)
def test_a_folder_that_cannot_be_trained_on_is_refused(
    folder: Path, spoil: Callable[[Path], object], message: str
) -> None:
    clips = [(clip.person, clip.caption) for clip in find_clips(folder)]
    assert clips[1:3] == [("ann", "clip ann/2"), ("bob", "clip bob/1")]
    spoil(folder)
    with pytest.raises(InputError, match=message):
        find_clips(folder)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ((60, 32, 5), "size: found 60x32; wanted multiples of 16"),
        ((64, 0, 5), "size: found 64x0; wanted multiples of 16"),
        ((64, 32, 6), "frames: found 6; wanted 1, 5, 9, 13"),
        ((64, 32, -3), "frames: found -3; wanted 1, 5, 9, 13"),
    ],
)
def test_a_form_that_wan_does_not_have_is_refused(form: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClipForm(*form)


def test_frames_are_those_of_wans_frame_rate(folder: Path) -> None:
    frames = torch.stack(list(frames_of(find_clips(folder)[0], FORM)))
    assert frames.shape == (5, 96, 160, 3)
    assert (frames.mean(dim=(1, 2, 3)) * 255 / 20).tolist() == pytest.approx([0, 2, 4, 6, 8], abs=0.2)


def test_a_clip_that_cannot_be_read_is_named(folder: Path) -> None:
    clip = find_clips(folder)[0]
    with pytest.raises(InputError, match="1.mp4: clips: found a film of 0.3 s; wanted 0.6 s or more"):
        list(frames_of(clip, replace(FORM, frames=9)))
    clip.path.write_bytes(b"no video")
    with pytest.raises(InputError, match="1.mp4: frames: found a file that does not open"):
        list(frames_of(clip, FORM))


@pytest.mark.parametrize("size", [(64, 32), (96, 160), (50, 41)])
def test_a_point_goes_where_its_pixel_does(size: tuple[int, int]) -> None:
    width, height = size
    x, y = width // 2 + 3, height // 2 - 4
    picture = torch.zeros(height, width, 3)
    picture[y, x] = 1
    fitted, place = brought_into(picture, FORM)
    assert fitted.shape == (32, 64, 3)
    weights = fitted[..., 0] / fitted[..., 0].sum()
    found = complex((weights.sum(0) * torch.arange(64)).sum(), (weights.sum(1) * torch.arange(32)).sum())
    assert abs(found - place(complex(x, y))) < 0.3


# Examples


def found_faces(picture: Tensor) -> list[Face]:
    """A face where POINTS say, and a smaller one beside it, in every picture that is not black."""
    large = [complex(3 * x + 20, 3 * y) for x, y in POINTS]
    small = [complex(2 * x + 90, 2 * y) for x, y in POINTS]
    return [face_of_points(tuple(points)) for points in (small, large)] if picture.mean() > 0.1 else []


def encoders(seen: list[str], **changes: object) -> ClipEncoders:
    def text(caption: str) -> Tensor:
        seen.append(caption)
        return torch.full((3, 4), float(len(caption)))

    parts = {"frames": lambda frames: frames[::4, ::8, ::8].movedim(-1, 0), "given": lambda frames, latents: None}
    parts |= {"text": text, "faces": found_faces, "recogniser": lambda crop: crop.mean((0, 1)).repeat(2)}
    return ClipEncoders(**parts | {"supervising": None, "names": "a"} | changes)


def test_an_example_says_where_the_largest_face_lies_and_is_made_once(folder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    clips = find_clips(folder)
    made = EncodedClips(tmp_path / "kept", clips, FORM, encoders(seen))
    example = made.clip(0)
    assert example.latent.shape == (3, 2, 4, 8) and example.text[0, 0] == len("clip ann/1") and example.given is None
    assert example.boxes[0].isnan().all() and example.points[:4].isnan().all()  # the first frame is black
    seen_at = torch.tensor(POINTS) * 3 + torch.tensor([20.5, 0.5])  # in a film of 160 x 96, which becomes 64 x 38
    wanted = seen_at * torch.tensor([0.4, 38 / 96]) - torch.tensor([0.5, 3.5])
    torch.testing.assert_close(example.points[4], wanted, rtol=0, atol=1e-4)
    inside = (example.points[4] / 8 >= example.boxes[1, :2]) & (example.points[4] / 8 <= example.boxes[1, 2:])
    assert inside.all() and example.embedding.norm().item() == pytest.approx(1)
    told = [f"clip {name}" for name in ("ann/1", "ann/2", "bob/1", "bob/2")]
    assert seen == ["", *told]
    EncodedClips(tmp_path / "kept", clips, FORM, encoders(seen))
    assert seen == ["", *told, ""]
    EncodedClips(tmp_path / "kept", [replace(clips[0], caption="new"), *clips[1:]], FORM, encoders(seen))
    EncodedClips(tmp_path / "kept", clips, FORM, encoders(seen, names="b"))
    assert seen == ["", *told, "", "", "new", "", *told]


def test_a_face_is_followed_from_the_largest_one_on() -> None:
    small, large = found_faces(torch.ones(1))
    assert own_face([small, large], None) is large and own_face([small, large], small.centre + 3) is small
    assert own_face([], None) is own_face([], 0j) is None


def faces_at(shift: complex) -> Callable[[Tensor], list[Face]]:
    """The large face of ``found_faces`` elsewhere."""
    return lambda picture: [face_of_points(tuple(point + shift for point in found_faces(torch.ones(1))[1].points))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"faces": lambda picture: []}, "clips: found no face in '1.mp4' of 'ann'; wanted a face in every clip"),
        ({"faces": faces_at(-80 + 0j)}, "clips: found no face in '1.mp4' of 'ann'"),  # it is cut
        (
            {"text": lambda caption: torch.ones(max(3, len(caption)), 4)},
            "clips: found a caption of 10 tokens beside '1.mp4' of 'ann'; wanted at most 3",
        ),
    ],
)
def test_a_clip_that_shows_no_face_or_says_too_much_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        EncodedClips(tmp_path, find_clips(folder), FORM, encoders([], **changes))
    assert not list(tmp_path.glob("*.safetensors"))
