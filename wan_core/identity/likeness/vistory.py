"""ViStoryBench CIDS: whether the characters of a story are found in its pictures, like their photos and themselves.

Follows ViStoryBench/vistorybench, vistorybench/bench/content/cids_evaluator.py (arXiv 2505.24862), which writes down
four decimals; the numbers here are not rounded. Real people are compared by their faces.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from torch import Tensor

from .copying import copy_rate
from .matching import cosine, match
from .published import Instruments, PublishedScore

Features = Mapping[str, Tensor]  # of one face: the vector d of each recogniser that found it; empty: none did

PUBLISHED = Instruments(
    "GroundingDINO, prompt character, thresholds 0.25",
    ("glintr100 of antelopev2", "AdaFace IR-101 WebFace12M", "FaceNet VGGFace2"),
)
RULES = (
    "one picture a shot, Hungarian matching without a threshold, mean cosine of the recognisers, over all characters"
)
FEATURELESS = -1e6  # the likeness of a box without a face to anybody
OCCM_LEAST = 1e-6  # beside the number of expected people


@dataclass(frozen=True, slots=True, eq=False)
class CastMember:
    """A character as the photos of it show it."""

    references: tuple[Features, ...] = field(repr=False)  # of each photo with a face; at least one
    mirrored: Features = field(repr=False)  # of the mirror image of the first of these photos


@dataclass(frozen=True, slots=True, eq=False)
class StoryShot:
    """The picture of one shot."""

    expected: tuple[int, ...]  # the characters that should be in it, as indices of the cast
    boxes: tuple[Features, ...] = field(repr=False)  # of everything that was detected; empty where there is no picture


@dataclass(frozen=True, slots=True)
class CharacterScore:
    """How one character was kept through a story."""

    cross: PublishedScore  # likeness to the photos
    own: PublishedScore  # likeness to itself between shots, the script's "self"
    copying: PublishedScore | None  # CopyRate; None: it was never found


@dataclass(frozen=True, slots=True)
class StoryScore:
    """CIDS of a story: means over the characters."""

    characters: tuple[CharacterScore, ...]  # in the order of the cast
    cross: PublishedScore
    own: PublishedScore
    copying: PublishedScore  # over those that were found
    occm: PublishedScore  # 0..100: whether there were as many people as there should be


def score_story(cast: Sequence[CastMember], shots: Sequence[StoryShot], instruments: Instruments) -> StoryScore:
    """Cross, self, CopyRate and OCCM of a story; a shot in which nobody should be does not count."""
    protocol = instruments.protocol("ViStoryBench CIDS", RULES, PUBLISHED)
    crops: list[list[Features]] = [[] for _ in cast]
    for shot in shots:
        for character, box in _match_boxes(cast, shot):
            crops[character].append(box)
    characters = tuple(_score_character(member, found, protocol) for member, found in zip(cast, crops, strict=True))
    counts = [_occm(len(shot.expected), len(shot.boxes)) for shot in shots if shot.expected]
    return StoryScore(
        characters=characters,
        cross=_mean_over_cast([character.cross for character in characters], protocol),
        own=_mean_over_cast([character.own for character in characters], protocol),
        copying=_mean_over_cast([character.copying for character in characters if character.copying], protocol),
        occm=_mean_score(counts, protocol, unmeasured=0.0),
    )


# One shot


def _match_boxes(cast: Sequence[CastMember], shot: StoryShot) -> list[tuple[int, Features]]:
    """The expected characters that are found in a shot, as indices of the cast, each with its box."""
    scores = [[_best_likeness(box, cast[character]) for box in shot.boxes] for character in shot.expected]
    return [(shot.expected[row], shot.boxes[column]) for row, column in match(scores) if shot.boxes[column]]


def _best_likeness(box: Features, member: CastMember) -> float:
    return max(_likeness(box, photo) or 0.0 for photo in member.references) if box else FEATURELESS


def _likeness(one: Features, other: Features) -> float | None:
    """The mean cosine over the recognisers that both faces have; None where they have none in common."""
    cosines = [cosine(one[name], other[name]) for name in one.keys() & other.keys()]
    return math.fsum(cosines) / len(cosines) if cosines else None


def _occm(expected: int, found: int) -> float:
    """Onscreen character count matching, 0..100."""
    return 100 * math.exp(-abs(found - expected) / (OCCM_LEAST + expected))


# One character


def _score_character(member: CastMember, crops: Sequence[Features], protocol: str) -> CharacterScore:
    to_photos = [_likeness(crop, photo) for crop in crops for photo in member.references]
    to_each_other = [_likeness(one, other) for one, other in combinations(crops, 2)]
    return CharacterScore(
        cross=_mean_score(to_photos, protocol, unmeasured=0.0),
        own=_mean_score(to_each_other, protocol, unmeasured=1.0 if crops else 0.0),
        copying=_score_copying(member, crops, protocol),
    )


def _score_copying(member: CastMember, crops: Sequence[Features], protocol: str) -> PublishedScore | None:
    """CopyRate; the script takes the photo for its own mirror image where no face is found in that, which gives 0.5."""
    photo, mirrored = member.references[0], member.mirrored or member.references[0]
    pairs = [(_likeness(crop, photo), _likeness(crop, mirrored)) for crop in crops]
    published = copy_rate([(to_photo or 0.0, to_mirrored or 0.0) for to_photo, to_mirrored in pairs])
    if published is None:
        return None
    measured = [(one, other) for one, other in pairs if one is not None and other is not None]
    return PublishedScore(protocol, published, corrected=copy_rate(measured) if member.mirrored else None)


# Means


def _mean_score(values: Sequence[float | None], protocol: str, *, unmeasured: float) -> PublishedScore:
    """The mean; the script counts what could not be compared as 0, and has a value of its own for nothing at all."""
    measured = [value for value in values if value is not None]
    return PublishedScore(
        protocol,
        published=math.fsum(measured) / len(values) if values else unmeasured,
        corrected=math.fsum(measured) / len(measured) if measured else None,
    )


def _mean_over_cast(scores: Sequence[PublishedScore], protocol: str) -> PublishedScore:
    measured = [score.corrected for score in scores if score.corrected is not None]
    return PublishedScore(
        protocol,
        published=math.fsum(score.published for score in scores) / len(scores) if scores else 0.0,
        corrected=math.fsum(measured) / len(measured) if measured else None,
    )
