"""What is looked at and scored: our own measures alone, or a published protocol beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from ...checks import checked_count
from ...errors import InputError, inputs_renamed
from ...notes import Note
from ..faces import Face, is_finite
from ..images import as_bytes, read_pictures, sample_evenly
from ..recogniser import Recogniser
from ..record import Space
from ..sources import Detect
from . import opens2v
from .known import KnownCharacter
from .matching import mean_of
from .opens2v import FaceVectors
from .published import Instruments, PublishedScore
from .shots import frames_of
from .tracking import WatchedShot
from .vistory import PUBLISHED, CastMember, CharacterScore, StoryScore, StoryShot, score_story

OTHER_NETWORKS = Note(
    "other_networks",
    "the protocol was published with other networks than these: compare its numbers only with others of the same "
    "protocol line",
)
MOST_FRAMES = 1000  # of a shot that are looked at


@dataclass(frozen=True, slots=True)
class ProtocolScore:
    """One number of a published protocol."""

    name: str
    score: PublishedScore
    is_published: bool  # measured with the networks of the protocol, and so to be compared under its name


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a protocol scores, and what it looks with."""

    watched: Sequence[WatchedShot]
    cast: Sequence[KnownCharacter]
    detector: str  # what finds faces, in words
    find_faces: Detect
    scorer: Recogniser
    chip_scorer: Recogniser  # FaceSim-Cur's
    on_frame: Callable[[], None]  # is called after each frame that a protocol looks at itself


@dataclass(frozen=True, slots=True)
class Plain:
    """Our own measures alone."""

    passes: ClassVar[int] = 1  # times that a frame is looked at
    frames: int = MOST_FRAMES  # of each shot that are looked at, evenly, at most

    def __post_init__(self) -> None:
        checked_count(self.frames, MOST_FRAMES, name="frames")

    def sample(self, count: int) -> tuple[int, ...]:
        """The frames of a shot of ``count`` that are looked at."""
        return sample_evenly(count, self.frames)

    def require_cast(self, count: int, *, all_expected: bool) -> None:
        """Every cast can be measured."""

    def score(self, scene: Scene) -> tuple[ProtocolScore, ...]:
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class OpenS2V:
    """FaceSim of OpenS2V-Eval beside our own measures."""

    passes: ClassVar[int] = 2  # once by its own rules
    photo: Tensor | None = field(default=None, repr=False)  # 1 h w c; None: the portrait of the only character

    def __post_init__(self) -> None:
        if self.photo is not None and len(self.photo) != 1:
            fix = "Pick one with Get Image from Batch."
            raise InputError("photo", found=f"{len(self.photo)} pictures", wanted="one", fix=fix)

    def sample(self, count: int) -> tuple[int, ...]:
        """The frames of a shot of ``count`` that are looked at, each once."""
        return tuple(sorted(set(opens2v.frame_indices(count))))

    def require_cast(self, count: int, *, all_expected: bool) -> None:
        """Raises InputError unless it is clear whom the faces are compared with."""
        if self.photo is None and count != 1:
            found = f"no photo, and {count} characters"
            raise InputError(
                "photo", found=found, wanted="a photo, or one character", fix="Connect the reference photo."
            )

    def score(self, scene: Scene) -> tuple[ProtocolScore, ...]:
        """FaceSim-Arc and -Cur of each shot and their means; raises InputError without a photo of a face."""
        photo = self._photo_vectors(scene)
        arc, cur = (instruments_of(scene.detector, one.space) for one in (scene.scorer, scene.chip_scorer))
        sims = []
        for seen in scene.watched:
            faces = {}
            for index, picture in frames_of(seen.shot, seen.indices):
                faces[index] = _face_vectors(picture, scene)
                scene.on_frame()
            frames = [faces[index] for index in opens2v.frame_indices(seen.shot.frames)]
            sims.append(opens2v.face_sim(photo, frames, arc, cur))
        of_shots = [(seen.shot.label, sim.arc, sim.cur) for seen, sim in zip(scene.watched, sims, strict=True)]
        means = ("all clips", _mean_score([sim.arc for sim in sims]), _mean_score([sim.cur for sim in sims]))
        published = {"FaceSim-Arc": arc == opens2v.PUBLISHED_ARC, "FaceSim-Cur": cur == opens2v.PUBLISHED_CUR}
        return tuple(
            ProtocolScore(f"{what} of {name}", score, published[what])
            for name, *scores in (*of_shots, means)
            for what, score in zip(published, scores, strict=True)
        )

    def _photo_vectors(self, scene: Scene) -> FaceVectors:
        photo = self.photo
        if photo is None and scene.cast[0].portrait is not None:
            photo = scene.cast[0].portrait[None]
        with inputs_renamed(images="photo"):
            vectors = None if photo is None else _face_vectors(read_pictures(photo).rgb[0], scene)
        if vectors is None:
            found = "no photo, and a character without a portrait" if photo is None else "no face in it"
            raise InputError("photo", found=found, wanted="a photo of the face", fix="Connect the reference photo.")
        return vectors


@dataclass(frozen=True, slots=True)
class ViStory:
    """CIDS of ViStoryBench beside our own measures: of each shot the frame in the middle is its picture."""

    passes: ClassVar[int] = 1

    def sample(self, count: int) -> tuple[int, ...]:
        """The frame of a shot of ``count`` that is looked at."""
        return (count // 2,)

    def require_cast(self, count: int, *, all_expected: bool) -> None:
        """Raises InputError unless there are characters, and all are expected in every shot."""
        fix = "Or choose plain in mode."
        if not count:
            raise InputError("characters", found="none", wanted="at least one for vistory", fix=fix)
        if not all_expected:
            found = "characters that need not be in every clip"
            raise InputError("presence", found=found, wanted="all in every clip for vistory", fix=fix)

    def score(self, scene: Scene) -> tuple[ProtocolScore, ...]:
        """Cross, self, CopyRate and OCCM."""
        name = scene.scorer.space.name
        cast = [
            CastMember(tuple({name: vector} for vector in known.references), {name: known.mirrored})
            for known in scene.cast
        ]
        everybody = tuple(range(len(cast)))
        shots = [
            StoryShot(everybody, ({},) * seen.unusable + tuple({name: face.vector} for face in seen.sightings[0]))
            for seen in scene.watched
        ]
        instruments = instruments_of(scene.detector, scene.scorer.space)
        story = score_story(cast, shots, instruments)
        labels = [known.label for known in scene.cast]
        scored: list[tuple[str, CharacterScore | StoryScore]] = [*zip(labels, story.characters, strict=True)]
        numbers = [
            (f"{what} of {who}", score)
            for who, one in (*scored, ("the story", story))
            for what, score in (("cross", one.cross), ("self", one.own), ("CopyRate", one.copying))
            if score
        ]
        numbers.append(("OCCM of the story", story.occm))
        return tuple(ProtocolScore(name, score, instruments == PUBLISHED) for name, score in numbers)


CheckMode = Plain | OpenS2V | ViStory


def instruments_of(detector: str, space: Space) -> Instruments:
    """What a score was measured with, in the words of the published protocols where it is theirs."""
    pack, _, file = space.name.rpartition("/")
    recogniser = file.rpartition(".")[0] or file
    return Instruments(detector, (f"{recogniser} of {pack}" if pack else recogniser,))


def protocol_notes(scores: Sequence[ProtocolScore]) -> tuple[Note, ...]:
    """That numbers are not those of the protocol where other networks made them."""
    return () if all(one.is_published for one in scores) else (OTHER_NETWORKS,)


def _face_vectors(picture: Tensor, scene: Scene) -> FaceVectors | None:
    """What FaceSim compares of a picture, h w 3 in [0, 1]: of every face that can be cut, however small."""

    def find(pixels: Tensor) -> list[Face]:
        faces = scene.find_faces(pixels.float() / 255)
        return [face for face in faces if is_finite(face) and len(set(face.points)) > 1]

    embed_arc, embed_cur = scene.scorer.embed_face, scene.chip_scorer.embed_face
    return opens2v.face_vectors(
        as_bytes(picture), find, lambda crop: embed_arc(crop).cpu(), lambda crop: embed_cur(crop).cpu()
    )


def _mean_score(scores: Sequence[PublishedScore]) -> PublishedScore:
    corrected = [score.corrected for score in scores if score.corrected is not None]
    return PublishedScore(scores[0].protocol, mean_of([score.published for score in scores]) or 0.0, mean_of(corrected))
