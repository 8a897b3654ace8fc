from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def other_ram(monkeypatch: pytest.MonkeyPatch) -> None:
    """To torch ``cpu:0`` is another device than ``cpu``, so that caches move between the two as from a GPU to RAM."""
    monkeypatch.setattr("wan_core.vae.cache.RAM", torch.device("cpu", 0))
