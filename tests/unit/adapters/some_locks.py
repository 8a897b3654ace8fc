"""An identity, adapters of every kind, and the lock that the door makes of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from tests.unit.adapters.adapter_files import FULL, LITE, REF, STAND_IN, load, selected
from wan_core.adapters import LockResult, LockSettings, TargetParams, make_lock
from wan_core.adapters.lock import Lock

EVERYTHING = FULL | REF | STAND_IN
ADAPTERS = {
    name: load(selected(tables))
    for name, tables in {"lite": LITE, "full": FULL, "ref": REF, "stand-in": STAND_IN, "everything": EVERYTHING}.items()
}
MODEL = TargetParams("comfy.ldm.wan.model.WanModel", 96, 4, text_d=64, noise_level=None)
TEXT = torch.randn(1, 7, 64, generator=torch.Generator().manual_seed(1))
SPACE = SimpleNamespace(name="mine.pth", sha256="ab" * 32, family="IR-SE")


def identity(**changes: Any) -> Any:
    """A person with everything that an adapter can read."""
    draw = torch.Generator().manual_seed(0)
    vectors, crop, portrait = (torch.rand(shape, generator=draw) for shape in ((1, 512), (16, 16, 3), (32, 48, 3)))
    parts = {"embeddings": vectors, "reference_crop": crop, "portrait": portrait}
    return SimpleNamespace(**parts | {"space": SPACE, "content_sha256": "a person"} | changes)


def read_pictures(pictures: Tensor) -> Tensor:
    """A VAE whose latents are the pictures' own pixels, one in eight, with 16 channels."""
    return pictures[:, ::8, ::8, :1].movedim(-1, 1)[:, :, None].expand(-1, 16, -1, -1, -1)


def locked(kind: str = "everything", **changes: Any) -> LockResult:
    """What the door gives; a change is a setting, or one of the door's other arguments."""
    door = {"identity": identity(), "adapter": ADAPTERS[kind], "model": MODEL, "read_pictures": read_pictures}
    door = {name: changes.pop(name, value) for name, value in (door | {"earlier": ()}).items()}
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all", "ref_text": [[TEXT, {}]]}
    return make_lock(LockSettings(**settings | changes), **door)


def lock_of(result: LockResult) -> Lock:
    assert result.lock is not None
    return result.lock
