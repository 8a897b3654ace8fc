"""What a check of identities looks at and with: clips, what finds every face in them, and what compares the faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import Input, InputImpl

from ...wan_core.checks import require_choice
from ...wan_core.errors import InputError, inputs_renamed, quoted
from ...wan_core.identity import AlignedCrops, Detector, FaceSelection, Recogniser
from ...wan_core.identity.likeness.modes import CheckMode, OpenS2V, Plain, ViStory
from ...wan_core.identity.likeness.shots import Shot, checked_shot
from . import files, video
from .faces import face_source
from .insightface_pack import InsightfacePack
from .landmarker import MediapipeLandmarker
from .recognisers import NO_RECOGNISER, OF_THE_PACK, recogniser_of

FACESIM_DETECTION_PX = 320  # side of the square that FaceSim's detector sees
MODES = ("plain", "opens2v", "vistory")
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
            input_name = f"clips.{name}"
            if isinstance(clip, InputImpl.VideoFromFile):
                with inputs_renamed(frames=input_name):
                    clip = open_files.enter_context(video.source_of(clip))
            elif isinstance(clip, Input.Video):
                clip = clip.get_components().images
            shots.append(checked_shot(clip, input_name))
        yield tuple(shots)


@dataclass(frozen=True, slots=True)
class ScoringTools:
    """What faces are found and compared with."""

    detector: Detector
    scorer: AbstractContextManager[Recogniser]
    chip_scorer: AbstractContextManager[Recogniser] | None  # FaceSim-Cur's


def scoring_tools(scorer: str, face: Mapping[str, Any], mode: Mapping[str, Any]) -> ScoringTools:
    """The tools of a choice of recogniser, of a face and of a mode, these two with what is set beside them.

    Raises InputError for a face that finds none.
    """
    require_choice(face.get("face"), DETECTORS, name="face")
    is_facesim = mode.get("mode") == "opens2v"
    of_pack = {"with_recogniser": scorer == OF_THE_PACK, "detection_px": FACESIM_DETECTION_PX if is_facesim else None}
    finder = face_source(face, FaceSelection(), **of_pack)
    return ScoringTools(
        detector=finder.detector(),
        scorer=scorer_of(scorer, finder, input_name="scorer"),
        chip_scorer=scorer_of(mode.get("curricular") or "", finder, input_name="curricular") if is_facesim else None,
    )


def mode_of(choice: Mapping[str, Any]) -> CheckMode:
    """The mode that ``choice["mode"]`` names, with what is set beside it; raises InputError for an unknown one."""
    name = choice.get("mode")
    require_choice(name, MODES, name="mode")
    if name == "opens2v":
        return OpenS2V(choice.get("photo"))
    return ViStory() if name == "vistory" else Plain(choice["frames"])


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
    with ExitStack() as loaded:
        with inputs_renamed(encoder=input_name):
            recogniser = loaded.enter_context(recogniser_of(name, finder))
        yield recogniser
