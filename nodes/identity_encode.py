"""IdentityEncode: pictures of one person become an identity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.errors import InputError
from ..wan_core.identity.align import parse_landmarks
from ..wan_core.identity.combine import WAYS, combine, require_way
from ..wan_core.identity.draw import draw_faces
from ..wan_core.identity.encode import Recogniser, embed, ir_recogniser, iresnet_recogniser
from ..wan_core.identity.encoder import build_encoder
from ..wan_core.identity.faces import PICKS, Face, Pick, face_of_points
from ..wan_core.identity.gather import (
    Reference,
    Sighting,
    best_of,
    identity_of,
    identity_of_pictures,
    look,
    references_of,
    references_of_crops,
)
from ..wan_core.identity.images import Pictures, read_pictures
from ..wan_core.identity.iresnet import Normalisation, normalisation_of, require_recogniser
from ..wan_core.identity.record import Space
from ..wan_core.identity.report import describe, describe_picture, describe_portrait
from .host import devices, faces, files, onnx_network
from .types import WanIdentity, names_its_errors

ALIGNED, LANDMARKS, PACK, LANDMARKER, WHOLE = (
    "aligned crop",
    "landmarks",
    "insightface pack",
    "mediapipe",
    "whole picture",
)
SOURCES = (ALIGNED, LANDMARKS, PACK, LANDMARKER, WHOLE)
OF_THE_PACK, NO_ENCODER = "recogniser of the insightface pack", "none (for Stand-In)"


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
            inputs=[
                io.Image.Input("images", tooltip="Pictures of one person, or the frames of a video (16 are sampled)."),
                io.Combo.Input(
                    "encoder",
                    options=[*files.model_files(files.FACE_RECOGNITION), OF_THE_PACK, NO_ENCODER],
                    tooltip="A face recogniser from models/face_recognition: of the IR-SE50 family, or an iResNet as "
                    ".onnx. Lynx adapters expect recognition_arcface_ir_se50.pth of facexlib; Stand-In needs none.",
                ),
                _face_input(),
                io.Combo.Input(
                    "combine",
                    options=list(WAYS),
                    default=WAYS[0],
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
        images: torch.Tensor,
        encoder: str,
        face: dict[str, Any] | None = None,
        combine: str = WAYS[0],
        pick: dict[str, Any] | None = None,
        foreground: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        require_way(combine)
        source = Source.of(face or {}, pick or {}, encoder)
        pictures = read_pictures(images, foreground)
        if source.kind == WHOLE:
            identity, report = identity_of_pictures(pictures, None), describe_picture(pictures)
            return io.NodeOutput(identity, _sent(identity.portrait[None]), report, _sent(pictures.rgb))
        return io.NodeOutput(*_encode(pictures, source, combine))


# Inputs


def _face_input() -> io.DynamicCombo.Input:
    pack = io.Combo.Input(
        "pack",
        options=faces.pack_names(),
        tooltip="A folder of models/insightface/models with insightface's .onnx files, for example buffalo_l. "
        "Nothing is downloaded.",
    )
    landmarker = io.Combo.Input(
        "landmarker",
        options=faces.landmarker_files(),
        tooltip="The weights of ComfyUI's MediaPipe face landmarker, from models/detection.",
    )
    points = io.String.Input(
        "landmarks",
        multiline=True,
        default="",
        tooltip="One line for each image: x y in pixels of left eye, right eye, nose, left and right mouth corner, "
        "left as seen in the image.",
    )
    inputs = {LANDMARKS: [points], PACK: [pack], LANDMARKER: [landmarker]}
    return io.DynamicCombo.Input(
        "face",
        options=[io.DynamicCombo.Option(source, inputs.get(source, [])) for source in SOURCES],
        tooltip="Who says where the face is: the images are aligned square crops already, you give five points, an "
        "insightface pack or ComfyUI's MediaPipe finds it, or there is none, for Stand-In.",
    )


def _pick_input() -> io.DynamicCombo.Input:
    index = io.Int.Input("index", default=0, min=0, max=99, tooltip="The face's number from the left, from 0.")
    box = io.String.Input("box", default="", tooltip="Left, top, right and bottom of the face in pixels.")
    inputs = {"index": [index], "box": [box]}
    return io.DynamicCombo.Input(
        "pick",
        options=[io.DynamicCombo.Option(way, inputs.get(way, [])) for way in PICKS],
        optional=True,
        tooltip="Which of several faces in a picture is meant, where faces are looked for.",
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Where the faces come from, and the recogniser."""

    kind: str  # one of SOURCES
    encoder: str
    inputs: dict[str, Any]  # that the choice of ``face`` brings
    pick: Pick  # which of several faces is meant

    @classmethod
    def of(cls, face: dict[str, Any], pick: dict[str, Any], encoder: str) -> Source:
        """Reads the choices; raises InputError for an unknown one, and for a pack's recogniser without a pack."""
        kind = face.get("face")
        if kind not in SOURCES:
            raise InputError(
                "face",
                found=repr(kind),
                wanted=f"one of {', '.join(SOURCES)}",
                fix="In API format set the input face, and for example face.landmarks beside it.",
            )
        if encoder == OF_THE_PACK and kind not in (PACK, WHOLE):
            raise InputError(
                "encoder",
                found=f"{encoder!r} with face {kind!r}",
                wanted=f"face {PACK!r} with it",
                fix=f"Choose {PACK!r} in face, or here a file of models/{files.FACE_RECOGNITION}, or {NO_ENCODER!r}.",
            )
        meant = Pick(pick.get("pick") or PICKS[0], pick.get("index") or 0, pick.get("box") or "")
        return cls(kind, encoder, face, meant)


# The run


@dataclass(frozen=True, slots=True)
class Encoder:
    """A recogniser ready to run, and whose vectors it makes."""

    recognise: Recogniser
    space: Space
    label: str  # for a person


def _encode(pictures: Pictures, source: Source, way: str) -> tuple[Any, torch.Tensor, str, torch.Tensor]:
    networks = None
    if source.kind == PACK:
        pack = faces.read_pack(source.inputs.get("pack") or "")
        networks = faces.load_pack(pack, with_recogniser=source.encoder == OF_THE_PACK)
    embeds = source.encoder != NO_ENCODER
    on_picture, on_face = faces.progress_of_two(len(pictures.rgb), len(pictures.rgb) if embeds else 0)
    sightings, references = _references(pictures, source, networks, on_picture)
    drawn = _sent(_drawn(pictures, sightings))
    if not embeds:
        best = best_of(references)
        identity = identity_of_pictures(pictures, best)
        report = describe_portrait(pictures, sightings, references, best, source=_source_label(source))
        return identity, _sent(best.crop[None]), report, drawn
    crops = torch.stack([reference.crop for reference in references])  # k 112 112 3
    with _encoder(source, networks) as encoder:
        embeddings = embed(encoder.recognise, crops, on_face)
    vectors = embeddings.unit.to(devices.intermediate_device())
    combined = combine(
        vectors,
        way=way,
        qualities=[reference.quality.total for reference in references],
        weights=[reference.quality.score for reference in references],
        numbers=[reference.number for reference in references],
    )
    identity = identity_of(pictures, references, vectors, combined, encoder.space)
    report = describe(
        identity,
        pictures,
        sightings,
        references,
        embeddings,
        combined,
        encoder=encoder.label,
        source=_source_label(source),
        way=way,
    )
    return identity, _sent(identity.crops), report, drawn


def _references(
    pictures: Pictures, source: Source, networks: faces.PackNetworks | None, on_picture: faces.OnPicture
) -> tuple[list[Sighting], list[Reference]]:
    """What was seen in each picture, and the faces that are meant; without sightings where the crops are given."""
    if source.kind == ALIGNED:
        return [], references_of_crops(pictures)
    if source.kind == LANDMARKS:
        found = _faces_of_landmarks(pictures, source.inputs.get(LANDMARKS) or "")
    elif networks is not None:
        found = faces.faces_by_insightface(networks, pictures.rgb, on_picture)
    else:
        landmarker = faces.load_landmarker(source.inputs.get("landmarker") or "")
        found = faces.faces_by_landmarker(landmarker, pictures.rgb, on_picture)
    sightings = look(pictures, found, source.pick)
    return sightings, references_of(pictures, sightings)


def _faces_of_landmarks(pictures: Pictures, text: str) -> list[list[Face]]:
    height_px, width_px = pictures.rgb.shape[1:3]
    lines = parse_landmarks(text, count=pictures.total, width_px=width_px, height_px=height_px)
    return [[face_of_points(lines[number - 1])] for number in pictures.numbers]


@contextmanager
def _encoder(source: Source, networks: faces.PackNetworks | None) -> Iterator[Encoder]:
    """The recogniser that was picked, loaded for as long as the block runs."""
    if source.encoder == OF_THE_PACK:
        yield _pack_encoder(source.inputs["pack"], networks)
    elif source.encoder.lower().endswith(files.ONNX):
        yield _onnx_encoder(source.encoder)
    else:
        weights = files.load_weights(files.FACE_RECOGNITION, source.encoder, input_name="encoder")
        network, shape = build_encoder(weights.state_dict, operations=devices.operations)
        with devices.on_device(network) as device:
            space = Space(weights.name, weights.sha256, shape.family)
            yield Encoder(ir_recogniser(network, device), space, shape.label)


def _onnx_encoder(name: str) -> Encoder:
    path = onnx_network.find_recogniser(name)
    outline = onnx_network.read_outline(path, input_name="encoder")
    require_recogniser(outline, name)
    session = onnx_network.open_session(path)
    recognise = iresnet_recogniser(onnx_network.runner(session, name), normalisation_of(outline))
    return Encoder(recognise, Space(name, files.file_sha256(path), "iResNet"), "iResNet, ONNX")


def _pack_encoder(pack: str, networks: faces.PackNetworks) -> Encoder:
    network = faces.require_pack_recogniser(networks, pack)
    name = f"{pack}/{network.file_name}"
    recognise = iresnet_recogniser(onnx_network.runner(network.session, name), Normalisation(network.mean, network.std))
    return Encoder(recognise, Space(name, files.file_sha256(network.path), "iResNet"), "iResNet, ONNX")


def _source_label(source: Source) -> str:
    if source.kind in (PACK, LANDMARKER):
        file = source.inputs["pack" if source.kind == PACK else "landmarker"]
        return f"{source.kind} {file}, {source.pick.way}"
    return source.kind


def _drawn(pictures: Pictures, sightings: list[Sighting]) -> torch.Tensor:
    """The pictures, b h w 3, with the boxes of what was seen in them, if anything was looked for."""
    boxes = [draw_faces(pictures.rgb[index], each.faces, each.chosen) for index, each in enumerate(sightings)]
    return torch.stack(boxes) if boxes else pictures.rgb


def _sent(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures where the host wants what travels between nodes."""
    return pictures.to(devices.intermediate_device())
