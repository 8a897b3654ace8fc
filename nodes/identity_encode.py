"""IdentityEncode: pictures of one person become an identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..wan_core.errors import InputError
from ..wan_core.identity import (
    COMBINE_METHODS,
    LARGEST_INDEX,
    SELECTION_METHODS,
    EncodeRequest,
    FaceSelection,
    describe,
    encode,
)
from .host import devices, faces, files, insightface_pack, landmarker, recognisers
from .inputs import FileInput
from .types import WanIdentity, names_its_errors


class IdentityEncode(io.ComfyNode):
    """Finds and aligns faces, embeds them and makes one identity of them."""

    NODE_ID = "IdentityEncode"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="Identity Encode",
            category="WanCast/identity",
            description="Turns pictures of one person into an identity that IDLock can hold in every shot.",
            search_aliases=["face embedding", "arcface", "insightface", "z_id", "face id", "character"],
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="Pictures of one person, or the frames of a video (16 are sampled). A list of pictures of "
                    "different sizes is one person too.",
                ),
                FileInput(
                    "encoder",
                    options=[
                        *files.model_files(files.FACE_RECOGNITION),
                        recognisers.OF_THE_PACK,
                        recognisers.NO_RECOGNISER,
                    ],
                    tooltip="A face recogniser from models/face_recognition: of the IR-SE50 family, or an iResNet as "
                    ".onnx. Lynx adapters expect recognition_arcface_ir_se50.pth of facexlib; Stand-In needs none.",
                ),
                _face_input(),
                io.Combo.Input(
                    "combine",
                    options=list(COMBINE_METHODS),
                    default=COMBINE_METHODS[0],
                    optional=True,
                    tooltip="What becomes of several references. mean: one vector, weighted by the detection scores. "
                    "best: the frontal, sharp, large one. tokens: all of them side by side.",
                ),
                _pick_input(),
                io.Mask.Input(
                    "foreground",
                    optional=True,
                    tooltip="White on the person. Stand-In's portrait gets a white background outside of it. The MASK "
                    "of Load Image is the other way round: put Invert Mask between.",
                ),
            ],
            outputs=[
                WanIdentity.Output("identity", tooltip="The identity: vectors, aligned faces, and the encoder's name."),
                io.Image.Output(
                    "aligned",
                    tooltip="The aligned faces as the encoder saw them, 112 x 112 px; Stand-In's portrait "
                    "where no face was looked for.",
                ),
                io.String.Output("report", tooltip="What was seen, kept and left out, and how well the faces agree."),
                io.Image.Output("boxes", tooltip="The pictures with the boxes and points of the faces in them."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        images: list[io.Image.Type],
        encoder: list[str],
        face: dict[str, list[Any]] | None = None,
        combine: list[str] | None = None,
        pick: dict[str, list[Any]] | None = None,
        foreground: list[io.Mask.Type] | None = None,
    ) -> io.NodeOutput:
        chosen = _first({"encoder": encoder, "combine": combine or COMBINE_METHODS, **(face or {}), **(pick or {})})
        selection = FaceSelection(
            chosen.get("pick") or SELECTION_METHODS[0], chosen.get("index") or 0, chosen.get("box") or ""
        )
        needs_pack = chosen["encoder"] == recognisers.OF_THE_PACK
        source = faces.face_source(chosen, selection, with_recogniser=needs_pack)
        result = encode(
            EncodeRequest(images, foreground, chosen["combine"], devices.intermediate_device()),
            source=source,
            recogniser=recognisers.recogniser_of(chosen["encoder"], source),
            progress=devices.progress,
        )
        return io.NodeOutput(result.identity, result.aligned, describe(result), result.boxes)


def _first(widgets: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The value of each widget: to a node that takes lists the host gives every one of them as a list."""
    for name, values in widgets.items():
        if not values:
            raise InputError(name, found="an empty list", wanted="one value", fix="Set it in the node.")
    return {name: values[0] for name, values in widgets.items()}


# Inputs


def _face_input() -> io.DynamicCombo.Input:
    pack = FileInput(
        "pack",
        options=insightface_pack.pack_names(),
        tooltip="A folder of models/insightface/models with insightface's .onnx files, for example buffalo_l. "
        "Nothing is downloaded.",
    )
    landmarker_file = FileInput(
        "landmarker",
        options=files.model_files(landmarker.DETECTION),
        tooltip="The weights of ComfyUI's MediaPipe face landmarker, from models/detection.",
    )
    points = io.String.Input(
        "landmarks",
        multiline=True,
        default="",
        tooltip="One line for each image: x y in pixels of left eye, right eye, nose, left and right mouth corner, "
        "left as seen in the image.",
    )
    inputs = {"landmarks": [points], "insightface pack": [pack], "mediapipe": [landmarker_file]}
    return io.DynamicCombo.Input(
        "face",
        options=[io.DynamicCombo.Option(source, inputs.get(source, [])) for source in faces.SOURCES],
        tooltip="Who says where the face is. auto: an insightface pack finds it if there is one, else ComfyUI's "
        "MediaPipe. Or you say which of them, give five points, take the whole picture, for Stand-In, or have aligned "
        "square crops already.",
    )


def _pick_input() -> io.DynamicCombo.Input:
    index = io.Int.Input(
        "index", default=0, min=0, max=LARGEST_INDEX, tooltip="The face's number from the left, from 0."
    )
    box = io.String.Input("box", default="", tooltip="Left, top, right and bottom of the face in pixels.")
    inputs = {"index": [index], "box": [box]}
    return io.DynamicCombo.Input(
        "pick",
        options=[io.DynamicCombo.Option(method, inputs.get(method, [])) for method in SELECTION_METHODS],
        optional=True,
        tooltip="Which of several faces in a picture is meant, where faces are looked for.",
    )
