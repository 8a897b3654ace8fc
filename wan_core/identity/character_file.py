"""The bytes of a character's file: one safetensors file with its tensors as they are, and one JSON text as metadata.

The text of version 1 is ``_json_of`` a header; the tensors, all fp32, are those of ``Character.tensors``.
The id is not in the file: it is the file's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..checks import checked_count
from ..errors import quoted
from ..safetensors_header import LENGTH_BYTES, METADATA, header_bytes, require_bounded_safetensors
from ..weights import WeightFileError
from .character import (
    HIGHEST_RATE_HZ,
    LOWEST_RATE_HZ,
    Card,
    Character,
    Consent,
    Voice,
    checked_day,
    checked_prose,
    reference_of,
)
from .character_file_v0 import read_version_0
from .character_json import (
    CharacterFileError,
    attributes_of,
    faults_of_file,
    members,
    moment_of,
    parsed,
    require_names,
    sha256_of,
    space_of,
)
from .record import CROP_PX, IDENTITY_D, PORTRAIT_PX, REFERENCE_CROP_PX, Attributes, Identity, Space

FORMAT_VERSION = 1
VERSION_KEY, CHARACTER_KEY = "format_version", "wancast_character"
MOST_FILE_BYTES = 64 * 2**20
MOST_HEADER_BYTES = 2**18  # the longest texts and the most references take three quarters of it
NEEDED_TENSORS = ("references", "embeddings", "crops")
FURTHER_TENSORS = ("z", "reference_crop", "portrait", "voice")
CARD_PARTS = ("name", "notes", "tags", "consent", "created", "revision")
PARTS = (VERSION_KEY, *CARD_PARTS, "space", "attributes", "voice", "content_sha256", "tensors_sha256")


@dataclass(frozen=True, slots=True)
class CharacterHeader:
    """What a list shows of a character, without its tensors."""

    card: Card
    space: Space | None
    attributes: tuple[Attributes, ...] = field(repr=False)
    voice_rate_hz: int | None  # None: without a voice
    transcript: str = field(repr=False)
    content_sha256: str  # of the identity
    tensors_sha256: str = field(repr=False)

    @property
    def reference(self) -> str:
        """What a workflow holds of the character."""
        return reference_of(self.card.id, self.content_sha256)


# Writing


def write_character(character: Character) -> bytes:
    """The bytes of a file of the present version; raises CharacterFileError for what could not be read again."""
    header = header_of(character)
    tensors = {  # none shares memory
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in character.tensors().items()
    }
    content = save(tensors, {CHARACTER_KEY: json.dumps(_json_of(header))})
    if read_header(header_in(content), character.card.id) != header:
        raise CharacterFileError("its texts and numbers do not come back as they are")
    return content


def header_of(character: Character) -> CharacterHeader:
    """What a list shows of a character that is in memory."""
    voice, identity = character.voice, character.identity
    return CharacterHeader(
        card=character.card,
        space=identity.space,
        attributes=identity.attributes,
        voice_rate_hz=voice.rate_hz if voice else None,
        transcript=voice.transcript if voice else "",
        content_sha256=identity.content_sha256,
        tensors_sha256=_sha256(character.tensors()),
    )


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _json_of(header: CharacterHeader) -> dict[str, object]:
    card, consent = header.card, header.card.consent
    return {
        VERSION_KEY: FORMAT_VERSION,
        "name": card.name,
        "notes": card.notes,
        "tags": list(card.tags),
        "consent": {"by": consent.by, "scope": consent.scope, "until": str(consent.until or "")},
        "created": card.created.isoformat(),
        "revision": card.revision,
        "space": asdict(header.space) if header.space else None,
        "attributes": [asdict(one) for one in header.attributes],
        "voice": {"rate_hz": header.voice_rate_hz, "transcript": header.transcript} if header.voice_rate_hz else None,
        "content_sha256": header.content_sha256,
        "tensors_sha256": header.tensors_sha256,
    }


# Reading


def format_version(header: bytes, file_bytes: int) -> int:
    """The version that the header of a whole file says; raises CharacterFileError for no character, and a newer one."""
    try:
        require_bounded_safetensors(header, file_bytes)
    except WeightFileError as error:
        raise CharacterFileError(str(error)) from None
    metadata = _metadata(header)
    if metadata.get(VERSION_KEY) == "0":
        return 0
    said = parsed(metadata.get(CHARACTER_KEY, "null"))
    version = said.get(VERSION_KEY) if isinstance(said, dict) else None
    if type(version) is not int or version < 1:
        raise CharacterFileError("its metadata do not say the version of a character, so it is no character of WanCast")
    if version > FORMAT_VERSION:
        raise CharacterFileError(
            f"it is of version {quoted(version)}, and this WanCast reads up to version {FORMAT_VERSION}: update WanCast"
        )
    return version


def read_header(header: bytes, character_id: str) -> CharacterHeader:
    """What a list shows, from a header that ``format_version`` says to be of version 1; raises CharacterFileError."""
    text = members(_metadata(header), (CHARACTER_KEY,), of="metadata")[CHARACTER_KEY]
    with faults_of_file():
        found = _header_of_json(text, character_id)
    _require_fitting(json.loads(header), found)
    return found


def read_character(content: bytes, character_id: str) -> Character:
    """The character of a file of any version up to the present one; raises CharacterFileError."""
    header = header_in(content)
    version = format_version(header, len(content))
    tensors = load(content)
    if version == 0:
        with faults_of_file():
            return read_version_0(_metadata(header), tensors, character_id)
    return _character_of(read_header(header, character_id), tensors)


def version_of(content: bytes) -> int:
    """The version of a file's bytes; raises CharacterFileError."""
    return format_version(header_in(content), len(content))


def header_in(content: bytes) -> bytes:
    """The header of a file's bytes; raises CharacterFileError."""
    if len(content) > MOST_FILE_BYTES:
        raise CharacterFileError(f"it has {len(content)} bytes, more than {MOST_FILE_BYTES}")
    length = header_length(content[:LENGTH_BYTES], len(content))
    return content[LENGTH_BYTES : LENGTH_BYTES + length]


def header_length(length_field: bytes, file_bytes: int) -> int:
    """The length of the header from a file's first bytes; raises CharacterFileError for none and for a long one."""
    try:
        length = header_bytes(length_field, file_bytes)
    except WeightFileError as error:
        raise CharacterFileError(str(error)) from None
    if length > MOST_HEADER_BYTES:
        raise CharacterFileError(f"its header has {length} bytes, more than {MOST_HEADER_BYTES}")
    return length


def _metadata(header: bytes) -> dict[str, str]:
    """The metadata of a sound header."""
    return json.loads(header).get(METADATA) or {}


def _header_of_json(text: str, character_id: str) -> CharacterHeader:
    """Raises CharacterFileError, or InputError for a text or number that a character may not have."""
    said = members(parsed(text), PARTS, of="character")
    consent = members(said["consent"], ("by", "scope", "until"), of="consent")
    rate_hz, transcript = None, ""
    if said["voice"] is not None:
        voice = members(said["voice"], ("rate_hz", "transcript"), of="voice")
        rate_hz = checked_count(voice["rate_hz"], HIGHEST_RATE_HZ, name="rate_hz", least=LOWEST_RATE_HZ)
        transcript = checked_prose(voice["transcript"], name="transcript")
    for part in ("tags", "attributes"):
        if not isinstance(said[part], list):
            raise CharacterFileError(f"its {part} are {quoted(said[part])} and not a list")
    return CharacterHeader(
        card=Card(
            id=character_id,
            name=said["name"],
            notes=said["notes"],
            tags=tuple(said["tags"]),
            consent=Consent(consent["by"], consent["scope"], checked_day(consent["until"], name="consent_until")),
            created=moment_of(said["created"]),
            revision=said["revision"],
        ),
        space=None if said["space"] is None else space_of(said["space"]),
        attributes=tuple(map(attributes_of, said["attributes"])),
        voice_rate_hz=rate_hz,
        transcript=transcript,
        content_sha256=sha256_of(said["content_sha256"], of="content_sha256"),
        tensors_sha256=sha256_of(said["tensors_sha256"], of="tensors_sha256"),
    )


def _require_fitting(listed: Mapping[str, Any], header: CharacterHeader) -> None:
    """Raises CharacterFileError unless the tensors that are listed, with type and shape, are those of the character."""
    tensors = {name: tensor for name, tensor in listed.items() if name != METADATA}
    require_names(tensors, NEEDED_TENSORS, of="tensors", also=FURTHER_TENSORS)
    if ("voice" in tensors) != (header.voice_rate_hz is not None):
        raise CharacterFileError("it has a voice without its rate, or a rate without a voice")
    if ("z" in tensors) != (header.space is not None):
        raise CharacterFileError("it has a vector without its space, or a space without a vector")
    if any(tensor["dtype"] != "F32" for tensor in tensors.values()):
        raise CharacterFileError("its tensors are not all in fp32")
    count = len(header.attributes)
    shapes = {
        "z": [IDENTITY_D],
        "references": [count, IDENTITY_D],
        "crops": [count, CROP_PX, CROP_PX, 3],
        "reference_crop": [REFERENCE_CROP_PX, REFERENCE_CROP_PX, 3],
        "portrait": [PORTRAIT_PX, PORTRAIT_PX, 3],
    }
    for name, shape in shapes.items():
        if name in tensors and tensors[name]["shape"] != shape:
            raise CharacterFileError(f"its {name} has the shape {tensors[name]['shape']} and not {shape}")


def _character_of(header: CharacterHeader, tensors: dict[str, Tensor]) -> Character:
    """The character that a header of version 1 and the tensors are; raises CharacterFileError."""
    if _sha256(tensors) != header.tensors_sha256:
        raise CharacterFileError("its tensors are not those that were saved")
    waveform = tensors.pop("voice", None)
    with faults_of_file():
        identity = Identity(
            z=tensors.get("z"),
            references=tensors["references"],
            embeddings=tensors["embeddings"],
            crops=tensors["crops"],
            reference_crop=tensors.get("reference_crop"),
            portrait=tensors.get("portrait"),
            attributes=header.attributes,
            space=header.space,
        )
        if identity.content_sha256 != header.content_sha256:
            raise CharacterFileError("its identity is not the one that its header names")
        voice = None if waveform is None else Voice(waveform, header.voice_rate_hz or 0, header.transcript)
        return Character(header.card, identity, voice)
