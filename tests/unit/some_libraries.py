"""Libraries for tests without a host: the modules, a person, a voice, and what lies in the folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bench.workbench import pack_module
from tests.unit.identity.some_characters import ID
from tests.unit.identity.some_inputs import noise

library, hot, private = (pack_module(f"nodes.host.{name}") for name in ("library", "hot_characters", "private_files"))
records, characters = (pack_module(f"wan_core.identity.{name}") for name in ("record", "character"))
errors, character_files = pack_module("wan_core.errors"), pack_module("wan_core.identity.character_file")
saving, loaded = pack_module("nodes.host.saving"), pack_module("nodes.host.loaded_characters")
problems = pack_module("nodes.host.library_errors")
Library = library.Library


def person(seed: int = 1) -> Any:
    """A small identity with one reference."""
    vectors = torch.nn.functional.normalize(noise(1, 512, seed=seed) - 0.5, dim=-1)
    about = records.Attributes(30, "female", None, None, None, None, 200.0, 0.5)
    crops, space = noise(1, 112, 112, 3, seed=seed), records.Space("encoder.safetensors", "ab" * 32, "IR-SE")
    return records.Identity(vectors[0], vectors, vectors, crops, None, None, (about,), space)


posix = pytest.mark.skipif(os.name == "nt", reason="links, pipes and modes of POSIX; would prove that none leads out")
VOICE = characters.Voice(noise(1, 900), 16_000, "Hello.")
CONSENT = characters.Consent("Ann", "a film", None)


def entry_of(kept: Any, character_id: str) -> Any:
    """A character as it is listed."""
    return next(entry for entry in kept.entries().entries if entry.card.id == character_id)


def names_in(kept: Any) -> list[str]:
    """The files of a library, but for its lock."""
    return sorted(set(os.listdir(kept.folder)) - {library.LOCK_NAME})


def refusal(action: Callable[[], object], kind: type[Exception] = errors.InputError) -> str:
    """What an action is refused with, which never holds a path."""
    with pytest.raises(kind) as caught:
        action()
    assert not re.search(r"/(tmp|user|secret)\b", str(caught.value))
    return str(caught.value)


def place(kept: Any, content: bytes, name: str = f"{ID}.safetensors") -> Path:
    """Puts a file into the library's folder."""
    path = Path(kept.folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
