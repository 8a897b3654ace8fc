"""A shot with its actors, as a clip whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .body import body_below
from .canvas import Canvas, Place
from .captions import Language, caption
from .features import paint_back_hair, paint_head
from .garments import CLOTHS, paint_dressed
from .head import Head
from .looks import LIGHTS, lit, neon, sketch
from .motion import FPS, Pose, poses
from .person import Person
from .scenes import MOVING_SCENES, PLACES, Stage
from .shot import COLOURS, GARMENTS, SIZE_PX, Shot, Take, shot

FRAMES = 17
HEAD_Y = {"close-up": 0.47, "medium shot": 0.38, "wide shot": 0.26}  # shares of the picture
PAIR_X, PAIR_SHARE = (0.27, 0.73), 0.72  # where two stand, and how much smaller they are than one
PAIR_LAG = 2.1  # radians by which the second one's movements are late


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A drawn clip and what is in it."""

    frames: Tensor  # f h w 3, uint8
    boxes: Tensor  # f p 4, px: left, top, right, bottom of each face, from the hairline to the chin
    points: Tensor  # f p 5 2, px: eyes, nose tip and corners of the mouth, the left of the picture first
    mouths: Tensor  # f p, opening 0..1
    people: tuple[Person, ...]
    shots: tuple[Shot, ...]  # one a person; they differ in garment and colour only

    def caption(self, language: Language = "en") -> str:
        """What the caption says about the clip."""
        return caption(self.people, self.shots, language)


def film(
    people: Sequence[Person],
    shot_: Shot,
    frames: int = FRAMES,
    *,
    first_frame: int = 0,
    every: int = 1,
    size_px: int = SIZE_PX,
) -> Clip:
    """The clip of a shot with one or two people beside each other: every ``every``-th frame at 16 fps."""
    shots = (shot_,) if len(people) == 1 else (shot_, _partner(shot_))
    time_s = (first_frame + every * torch.arange(frames)) / FPS
    all_poses = [poses(shot_, time_s, lag=PAIR_LAG * place) for place in range(len(people))]
    canvas = Canvas(frames, size_px)
    canvas.pixels[:] = _backdrop(shot_, all_poses[0], time_s, size_px)
    heads = [
        Head(person, pose, _place(shot_, pose, size_px, number, len(people)))
        for number, (person, pose) in enumerate(zip(people, all_poses, strict=True))
    ]
    light = _light(shot_)
    for head, worn in zip(heads, shots, strict=True):
        paint_back_hair(canvas, head, light)
        paint_dressed(body_below(head, canvas, CLOTHS[worn.colour], light), worn)
        paint_head(canvas, head, light)
    pixels = lit(canvas.pixels, LIGHTS[shot_.light])
    pixels = {"film": lambda picture: picture, "sketch": sketch, "neon": neon}[shot_.style](pixels)
    return Clip(
        frames=(pixels * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(),
        boxes=torch.stack([head.box() for head in heads], dim=1),
        points=torch.stack([head.points() for head in heads], dim=1),
        mouths=torch.stack([head.pose.mouth for head in heads], dim=1),
        people=tuple(people),
        shots=shots,
    )


def portrait(person: Person, size_px: int = 256) -> Clip:
    """One frame of a person who looks at the camera before a plain wall: a reference picture."""
    calm = shot(
        person.index,
        garment="sweater",
        colour="white",
        action="nods",
        scene="room",
        style="film",
        light="soft light",
        framing="close-up",
        camera="stands still",
        expression="calm",
    )
    take = Take(half_head_share=0.3, x=0.0, y=0.0, phase=0.0, pace=1.0, side=1.0, blink_s=1.0, scene_seed=person.index)
    return film((person,), replace(calm, take=take), frames=1, size_px=size_px)


def _backdrop(shot_: Shot, pose: Pose, time_s: Tensor, size_px: int) -> Tensor:
    """The scene behind the actors, f 3 h w; one frame that serves all where nothing moves."""
    if shot_.scene not in MOVING_SCENES and all(bool((way == way[0]).all()) for way in (pose.pan, pose.zoom)):
        pose, time_s = Pose(*(values[:1] for values in astuple(pose))), time_s[:1]
    canvas = Canvas(len(time_s), size_px)
    PLACES[shot_.scene](Stage(canvas, pose, np.random.default_rng(shot_.take.scene_seed), time_s))
    return canvas.pixels


def _partner(shot_: Shot) -> Shot:
    """The same shot as the second person wears it."""
    random = np.random.default_rng([shot_.take.scene_seed, 2])
    others = [colour for colour in COLOURS if colour != shot_.colour]
    return replace(shot_, garment=str(random.choice(GARMENTS)), colour=str(random.choice(others)))


def _place(shot_: Shot, pose: Pose, size_px: int, number: int, count: int) -> Place:
    share = shot_.take.half_head_share * (1 if count == 1 else PAIR_SHARE)
    scale = size_px * share * pose.zoom
    x = (0.5 if count == 1 else PAIR_X[number]) + (shot_.take.x if count == 1 else shot_.take.x / 2)
    y = HEAD_Y[shot_.framing] + shot_.take.y
    zoomed = [0.5 + (value - 0.5) * (1 + (pose.zoom - 1) * 0.8) for value in (x, y)]
    return Place(size_px * zoomed[0] + scale * pose.x, size_px * zoomed[1] + scale * pose.y, scale, pose.roll)


def _light(shot_: Shot) -> tuple[float, float]:
    light = LIGHTS[shot_.light]
    return light.right * shot_.take.side, light.down
