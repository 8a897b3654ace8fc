"""A drawn world whose truth is known: actors with an identity of their own, in shots that a caption describes."""

from .captions import LANGUAGES, Language, caption
from .film import FRAMES, Clip, film, portrait
from .motion import FPS
from .person import SPLITS, Person, Split, person
from .shot import (
    ACTIONS,
    CAMERAS,
    COLOURS,
    EXPRESSIONS,
    FRAMINGS,
    GARMENTS,
    LIGHTS,
    SCENES,
    SIZE_PX,
    STYLES,
    Shot,
    Take,
    shot,
)

__all__ = [
    "ACTIONS",
    "CAMERAS",
    "COLOURS",
    "EXPRESSIONS",
    "FPS",
    "FRAMES",
    "FRAMINGS",
    "GARMENTS",
    "LANGUAGES",
    "LIGHTS",
    "SCENES",
    "SIZE_PX",
    "SPLITS",
    "STYLES",
    "Clip",
    "Language",
    "Person",
    "Shot",
    "Split",
    "Take",
    "caption",
    "film",
    "person",
    "portrait",
    "shot",
]
