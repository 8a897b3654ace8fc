"""Characters as version 0 kept them: vectors, and pictures in whole numbers from 0 to 255.

Its metadata are texts side by side; it had no notes, no consent, no voice, and one vector for a resampler.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .character import Card, Character, Consent
from .character_json import CharacterFileError, attributes_of, members, moment_of, parsed, require_names, space_of
from .record import Attributes, Identity

TENSORS = ("z_mean", "z_refs", "crop112", "ref256", "standin512")  # fp32 twice, then u8
METADATA_PARTS = ("format_version", "name", "space", "encoder_sha256", "attributes", "created")
ATTRIBUTES = {  # as they are called now
    "age": "age_years",
    "gender": "sex",
    "yaw": "yaw_deg",
    "pitch": "pitch_deg",
    "roll": "roll_deg",
    "det_score": "detection_score",
    "face_px": "face_px",
}
NOT_MEASURED = 0.0  # the quality
UNKNOWN_FAMILY = "unknown"  # of the recogniser's network: an adapter that wants a family refuses it


def read_version_0(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], character_id: str) -> Character:
    """The character of a file of version 0; raises CharacterFileError, or InputError for what none may have."""
    said = members(metadata, METADATA_PARTS, of="metadata")
    require_names(tensors, TENSORS, of="tensors")
    pictures = [_unit_range(tensors[name]) for name in ("crop112", "ref256", "standin512")]
    measured = parsed(said["attributes"])
    if not isinstance(measured, list):
        raise CharacterFileError("its attributes are no list")
    identity = Identity(
        z=tensors["z_mean"],
        references=tensors["z_refs"],
        embeddings=tensors["z_mean"][None],
        crops=pictures[0],
        reference_crop=pictures[1],
        portrait=pictures[2],
        attributes=tuple(map(_attributes, measured)),
        space=space_of({"name": said["space"], "sha256": said["encoder_sha256"], "family": UNKNOWN_FAMILY}),
    )
    card = Card(character_id, said["name"], "", (), Consent(), moment_of(said["created"]), revision=1)
    return Character(card, identity)


def _unit_range(picture: Tensor) -> Tensor:
    if picture.dtype != torch.uint8:
        raise CharacterFileError("its pictures are not in whole numbers from 0 to 255")
    return picture.float() / 255


def _attributes(value: object) -> Attributes:
    said = members(value, ATTRIBUTES, of="attributes")
    return attributes_of({new: said[old] for old, new in ATTRIBUTES.items()} | {"quality": NOT_MEASURED})
