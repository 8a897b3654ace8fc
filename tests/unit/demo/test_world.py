"""The drawn world: what its clips show is what they say."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch

from demo import world

PLAIN = {"style": "film", "light": "daylight", "camera": "stands still", "scene": "room", "framing": "close-up"}


def one(index: int, seed: int = 1, frames: int = 1, **words: str) -> world.Clip:
    """A clip of one test person."""
    return world.film((world.person("test", index),), world.shot(seed, **PLAIN | words), frames)


@pytest.mark.parametrize(("scene", "camera"), list(zip(world.SCENES, cycle(world.CAMERAS), strict=False)))
def test_a_part_of_a_film_is_the_same_frames(scene: str, camera: str) -> None:
    people, shot = (world.person("test", 4), world.person("test", 5)), world.shot(8, scene=scene, camera=camera)
    whole = world.film(people, shot, frames=9)
    part = world.film(people, shot, frames=3, first_frame=2, every=3)
    assert (part.frames.int() - whole.frames[2::3].int()).abs().max() <= 1  # a sine may differ in its last bit
    assert torch.allclose(part.points, whole.points[2::3], atol=1e-3)
    assert torch.allclose(part.boxes, whole.boxes[2::3], atol=1e-3)


def test_no_two_people_are_alike() -> None:
    people = [world.person(split, index) for split in world.SPLITS for index in range(300)]
    looks = np.array([(*person.skin, *person.hair, *person.iris, person.jaw, person.eye_gap) for person in people])
    apart = np.abs(looks[:, None] - looks[None]).max(-1) + np.eye(len(people))
    assert apart.min() > 1e-3


def test_a_person_is_the_same_in_other_clothes() -> None:
    seen = one(3, garment="coat", colour="red")
    other = one(3, garment="hoodie", colour="green")
    left, top, right, bottom = (int(value) for value in seen.boxes[0, 0])
    face = slice(top, bottom - 16), slice(left, right)
    assert torch.equal(seen.frames[0][face], other.frames[0][face])
    assert not torch.equal(seen.frames, other.frames)


@pytest.mark.parametrize("index", range(12))
def test_the_points_of_the_eyes_are_where_the_pupils_are(index: int) -> None:
    look = replace(world.person("test", index), fringe=-0.78, parting=0.0, glasses=0.0, skin=(1.0, 0.9, 0.8))
    take = replace(world.shot(0, **PLAIN, action="nods", expression="calm"), take=world.portrait(look).shots[0].take)
    clip = world.film((look,), take, frames=1, size_px=192)
    grey = clip.frames[0].float().mean(-1)
    for x, y in clip.points[0, 0, :2].tolist():
        radius = round(0.3 * look.eye_size * 0.3 * 192)
        around = grey[int(y) - 9 : int(y) + 10, int(x) - 9 : int(x) + 10]
        middle = grey[int(y) - radius : int(y) + radius + 1, int(x) - radius : int(x) + radius + 1]
        assert middle.min() < 60 and middle.mean() < around.mean()


def test_the_mouth_opens_as_far_as_it_says() -> None:
    clip = one(6, action="talks", frames=33)
    still = clip.frames[int(clip.mouths.argmin())].float()
    corners = clip.points[:, 0, 3:].mean(dim=1)
    changes = [
        (frame.float() - still)[int(y) - 3 : int(y) + 9, int(x) - 8 : int(x) + 8].abs().mean().item()
        for frame, (x, y) in zip(clip.frames, corners.tolist(), strict=True)
    ]
    assert np.corrcoef(changes, clip.mouths[:, 0].numpy())[0, 1] > 0.8


def test_faces_are_from_14_to_60_px_high_and_in_the_picture() -> None:
    clips = [one(index, seed=index, framing=framing) for index in range(16) for framing in world.FRAMINGS]
    boxes = torch.cat([clip.boxes[:, 0] for clip in clips])
    heights = boxes[:, 3] - boxes[:, 1]
    assert 12 < heights.min() < 16 and 50 < heights.max() < 64
    points = torch.cat([clip.points.flatten(0, 2) for clip in clips])
    assert points.min() > 0 and points.max() < world.SIZE_PX


@pytest.mark.parametrize(
    "field", ["garment", "colour", "action", "scene", "style", "light", "framing", "camera", "expression"]
)
def test_every_word_of_a_shot_changes_the_caption_and_the_picture(field: str) -> None:
    words = {"garment": world.GARMENTS, "colour": world.COLOURS, "action": world.ACTIONS, "scene": world.SCENES}
    words |= {"style": world.STYLES, "light": world.LIGHTS, "framing": world.FRAMINGS, "camera": world.CAMERAS}
    words |= {"expression": world.EXPRESSIONS}
    clips = [world.film((world.person("test", 1),), world.shot(5, **{field: word}), frames=5) for word in words[field]]
    for language in world.LANGUAGES:
        assert len({clip.caption(language) for clip in clips}) == len(clips)
    assert len({clip.frames.numpy().tobytes() for clip in clips}) == len(clips)


def test_a_caption_reads_in_both_languages() -> None:
    people = (replace(world.person("test", 1), sex="woman"), replace(world.person("test", 2), sex="man"))
    words = {"garment": "coat", "colour": "orange", "action": "shakes the head", "expression": "happy"}
    shot = world.shot(5, **PLAIN, **words)
    assert world.caption(people[:1], (shot,)) == (
        "film, close-up of a woman in an orange coat who shakes the head in a room, happy, in daylight, "
        "the camera stands still"
    )
    two = world.caption(people, (shot, replace(shot, garment="suit", colour="blue")))
    assert two.startswith("film, close-up of a woman in an orange coat and a man in a blue suit who shake the head in")
    chinese = world.caption(people[:1], (shot,), "zh")
    assert "\u6a59\u8272\u5927\u8863\u7684\u5973\u4eba" in chinese and not any(letter.isascii() for letter in chinese)


def test_an_unknown_word_is_named() -> None:
    with pytest.raises(ValueError, match="scene: 'moon' is none of beach, forest"):
        world.shot(1, scene="moon")
