"""What happens in a shot: all that the caption says, and the numbers of a take that nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

GARMENTS = ("coat", "shirt", "sweater", "hoodie", "suit")
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "purple", "orange")
ACTIONS = ("talks", "laughs", "nods", "shakes the head", "looks up", "waves", "walks", "dances")
SCENES = ("beach", "forest", "street", "snow", "desert", "library", "room", "stage", "garden", "stars")
STYLES = ("film", "sketch", "neon")
LIGHTS = ("daylight", "sunset", "moonlight", "soft light", "side light")
FRAMINGS = ("close-up", "medium shot", "wide shot")
CAMERAS = ("stands still", "moves closer", "pans")
EXPRESSIONS = ("calm", "happy", "sad", "surprised")

SIZE_PX = 96  # side of a picture
SHOT_STREAM = 2296  # sets the random numbers of shots apart from those of other things

STYLE_SHARES = (0.7, 0.15, 0.15)
FRAMING_SHARES = (0.45, 0.4, 0.15)

HALF_HEAD_PX: Mapping[str, tuple[float, float]] = {  # from the middle of a head to its chin, in a picture of SIZE_PX
    "close-up": (23, 30),
    "medium shot": (13, 18),
    "wide shot": (7, 9.5),
}


@dataclass(frozen=True, slots=True)
class Take:
    """What differs between two takes of one shot; offsets are shares of the picture."""

    half_head_share: float  # half the height of the head
    x: float  # offset of the head from its place
    y: float
    phase: float  # radians, of every movement
    pace: float  # about 1
    side: float  # -1 or 1: where light comes from, which hand waves, where the camera pans
    blink_s: float  # time of the first blink
    scene_seed: int  # of what differs between two beaches


@dataclass(frozen=True, slots=True)
class Shot:
    """One shot, in the words of the tuples above."""

    garment: str
    colour: str
    action: str
    scene: str
    style: str
    light: str
    framing: str
    camera: str
    expression: str
    take: Take


def shot(seed: int, **fixed: str) -> Shot:
    """A random shot; ``fixed`` words stay. Raises ValueError for a word that is not of its tuple."""
    random = np.random.default_rng([seed, SHOT_STREAM])
    framing = fixed.get("framing") or str(random.choice(FRAMINGS, p=FRAMING_SHARES))
    words = {
        "garment": str(random.choice(GARMENTS)),
        "colour": str(random.choice(COLOURS)),
        "action": str(random.choice(ACTIONS)),
        "scene": str(random.choice(SCENES)),
        "style": str(random.choice(STYLES, p=STYLE_SHARES)),
        "light": str(random.choice(LIGHTS)),
        "framing": framing,
        "camera": str(random.choice(CAMERAS)),
        "expression": str(random.choice(EXPRESSIONS)),
    } | fixed
    for field, word in words.items():
        if word not in (tuples := WORDS[field]):
            raise ValueError(f"{field}: {word!r} is none of {', '.join(tuples)}")
    low_px, high_px = HALF_HEAD_PX[framing]
    take = Take(
        half_head_share=float(random.uniform(low_px, high_px)) / SIZE_PX,
        x=float(random.uniform(-0.06, 0.06)),
        y=float(random.uniform(-0.04, 0.04)),
        phase=float(random.uniform(0, 2 * np.pi)),
        pace=float(random.uniform(0.85, 1.2)),
        side=1.0 if random.random() < 0.5 else -1.0,
        blink_s=float(random.uniform(0.1, 2.5)),
        scene_seed=int(random.integers(2**31)),
    )
    return Shot(**words, take=take)


WORDS: Mapping[str, tuple[str, ...]] = {
    "garment": GARMENTS,
    "colour": COLOURS,
    "action": ACTIONS,
    "scene": SCENES,
    "style": STYLES,
    "light": LIGHTS,
    "framing": FRAMINGS,
    "camera": CAMERAS,
    "expression": EXPRESSIONS,
}
