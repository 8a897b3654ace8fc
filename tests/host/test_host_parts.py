"""What our code tells the host's models apart by, seen in the host's own source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wan_core.adapters.wan import OF_DANCER, OF_SCAIL


@pytest.mark.parametrize(("part", "model"), [(OF_SCAIL, "SCAILWanModel"), (OF_DANCER, "WanDancerModel")])
def test_one_model_of_the_host_has_the_part(host_dir: Path, part: str, model: str) -> None:
    owners = set()
    for file in (host_dir / "comfy" / "ldm" / "wan").glob("*.py"):
        for source in re.split(r"^(?=class )", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if f"self.{part} =" in source:
                owners.add(re.match(r"class (\w+)", source)[1])
    assert owners == {model}
