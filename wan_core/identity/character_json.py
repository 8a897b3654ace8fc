"""The JSON in a character's file, read strictly: no unknown part, no other type, no number without bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

from ..checks import checked_count, checked_number, require_choice
from ..errors import InputError, quoted
from ..safetensors_header import without_doubles
from ..weights import LONGEST_NAME, shown
from .record import OLDEST_YEARS, Attributes, Space

SEXES = ("female", "male")
LARGEST_MEASURE = 1_000_000  # degrees or pixels: whatever a network guesses
SHA256 = re.compile(r"[0-9a-f]{64}")
SPACE_PARTS = tuple(part.name for part in fields(Space))
ATTRIBUTE_PARTS = tuple(part.name for part in fields(Attributes))
NEVER_NONE = ("face_px", "quality")


class CharacterFileError(ValueError):
    """Why a character's file cannot be used: what it is or has, in words."""


@contextmanager
def faults_of_file() -> Iterator[None]:
    """Says of what the block refuses as an input that it is in the file."""
    try:
        yield
    except InputError as error:
        raise CharacterFileError(f"its {error.input_name} is {error.found} and not {error.wanted}") from error


def parsed(text: str) -> object:
    """The value of a JSON text; raises CharacterFileError."""
    try:
        return json.loads(text, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError):
        raise CharacterFileError("its metadata is no sound JSON") from None


def members(value: object, names: Collection[str], *, of: str) -> dict[str, Any]:
    """The JSON object with exactly these members; raises CharacterFileError for anything else."""
    if not isinstance(value, dict):
        raise CharacterFileError(f"its {of} is {quoted(value)} and not an object")
    require_names(value, names, of=of)
    return value


def require_names(found: Collection[str], wanted: Collection[str], *, of: str, also: Collection[str] = ()) -> None:
    """Raises CharacterFileError unless these are the wanted names, with or without those that may be there also."""
    missing, unknown = set(wanted) - set(found), set(found) - set(wanted) - set(also)
    if missing or unknown:
        faults = {"lacks": sorted(missing), "has the unknown": sorted(unknown)}
        words = " and ".join(f"{fault} {shown(names)}" for fault, names in faults.items() if names)
        raise CharacterFileError(f"in its {of} it {words}")


def sha256_of(value: object, *, of: str) -> str:
    """The SHA-256, hexadecimal; raises CharacterFileError."""
    if not isinstance(value, str) or not SHA256.fullmatch(value):
        raise CharacterFileError(f"its {of} is {quoted(value)} and not a SHA-256")
    return value


def moment_of(value: object) -> datetime:
    """The moment of an ISO 8601 text; raises CharacterFileError."""
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise CharacterFileError(f"its created is {quoted(value)} and not a moment") from None


def space_of(value: object) -> Space:
    """The recogniser of the vectors; raises CharacterFileError."""
    said = members(value, SPACE_PARTS, of="space")
    for part in ("name", "family"):
        text = said[part]
        if not isinstance(text, str) or not text.isprintable() or not 1 <= len(text) <= LONGEST_NAME:
            raise CharacterFileError(f"its space has the {part} {quoted(text)}")
    return Space(said["name"], sha256_of(said["sha256"], of="space"), said["family"])


def attributes_of(value: object) -> Attributes:
    """What was measured on one reference; raises CharacterFileError, or InputError for a number out of bounds."""
    said = members(value, ATTRIBUTE_PARTS, of="attributes")
    measured = {name: number for name, number in said.items() if number is not None or name in NEVER_NONE}
    if "sex" in measured:
        require_choice(measured.pop("sex"), SEXES, name="sex")
    if "age_years" in measured:
        checked_count(measured.pop("age_years"), OLDEST_YEARS, name="age_years", least=0)
    for name, number in measured.items():
        checked_number(number, -LARGEST_MEASURE, LARGEST_MEASURE, name=name)
    return Attributes(**said)
