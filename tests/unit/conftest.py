"""What several unit tests get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    """A library in a folder that is not there yet."""
    from tests.unit.some_libraries import Library

    return Library(str(tmp_path / "user" / "__wancast" / "characters"))
