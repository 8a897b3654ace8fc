"""A character comes back from its file bit for bit, and what is no character is refused by a sentence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from tests.unit.identity.some_characters import (
    ABOUT,
    ABOUT_V0,
    CARD,
    ID,
    LEAST,
    METADATA_V0,
    SMALL,
    SPACE,
    UNKNOWN,
    WHOLE,
    file_v0,
    identity,
    tensors_v0,
    unit,
)
from tests.unit.identity.some_inputs import noise
from wan_core.identity.character import Card, Character, Consent, Voice
from wan_core.identity.character_file import (
    CHARACTER_KEY,
    FORMAT_VERSION,
    MOST_FILE_BYTES,
    MOST_HEADER_BYTES,
    header_in,
    header_of,
    read_character,
    read_header,
    version_of,
    write_character,
)
from wan_core.identity.character_json import CharacterFileError
from wan_core.identity.record import Attributes, Identity, Space

OTHER_ID = "f" * 32
FULL_TEXT = "\U0001f3ac" * 4000  # no letters take more bytes
FULL = Card(
    id=ID,
    name="\U0001f3ac" * 64,
    notes=FULL_TEXT,
    tags=tuple(f"{number:02}" + "\U0001f3ac" * 30 for number in range(32)),
    consent=Consent("\U0001f3ac" * 200, FULL_TEXT),
    created=CARD.created,
    revision=2**53 - 1,
)
MANY = Identity(unit(1, 3)[0], unit(16, 3), unit(16, 3), noise(16, 112, 112, 3), None, None, (ABOUT,) * 16, SPACE)


# There and back


@pytest.mark.parametrize(
    "character",
    [WHOLE, LEAST, SMALL, Character(FULL, MANY, Voice(noise(1, 90), 8000, FULL_TEXT))],
    ids=["whole", "portrait alone", "without pictures", "full"],
)
def test_a_character_comes_back_bit_for_bit(character: Character) -> None:
    content = write_character(character)
    found = read_character(content, character.card.id)
    assert found.card == character.card
    assert (found.identity.attributes, found.identity.space) == (
        character.identity.attributes,
        character.identity.space,
    )
    assert found.reference == character.reference
    wanted, tensors = character.tensors(), found.tensors()
    assert wanted.keys() == tensors.keys()
    assert all(torch.equal(wanted[name], tensors[name]) and tensors[name].dtype == torch.float32 for name in wanted)
    if character.voice:
        assert (found.voice.rate_hz, found.voice.transcript) == (character.voice.rate_hz, character.voice.transcript)
    assert read_header(header_in(content), character.card.id) == header_of(character)
    assert write_character(found) == content


def test_it_does_not_matter_how_the_tensors_lie_in_memory() -> None:
    crops = WHOLE.identity.crops.movedim(-1, 1).contiguous().movedim(1, -1)
    sound = WHOLE.voice.waveform.T.contiguous().T
    assert not crops.is_contiguous() and not sound.is_contiguous()
    scattered = replace(
        WHOLE, identity=replace(WHOLE.identity, crops=crops), voice=replace(WHOLE.voice, waveform=sound)
    )
    assert write_character(scattered) == write_character(WHOLE)


def test_the_id_is_that_of_the_files_name() -> None:
    content = write_character(WHOLE)
    assert ID.encode() not in content
    assert read_character(content, OTHER_ID).card == replace(CARD, id=OTHER_ID)


def test_what_could_not_be_read_again_is_not_written() -> None:
    sound = identity(pictures=False)
    for character, words in (
        (
            replace(SMALL, identity=replace(sound, space=Space("a\nb", "ab" * 32, "IR"))),
            "its space has the name 'a\\nb'",
        ),
        (replace(SMALL, identity=replace(sound, space=Space("a", "AB", "IR"))), "its space is 'AB' and not a SHA-256"),
        (
            replace(SMALL, identity=replace(sound, attributes=(UNKNOWN, replace(UNKNOWN, face_px=float("nan"))))),
            "its face_px is nan and not a number from -1e+06 to 1e+06",
        ),
    ):
        with pytest.raises(CharacterFileError) as caught:
            write_character(character)
        assert words in str(caught.value)


# Damaged and foreign files

CONTENT = write_character(replace(SMALL, voice=WHOLE.voice))  # all but the large pictures
TENSORS = load(CONTENT)
SAID = json.loads(json.loads(header_in(CONTENT))["__metadata__"][CHARACTER_KEY])


def with_text(text: str, tensors: dict[str, torch.Tensor] = TENSORS) -> bytes:
    return save(tensors, {CHARACTER_KEY: text})


def said(**changes: Any) -> bytes:
    return with_text(json.dumps(SAID | changes))


def hashed(tensors: dict[str, torch.Tensor]) -> bytes:
    """A file whose tensors are those that it names, as one who makes a file by hand would write it."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\n".encode() + tensors[name].numpy().tobytes())
    return with_text(json.dumps(SAID | {"tensors_sha256": digest.hexdigest()}), tensors)


def about(**changes: Any) -> bytes:
    return said(attributes=[SAID["attributes"][0], SAID["attributes"][1] | changes])


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in TENSORS.items() if key != name}


NOT_A_NUMBER = "not a number from -1e+06 to 1e+06"
NO_VERSION = "its metadata do not say the version of a character, so it is no character of WanCast"
NOW, FUTURE = '{"format_version": 1}', '{"format_version": 99, "soul": [1, 2]}'
DEEP = "[" * 100_000
LONG_HEADER = MOST_HEADER_BYTES + 64
REFUSED: list[tuple[str, Callable[[], bytes]]] = [
    ("it ends after 0 bytes", lambda: b""),
    ("its first bytes promise a header of", lambda: b"PK\x03\x04" * 100),
    ("it is cut off", lambda: CONTENT[:-1]),
    ("1 bytes more than its tensors need", lambda: CONTENT + b"\0"),
    (
        f"its header has {MOST_HEADER_BYTES + 64} bytes",
        lambda: (MOST_HEADER_BYTES + 64).to_bytes(8, "little") + CONTENT,
    ),
    (f"it has {MOST_FILE_BYTES + 1} bytes, more than {MOST_FILE_BYTES}", lambda: bytes(MOST_FILE_BYTES + 1)),
    (NO_VERSION, lambda: save(TENSORS)),
    (NO_VERSION, lambda: save(TENSORS, {"format_version": "1"})),
    (NO_VERSION, lambda: with_text("7")),
    (NO_VERSION, lambda: said(format_version="1")),
    (NO_VERSION, lambda: said(format_version=True)),
    (NO_VERSION, lambda: said(format_version=0)),
    ("it is of version 99, and this WanCast reads up to version 1: update", lambda: with_text(FUTURE, {})),
    (
        "in its metadata it has the unknown 'a'",
        lambda: save({}, {"a": "b", "wancast_character": NOW}),
    ),
    ("its metadata is no sound JSON", lambda: with_text(DEEP)),
    ("its metadata is no sound JSON", lambda: with_text("1" * 5000)),
    ("its metadata is no sound JSON", lambda: with_text('{"name": "a", "name": "b"}')),
    ("in its character it has the unknown 'extra'", lambda: said(extra=1)),
    ("its consent is 'yes' and not an object", lambda: said(consent="yes")),
    ("its consent_until is 'soon' and not a day", lambda: said(consent=SAID["consent"] | {"until": "soon"})),
    ("its created is 'today' and not a moment", lambda: said(created="today")),
    ("its created is another time zone and not UTC", lambda: said(created="2026-01-01T00:00:00")),
    ("its name is nothing that can be seen and not from 1 to 64 letters", lambda: said(name="")),
    ("its name is None and not text", lambda: said(name=None)),
    ("its tags are 'a' and not a list", lambda: said(tags="a")),
    ("its revision is True and not a whole number", lambda: said(revision=True)),
    ("its revision is a whole number of 3322 bits", lambda: said(revision=10**1000)),
    ("its attributes are a dict and not a list", lambda: said(attributes={})),
    ("in its attributes it has the unknown 'mood'", lambda: about(mood="good")),
    ("its sex is 'x' and not one of female, male", lambda: about(sex="x")),
    ("its age_years is 30.5 and not a whole number", lambda: about(age_years=30.5)),
    ("its age_years is -5 and not a whole number from 0 to 120", lambda: about(age_years=-5)),
    ("its references has the shape [2, 512] and not [1, 512]", lambda: said(attributes=SAID["attributes"][:1])),
    ("or a space without a vector", lambda: hashed(without("z"))),
    (f"its yaw_deg is nan and {NOT_A_NUMBER}", lambda: about(yaw_deg=float("nan"))),
    (f"its quality is None and {NOT_A_NUMBER}", lambda: about(quality=None)),
    (f"its face_px is inf and {NOT_A_NUMBER}", lambda: about(face_px=float("inf"))),
    ("in its space it lacks 'family'", lambda: said(space={"name": "a", "sha256": "b"})),
    ("its space is 'ab' and not a SHA-256", lambda: said(space=SAID["space"] | {"sha256": "ab"})),
    ("a vector without its space", lambda: said(space=None)),
    ("its rate_hz is 7 and not a whole number from 8000", lambda: said(voice={"rate_hz": 7, "transcript": ""})),
    ("its transcript is a list and not text", lambda: said(voice={"rate_hz": 8000, "transcript": []})),
    ("it has a voice without its rate", lambda: said(voice=None)),
    ("or a rate without a voice", lambda: hashed(without("voice"))),
    ("its tensors_sha256 is '' and not a SHA-256", lambda: said(tensors_sha256="")),
    ("its tensors are not those that were saved", lambda: said(tensors_sha256="0" * 64)),
    ("its identity is not the one that its header names", lambda: said(content_sha256="0" * 64)),
    ("in its tensors it has the unknown 'other'", lambda: hashed(TENSORS | {"other": torch.zeros(1)})),
    ("in its tensors it lacks 'crops'", lambda: hashed(without("crops"))),
    ("its tensors are not all in fp32", lambda: hashed(TENSORS | {"z": TENSORS["z"].double()})),
    ("its identity is z of length 2 and not finite vectors", lambda: hashed(TENSORS | {"z": TENSORS["z"] * 2})),
    ("its identity is z of length nan", lambda: hashed(TENSORS | {"z": TENSORS["z"] * float("nan")})),
    ("its z has the shape [256] and not [512]", lambda: hashed(TENSORS | {"z": TENSORS["z"][:256].clone()})),
    ("its identity is a picture of other numbers", lambda: hashed(TENSORS | {"crops": TENSORS["crops"] / 0})),
    ("its voice is NaN or an infinity", lambda: hashed(TENSORS | {"voice": TENSORS["voice"] / 0})),
    ("its voice is 3 channels", lambda: hashed(TENSORS | {"voice": torch.zeros(3, 9)})),
]


@pytest.mark.parametrize(("words", "content"), REFUSED)
def test_what_is_no_character_is_refused_by_a_sentence(words: str, content: Callable[[], bytes]) -> None:
    with pytest.raises(CharacterFileError) as caught:
        read_character(content(), ID)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content", [said(attributes=[]), hashed(without("voice")), hashed(without("z")), said(name="")]
)
def test_what_the_header_alone_tells_is_told_by_it(content: bytes) -> None:
    with pytest.raises(CharacterFileError):
        read_header(header_in(content), ID)


def test_a_flipped_bit_of_a_tensor_is_seen() -> None:
    start = len(header_in(CONTENT)) + 8
    for place in range(start, len(CONTENT), (len(CONTENT) - start) // 40):
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1
        with pytest.raises(CharacterFileError, match="not those that were saved"):
            read_character(bytes(damaged), ID)


# Version 0

V0_LEFT = {name: tensor for name, tensor in tensors_v0().items() if name != "ref256"}


def test_a_file_of_version_0_becomes_a_character() -> None:
    content, tensors = file_v0(), tensors_v0()
    found = read_character(content, ID)
    assert version_of(content) == 0 < version_of(write_character(found)) == FORMAT_VERSION
    assert found.card == Card(ID, "Old", "", (), Consent(), found.card.created, 1)
    assert found.card.created.isoformat() == METADATA_V0["created"]
    kept = found.identity
    assert torch.equal(kept.z, tensors["z_mean"]) and torch.equal(kept.references, tensors["z_refs"])
    assert torch.equal(kept.embeddings, tensors["z_mean"][None])
    for picture, name in ((kept.crops, "crop112"), (kept.reference_crop, "ref256"), (kept.portrait, "standin512")):
        assert torch.equal((picture * 255).round().to(torch.uint8), tensors[name])
    assert kept.attributes == (Attributes(41, "male", 1.5, None, 0.0, 0.8, 150, 0.0),)
    assert kept.space == Space("old.pth", "cd" * 32, "unknown")
    assert found.voice is None


@pytest.mark.parametrize(
    ("words", "content"),
    [
        ("in its metadata it has the unknown 'licence'", lambda: file_v0(licence="x")),
        ("its space is 'x' and not a SHA-256", lambda: file_v0(encoder_sha256="x")),
        ("its attributes are no list", lambda: file_v0(attributes="{}")),
        ("its sex is 'x' and not", lambda: file_v0(attributes=json.dumps([ABOUT_V0 | {"gender": "x"}]))),
        ("its identity is 0 attributes for 1 references", lambda: file_v0(attributes="[]")),
        (
            "in its tensors it lacks 'ref256'",
            lambda: save({k: v for k, v in tensors_v0().items() if k != "ref256"}, METADATA_V0),
        ),
        ("not in whole numbers", lambda: save(tensors_v0() | {"crop112": noise(1, 112, 112, 3)}, METADATA_V0)),
        ("z of length 2", lambda: save(tensors_v0() | {"z_mean": tensors_v0()["z_mean"] * 2}, METADATA_V0)),
    ],
)
def test_a_damaged_file_of_version_0_is_refused(words: str, content: Callable[[], bytes]) -> None:
    with pytest.raises(CharacterFileError) as caught:
        read_character(content(), ID)
    assert words in str(caught.value)
