"""How an actor moves: each action as the pose of head, mouth and hands at any time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .shot import Shot

Values = dict[str, Tensor]  # of a pose, by its fields

FPS = 16
BLINK_S, BLINK_EVERY_S = 0.18, 2.7
PAN_A_S = 0.12  # share of the picture that the background moves by in a second
WALKED_A_S = 0.22  # the same, of one who walks
ZOOM_A_S = 0.14  # share that the camera comes closer by in a second
STEP_HZ, WAVE_HZ, NOD_HZ, SHAKE_HZ, DANCE_HZ, LAUGH_HZ = 1.6, 1.8, 1.3, 1.3, 1.2, 3.2


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """All that moves, one number a frame. Lengths are in half heights of the head."""

    x: Tensor  # the whole body to the right
    y: Tensor  # down
    roll: Tensor  # of the head, radians
    yaw: Tensor  # of the head to the right of the picture, radians
    pitch: Tensor  # of the head down, radians
    mouth: Tensor  # opening, 0..1
    smile: Tensor  # -1..1
    brows: Tensor  # raised, 0..1
    lids: Tensor  # open, 0..1
    gaze: Tensor  # to the right, -1..1
    wave: Tensor  # the lifted hand, radians; 0 beside the head
    lifted: Tensor  # 0..1, how far that hand is up
    stride: Tensor  # -1..1, the legs
    sway: Tensor  # -1..1, both arms
    zoom: Tensor  # of the camera, 1 at first
    pan: Tensor  # of the camera, share of the picture


def poses(shot: Shot, time_s: Tensor, lag: float = 0.0) -> Pose:
    """The poses at these times; ``lag`` in radians sets a second actor apart from the first."""
    take = shot.take
    turn = 2 * math.pi * time_s * take.pace  # radians of 1 Hz
    phase = take.phase + lag
    still = torch.zeros_like(time_s)
    pose = {
        "x": 0.02 * (0.5 * turn + phase).sin(),
        "y": 0.015 * (0.6 * turn + phase).sin(),
        "roll": 0.05 * math.sin(phase) + 0.02 * (0.4 * turn + phase).sin(),
        "yaw": 0.3 * math.sin(2 * phase) + 0.05 * (0.35 * turn + phase).sin(),
        "pitch": 0.04 * (0.45 * turn + phase).cos(),
        "mouth": still,
        "smile": still + SMILES[shot.expression],
        "brows": still + BROWS[shot.expression],
        "lids": blinks(time_s, take.blink_s + lag / 3) * LIDS[shot.expression],
        "gaze": 0.3 * math.sin(3 * phase) + still,
        "wave": still,
        "lifted": still,
        "stride": still,
        "sway": 0.05 * (0.5 * turn + phase).sin(),
        "zoom": 1 + (ZOOM_A_S * time_s if shot.camera == "moves closer" else still),
        "pan": take.side * PAN_A_S * time_s if shot.camera == "pans" else still,
    }
    return Pose(**pose | MOVES[shot.action](pose, turn, phase))


# Actions: what each changes in a pose at rest; ``turn`` is the phase of 1 Hz, in radians


def talk(pose: Values, turn: Tensor, phase: float) -> Values:
    """Opens and closes the mouth, and nods a little with it."""
    return {"mouth": syllables(turn, phase), "pitch": pose["pitch"] + 0.05 * (1.5 * turn + phase).sin()}


def laugh(pose: Values, turn: Tensor, phase: float) -> Values:
    """An open mouth, half closed eyes and a shaking body."""
    shaking = (LAUGH_HZ * turn + phase).sin()
    return {
        "mouth": 0.65 + 0.25 * shaking,
        "smile": torch.ones_like(turn),
        "y": pose["y"] + 0.05 * shaking,
        "lids": 0.55 * pose["lids"],
    }


def nod(pose: Values, turn: Tensor, phase: float) -> Values:
    """The head up and down."""
    return {"pitch": 0.42 * (NOD_HZ * turn + phase).sin()}


def shake(pose: Values, turn: Tensor, phase: float) -> Values:
    """The head from side to side."""
    return {"yaw": 0.62 * (SHAKE_HZ * turn + phase).sin()}


def look_up(pose: Values, turn: Tensor, phase: float) -> Values:
    """The head lifted, with raised brows."""
    return {"pitch": -0.5 - 0.06 * (0.5 * turn + phase).sin(), "brows": torch.full_like(turn, 0.6)}


def wave(pose: Values, turn: Tensor, phase: float) -> Values:
    """A lifted hand from side to side."""
    return {"lifted": torch.ones_like(turn), "wave": 0.45 * (WAVE_HZ * turn + phase).sin()}


def walk(pose: Values, turn: Tensor, phase: float) -> Values:
    """Legs, arms and head in step, while the place goes past."""
    step = (STEP_HZ * turn + phase).sin()
    return {
        "stride": step,
        "sway": 0.7 * step,
        "y": pose["y"] + 0.06 * (2 * STEP_HZ * turn + 2 * phase).cos(),
        "roll": pose["roll"] + 0.04 * step,
        "pan": pose["pan"] + WALKED_A_S * (turn / (2 * math.pi)),
    }


def dance(pose: Values, turn: Tensor, phase: float) -> Values:
    """The whole body in a beat."""
    beat = (DANCE_HZ * turn + phase).sin()
    return {
        "x": 0.3 * beat,
        "y": 0.1 * (2 * DANCE_HZ * turn + 2 * phase).cos(),
        "roll": -0.22 * beat,
        "sway": beat,
        "stride": 0.5 * beat,
        "lifted": 0.4 + 0.3 * beat,
    }


MOVES: Mapping[str, Callable[[Values, Tensor, float], Values]] = {
    "talks": talk,
    "laughs": laugh,
    "nods": nod,
    "shakes the head": shake,
    "looks up": look_up,
    "waves": wave,
    "walks": walk,
    "dances": dance,
}
SMILES = {"calm": 0.35, "happy": 0.9, "sad": -0.8, "surprised": 0.0}
BROWS = {"calm": 0.0, "happy": 0.2, "sad": 0.1, "surprised": 1.0}
LIDS = {"calm": 1.0, "happy": 0.9, "sad": 0.75, "surprised": 1.15}


def blinks(time_s: Tensor, first_s: float) -> Tensor:
    """How open the lids are, 0..1: they close for a moment every few seconds."""
    since_s = (time_s - first_s).remainder(BLINK_EVERY_S)
    return 1 - 0.9 * (1 - (2 * since_s / BLINK_S - 1).square()).clamp(min=0)


def syllables(turn: Tensor, phase: float) -> Tensor:
    """The opening of a mouth that talks, 0..1: about four syllables a second, of different size."""
    voice = (4.1 * turn + phase).sin() + 0.6 * (2.6 * turn + 2 * phase).sin()
    return (0.35 + 0.4 * voice).clamp(0, 1)
