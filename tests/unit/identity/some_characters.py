"""Characters that have everything and characters that have least, and a file as version 0 wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Any

import torch
from safetensors.torch import save

from tests.unit.identity.some_inputs import noise
from wan_core.identity.character import Card, Character, Consent, Voice
from wan_core.identity.record import Attributes, Identity, Space

ID = "0123456789abcdef" * 2
SPACE = Space("encoder.safetensors", "ab" * 32, "IR-SE")
ABOUT = Attributes(30, "female", 1.0, -2.5, 0.1, 0.9, 200.0, 0.5)
UNKNOWN = Attributes(None, None, None, None, None, None, 112.0, 0.25)
CARD = Card(
    id=ID,
    name="Ann \u5b89",
    notes="first line\nsecond",
    tags=("hero", "\u4e3b\u89d2"),
    consent=Consent("Ann Example", "this film", date(2027, 12, 31)),
    created=datetime(2026, 11, 26, 20, 15, 1, tzinfo=timezone.utc),
    revision=3,
)


def unit(count: int, seed: int) -> torch.Tensor:
    """Unit vectors: k 512."""
    return torch.nn.functional.normalize(noise(count, 512, seed=seed) - 0.5, dim=-1)


def identity(seed: int = 1, *, pictures: bool = True) -> Identity:
    """One person in two references; without pictures it is small."""
    vectors = unit(2, seed)
    reference_crop, portrait = (noise(px, px, 3, seed=seed) for px in (256, 512)) if pictures else (None, None)
    crops = noise(2, 112, 112, 3, seed=seed)
    return Identity(vectors[0], vectors, vectors[:1], crops, reference_crop, portrait, (ABOUT, UNKNOWN), SPACE)


WHOLE = Character(CARD, identity(), Voice(noise(2, 4800) * 2 - 1, 48_000, "Hello, and goodbye."))
PORTRAIT_ALONE = Identity(
    None, torch.zeros(0, 512), torch.zeros(0, 512), torch.zeros(0, 112, 112, 3), None, noise(512, 512, 3), (), None
)
LEAST = Character(Card(ID, "B", "", (), Consent(), CARD.created, 1), PORTRAIT_ALONE)
SMALL = Character(replace(CARD, name="C"), identity(2, pictures=False))

ABOUT_V0 = {"age": 41, "gender": "male", "yaw": 1.5, "pitch": None, "roll": 0.0, "det_score": 0.8, "face_px": 150}
METADATA_V0 = {
    "format_version": "0",
    "name": "Old",
    "space": "old.pth",
    "encoder_sha256": "cd" * 32,
    "attributes": json.dumps([ABOUT_V0]),
    "created": "2025-01-02T03:04:05+00:00",
}


def tensors_v0() -> dict[str, torch.Tensor]:
    vectors, shapes = unit(1, 7), {"crop112": (1, 112, 112, 3), "ref256": (256, 256, 3), "standin512": (512, 512, 3)}
    pictures = {name: (noise(*shape, seed=7) * 255).round().to(torch.uint8) for name, shape in shapes.items()}
    return {"z_mean": vectors[0].clone(), "z_refs": vectors, **pictures}


def file_v0(**metadata: Any) -> bytes:
    return save(tensors_v0(), METADATA_V0 | metadata)
