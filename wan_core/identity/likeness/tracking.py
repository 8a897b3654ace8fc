"""Faces followed from frame to frame of one shot: by where they are and by how alike they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import inputs_renamed
from ..align import align_face
from ..faces import Face, face_problem
from ..recogniser import Recogniser, embed
from ..selection import area_px2, overlap
from ..sources import Detect, detect_in_margin
from .matching import direction, match_above
from .shots import Shot, frames_of

LEAST_AFFINITY = 0.5  # of a face to a track that it continues
MOST_GAP = 2  # frames looked at after which a face that comes back begins a new track


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A face that was recognised in one of the frames that were looked at."""

    position: int  # of the frame among those that were looked at
    face: Face
    vector: Tensor = field(repr=False)  # d, unit


@dataclass(frozen=True, slots=True, eq=False)
class WatchedShot:
    """What was seen in the frames of one shot that were looked at."""

    shot: Shot
    indices: tuple[int, ...]  # of these frames in the shot
    sightings: tuple[tuple[Sighting, ...], ...]  # of each of them
    unusable: int  # faces that were found in them and cannot be recognised


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face followed through a shot."""

    sightings: tuple[Sighting, ...]  # in order, one in a frame

    @property
    def positions(self) -> frozenset[int]:
        """The frames, among those that were looked at, that it is in."""
        return frozenset(sighting.position for sighting in self.sightings)

    @property
    def vector(self) -> Tensor:
        """The direction of its mean: d, unit."""
        return direction([sighting.vector for sighting in self.sightings])

    @property
    def prominence(self) -> float:
        """The area of its boxes in all frames, in square pixels."""
        return sum(area_px2(sighting.face.box) for sighting in self.sightings)


def watch(
    shot: Shot,
    indices: Sequence[int],
    find_faces: Detect,
    recogniser: Recogniser,
    on_frame: Callable[[], None],
) -> WatchedShot:
    """Finds and recognises all faces in some frames of a shot; ``on_frame`` is called after each.

    Where a frame shows none it is looked at once more at half its size in a margin, as a face that fills it needs.
    """
    sightings, unusable = [], 0
    for position, (_, picture) in enumerate(frames_of(shot, indices)):
        with inputs_renamed(images=shot.input_name):
            found = find_faces(picture) or detect_in_margin(picture, find_faces, max(picture.shape[:2]) // 2)
        faces = [face for face in found if face_problem(face) is None]
        unusable += len(found) - len(faces)
        crops = [align_face(picture, face.points).crop for face in faces]
        vectors = embed(recogniser, torch.stack(crops)).unit if crops else ()
        sightings.append(tuple(Sighting(position, *seen) for seen in zip(faces, vectors, strict=True)))
        on_frame()
    return WatchedShot(shot, tuple(indices), tuple(sightings), unusable)


def track_faces(watched: WatchedShot, same_cos: float) -> tuple[Track, ...]:
    """Follows every face through a shot: each frame's faces continue the tracks of the greatest total affinity.

    Affinity is what the boxes share (intersection over union) plus how far the cosine is above ``same_cos``, as a share
    of what is left to 1: a head that turns stays where it is, and one that takes another's place does not continue it.
    """
    tracks: list[list[Sighting]] = []
    for position, sightings in enumerate(watched.sightings):
        recent = [track for track in tracks if position - track[-1].position <= MOST_GAP]
        affinities = [[_affinity(track, sighting, same_cos) for sighting in sightings] for track in recent]
        links = {place: recent[row] for row, place in match_above(affinities, LEAST_AFFINITY)}
        for place, sighting in enumerate(sightings):
            if place in links:
                links[place].append(sighting)
            else:
                tracks.append([sighting])
    return tuple(Track(tuple(track)) for track in tracks)


def _affinity(track: Sequence[Sighting], sighting: Sighting, same_cos: float) -> float:
    known = torch.stack((track[-1].vector, direction([seen.vector for seen in track])))  # 2 d: as last seen, on average
    cosine = float((known @ sighting.vector).max())
    return overlap(track[-1].face.box, sighting.face.box) + (cosine - same_cos) / (1 - same_cos)
