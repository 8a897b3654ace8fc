"""What a check of identities looks at and with: clips, what finds every face in them, and what compares the faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from comfy_api.latest import Input, InputImpl

from ...wan_core.checks import require_choice
from ...wan_core.errors import InputError, inputs_renamed, quoted
from ...wan_core.identity import AlignedCrops, Detector, FaceSelection, Recogniser
from ...wan_core.identity.likeness.shots import Shot, checked_shot
from . import files, video
from .faces import face_source
from .insightface_pack import InsightfacePack
from .landmarker import MediapipeLandmarker
from .recognisers import NO_RECOGNISER, OF_THE_PACK, recogniser_of

FACESIM_DETECTION_PX = 320  # side of the square that FaceSim's detector sees
DETECTORS = ("auto", "insightface pack", "mediapipe", "aligned crop")

FaceFinder = InsightfacePack | MediapipeLandmarker | AlignedCrops


@contextmanager
def shots_of(clips: Mapping[str, Any]) -> Iterator[tuple[Shot, ...]]:
    """The shots of what is connected to ``clips``, by input; the files of VIDEOs are open in the block.

    Raises InputError for what is no clip.
    """
    with ExitStack() as open_files:
        shots = []
        for name, clip in clips.items():
            if isinstance(clip, InputImpl.VideoFromFile):
                clip = open_files.enter_context(video.source_of(clip))
            elif isinstance(clip, Input.Video):
                clip = clip.get_components().images
            shots.append(checked_shot(clip, f"clips.{name}"))
        yield tuple(shots)


def face_finder(face: Mapping[str, Any], *, with_recogniser: bool, detection_px: int | None) -> FaceFinder:
    """What finds faces, by the input ``face`` and those beside it; raises InputError for a choice that finds none.

    ``with_recogniser``: whether the recogniser of a pack is needed too. ``detection_px``: side of the square that its
    detector sees; None: as the package chooses.
    """
    require_choice(face.get("face"), DETECTORS, name="face")
    return face_source(face, FaceSelection(), with_recogniser=with_recogniser, detection_px=detection_px)


def instruments(
    scorer: str, face: Mapping[str, Any], mode: Mapping[str, Any]
) -> tuple[Detector, dict[str, AbstractContextManager[Recogniser]]]:
    """What finds faces, and the recognisers by the names that the check gives them; FaceSim has a second one."""
    is_facesim = mode.get("mode") == "opens2v"
    finder = face_finder(
        face, with_recogniser=scorer == OF_THE_PACK, detection_px=FACESIM_DETECTION_PX if is_facesim else None
    )
    names = {"scorer": scorer} | ({"chip_scorer": mode.get("curricular") or ""} if is_facesim else {})
    inputs = {"scorer": "scorer", "chip_scorer": "curricular"}
    return finder.detector(), {part: scorer_of(name, finder, input_name=inputs[part]) for part, name in names.items()}


@contextmanager
def scorer_of(name: str, finder: FaceFinder, *, input_name: str) -> Iterator[Recogniser]:
    """The recogniser that was selected in an input, loaded for a block; raises InputError for what is none."""
    if name == NO_RECOGNISER or (name == OF_THE_PACK and not isinstance(finder, InsightfacePack)):
        raise InputError(
            input_name,
            found=f"{quoted(name)} with face {quoted(finder.label)}",
            wanted="a face recogniser",
            fix=f"Choose a file of models/{files.FACE_RECOGNITION}, or 'insightface pack' in face.",
        )
    with inputs_renamed(encoder=input_name), recogniser_of(name, finder) as recogniser:
        yield recogniser
