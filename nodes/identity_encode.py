"""IdentityEncode: pictures of one person become an identity."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from ..wan_core.errors import InputError
from ..wan_core.identity.align import align_face, parse_landmarks
from ..wan_core.identity.encode import Embeddings, agreement, embed, merge
from ..wan_core.identity.encoder import build_encoder
from ..wan_core.identity.images import as_rgb, square_crops
from ..wan_core.identity.record import CROP_PX, Identity, Space
from .host import devices, files
from .types import WanIdentity, names_its_errors

ALIGNED, LANDMARKS = "aligned crop", "landmarks"


class IdentityEncode(io.ComfyNode):
    """Aligns faces, embeds them and makes one identity of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IdentityEncode",
            display_name="Identity Encode",
            category="WanCast/identity",
            description="Turns pictures of one person into an identity that IDLock can hold in every shot.",
            search_aliases=["face embedding", "arcface", "z_id", "face id", "character"],
            inputs=[
                io.Image.Input("images", tooltip="One or more pictures of one person, one face each."),
                io.Combo.Input(
                    "encoder",
                    options=files.model_files(files.FACE_RECOGNITION),
                    tooltip="A face recogniser of the IR-SE50 family, from models/face_recognition. "
                    "Lynx adapters expect recognition_arcface_ir_se50.pth of facexlib.",
                ),
                io.DynamicCombo.Input(
                    "face",
                    options=[io.DynamicCombo.Option(ALIGNED, []), io.DynamicCombo.Option(LANDMARKS, [_landmarks()])],
                    tooltip="Where the face is: the images are aligned square crops already, or you give the points.",
                ),
            ],
            outputs=[
                WanIdentity.Output("identity", tooltip="The identity: vectors, aligned faces, and the encoder's name."),
                io.Image.Output("aligned", tooltip="The aligned faces as the encoder saw them, 112 x 112 px."),
                io.String.Output("report", tooltip="Encoder, size of each face, and how well the faces agree."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(cls, images: torch.Tensor, encoder: str, face: dict[str, Any] | None = None) -> io.NodeOutput:
        crops, faces_px = _aligned_faces(as_rgb(images), face or {})
        weights = files.load_weights(files.FACE_RECOGNITION, encoder, input_name="encoder")
        network, shape = build_encoder(weights.state_dict, operations=devices.operations)
        with devices.on_device(network) as device:
            embeddings = embed(network, crops, device, on_face=devices.progress(len(crops)))
        kept = devices.intermediate_device()
        references, crops = embeddings.unit.to(kept), crops.to(kept)
        space = Space(weights.name, weights.sha256, shape.family)
        identity = Identity(z=merge(references), references=references, crops=crops, space=space)
        return io.NodeOutput(identity, crops, _report(identity, shape.label, faces_px, embeddings))


def _landmarks() -> io.String.Input:
    return io.String.Input(
        "landmarks",
        multiline=True,
        default="",
        tooltip="One line for each image: x y in pixels of left eye, right eye, nose, left and right mouth corner, "
        "left as seen in the image.",
    )


def _aligned_faces(images: torch.Tensor, face: dict[str, Any]) -> tuple[torch.Tensor, list[float]]:
    """The faces as k 112 112 3, and how many pixels of the image each came from."""
    count, height_px, width_px, _ = images.shape
    choice = face.get("face")
    if choice == ALIGNED:
        return square_crops(images), [float(width_px)] * count
    if choice != LANDMARKS:
        raise InputError(
            "face",
            found=repr(choice),
            wanted=f'"{ALIGNED}" or "{LANDMARKS}"',
            fix="In API format set the input face, and face.landmarks beside it.",
        )
    lines = parse_landmarks(face.get(LANDMARKS) or "", count=count, width_px=width_px, height_px=height_px)
    faces = [align_face(image, points) for image, points in zip(images, lines, strict=True)]
    return torch.stack([aligned.crop for aligned in faces]), [aligned.face_px for aligned in faces]


def _report(identity: Identity, label: str, faces_px: list[float], embeddings: Embeddings) -> str:
    lines = [f"encoder: {identity.space.name} ({label}), sha256 {identity.space.sha256[:12]}"]
    rows = zip(faces_px, agreement(identity.references), embeddings.norms, strict=True)
    for number, (face_px, cos, norm) in enumerate(rows, start=1):
        hint = f" (small; {CROP_PX} px or more is better)" if face_px < CROP_PX else ""
        together = f", cos {cos:.3f} to the mean of the others" if len(faces_px) > 1 else ""
        lines.append(f"image {number}: face {face_px:.0f} px{hint}{together}, embedding length {norm:.2f}")
    return "\n".join(lines)
