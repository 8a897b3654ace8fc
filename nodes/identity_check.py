"""WanCastIdentityCheck: is it the same person in every shot?"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from ..wan_core.identity.check import CheckRequest, Limits, check
from ..wan_core.identity.check_report import describe, plot, sheet
from ..wan_core.identity.likeness.modes import MOST_FRAMES
from .host import devices, files, insightface_pack, landmarker, recognisers, scorers
from .inputs import FileInput
from .types import WanIdentity, names_its_errors

CLIPS = [f"clip_{number}" for number in range(1, 21)]
CHARACTERS = [f"character_{number}" for number in range(1, 9)]
EVERY, SOME = "all in every clip", "some in every clip"


class WanCastIdentityCheck(io.ComfyNode):
    """Measures how alike the faces of several clips are to characters and to each other."""

    NODE_ID = "WanCastIdentityCheck"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Identity Check",
            category="WanCast/identity",
            description="Measures whether the same people are in every clip: likeness to each character and from clip "
            "to clip, faces that were lost, and faces that were pasted, with a verdict in words.",
            search_aliases=["face similarity", "facesim", "arcface", "consistency", "identity", "opens2v", "vistory"],
            is_output_node=True,
            inputs=[
                _clips_input(),
                _characters_input(),
                FileInput(
                    "scorer",
                    options=[*files.model_files(files.FACE_RECOGNITION), recognisers.OF_THE_PACK],
                    tooltip="The face recogniser that compares, from models/face_recognition. One that the identity "
                    "was not made with judges more fairly. The thresholds belong to it.",
                ),
                _face_input(),
                _mode_input(),
                io.Combo.Input(
                    "presence",
                    options=[EVERY, SOME],
                    default=EVERY,
                    optional=True,
                    tooltip="Who must be there. all in every clip: each character in each clip; the largest face that "
                    "is nobody else is taken for a missing one. some in every clip: each where it is recognised.",
                ),
                *_limit_inputs(),
            ],
            outputs=[
                io.Boolean.Output("passed", tooltip="True when every limit is kept; the report says which is not."),
                io.Float.Output(
                    "mean",
                    tooltip="Mean cosine to the character over all faces, of the character where it is least; without "
                    "a character between clips. Nothing where nothing was measured.",
                ),
                io.Float.Output("minimum", tooltip="The least of these cosines."),
                io.Float.Output("face_found", tooltip="Share of the frames with a face of the character, 0 to 1."),
                io.String.Output("report", tooltip="The verdict, all numbers, and what to know beside them."),
                io.Image.Output("plot", tooltip="Likeness over the frames, clip after clip."),
                io.Image.Output(
                    "sheet", tooltip="Of each character the reference, its best face, its worst, and where it is lost."
                ),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        clips: dict[str, Any],
        scorer: str,
        face: dict[str, Any] | None = None,
        mode: dict[str, Any] | None = None,
        characters: dict[str, Any] | None = None,
        presence: str = EVERY,
        **limits: float,
    ) -> io.NodeOutput:
        tools = scorers.scoring_tools(scorer, face or {}, mode or {})
        with scorers.shots_of(_connected(clips)) as shots:
            request = _request_of(shots, _connected(characters), Limits(**limits), mode or {}, presence, tools)
            found = check(
                request,
                find_faces=tools.detector.detect,
                scorer=tools.scorer,
                chip_scorer=tools.chip_scorer,
                progress=devices.progress,
            )
            chart, contact_sheet = plot(found), sheet(found)
        numbers = found.passed, found.mean, found.minimum, found.found_rate
        shown = ui.PreviewImage([chart[0], contact_sheet[0]])
        return io.NodeOutput(*numbers, describe(found), chart, contact_sheet, ui=shown)


def _request_of(
    shots: tuple[Any, ...],
    characters: dict[str, Any],
    limits: Limits,
    mode: dict[str, Any],
    presence: str,
    tools: scorers.ScoringTools,
) -> CheckRequest:
    """What is checked, as the inputs say it."""
    return CheckRequest(
        shots=shots,
        identities=tuple(characters.values()),
        inputs=tuple(f"characters.{name}" for name in characters),
        limits=limits,
        mode=scorers.mode_of(mode),
        all_expected=presence == EVERY,
        detector=tools.detector.label,
    )


def _connected(grown: dict[str, Any] | None) -> dict[str, Any]:
    """What is connected to the inputs of an Autogrow, without links that give nothing."""
    return {name: value for name, value in (grown or {}).items() if value is not None}


# Inputs


def _clips_input() -> io.Autogrow.Input:
    clip = io.MultiType.Input(
        "clip",
        types=[io.Image, io.Video],
        tooltip="The frames of one shot, or a VIDEO, in the order of the story.",
    )
    return io.Autogrow.Input(
        "clips",
        template=io.Autogrow.TemplateNames(clip, names=CLIPS, min=1),
        tooltip="The shots that are compared with the characters and with each other.",
    )


def _characters_input() -> io.Autogrow.Input:
    character = WanIdentity.Input("character", tooltip="Who should be in the clips, as IdentityEncode makes it.")
    return io.Autogrow.Input(
        "characters",
        template=io.Autogrow.TemplateNames(character, names=CHARACTERS, min=0),
        tooltip="Without any, whoever is most in the picture is compared from clip to clip.",
    )


def _face_input() -> io.DynamicCombo.Input:
    pack = FileInput(
        "pack",
        options=insightface_pack.pack_names(),
        tooltip="A folder of models/insightface/models with insightface's .onnx files, for example buffalo_l.",
    )
    landmarker_file = FileInput(
        "landmarker",
        options=files.model_files(landmarker.DETECTION),
        tooltip="The weights of ComfyUI's MediaPipe face landmarker, from models/detection.",
    )
    inputs = {"insightface pack": [pack], "mediapipe": [landmarker_file]}
    return io.DynamicCombo.Input(
        "face",
        options=[io.DynamicCombo.Option(choice, inputs.get(choice, [])) for choice in scorers.DETECTORS],
        tooltip="What finds the faces. auto: an insightface pack if there is one, else ComfyUI's MediaPipe. aligned "
        "crop: every frame is a square aligned face already.",
    )


def _mode_input() -> io.DynamicCombo.Input:
    frames = io.Int.Input(
        "frames", default=81, min=1, max=MOST_FRAMES, tooltip="Frames of each clip that are looked at, evenly, at most."
    )
    curricular = FileInput(
        "curricular",
        options=files.model_files(files.FACE_RECOGNITION),
        tooltip="CurricularFace's glint360k_curricular_face_r101_backbone.bin from models/face_recognition, for "
        "FaceSim-Cur; FaceSim-Arc is the scorer's.",
    )
    photo = io.Image.Input(
        "photo",
        optional=True,
        tooltip="The reference photo; else the portrait of the character, of whom there may then be one only.",
    )
    inputs = {"plain": [frames], "opens2v": [curricular, photo]}
    return io.DynamicCombo.Input(
        "mode",
        options=[io.DynamicCombo.Option(mode, inputs.get(mode, [])) for mode in scorers.MODES],
        tooltip="plain: likeness, faces found, drift. opens2v: beside it FaceSim of OpenS2V-Eval on its 32 frames. "
        "vistory: beside it CIDS of ViStoryBench on the frame in the middle of each clip.",
    )


def _limit_inputs() -> list[io.Float.Input]:
    tooltips = {
        "min_likeness": "Least cosine to the character, on average of every clip and in most of its frames. For "
        "recognisers of the ArcFace family, as all here are, two faces are one person's from 0.35 to 0.45 on.",
        "min_cross_clip": "Least cosine of a character in any two clips.",
        "min_face_found": "Least share of the frames of every clip with the face of each character, and with one that "
        "is as alike as wanted.",
        "warn_copy_rate": "CopyRate from which the report warns of a pasted face; 0.5 is a face of its own.",
    }
    return [
        io.Float.Input(
            name,
            default=getattr(Limits(), name),
            min=0.0,
            max=0.99 if name in ("min_likeness", "min_cross_clip") else 1.0,
            step=0.01,
            round=0.001,
            optional=True,
            tooltip=tooltips[name],
        )
        for name in tooltips
    ]
