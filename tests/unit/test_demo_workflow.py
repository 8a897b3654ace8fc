"""The demo runs the shipped workflow, not one of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo import workflow

ROOT = Path(__file__).parents[2]
SHIPPED = workflow.shipped_workflow()
SIX = {"IdentityEncode", "IDLock", "MoESampler", "AudioFeatures", "HighCompressionVAEDecode", "LipSyncCheck"}


def test_the_shipped_workflow_holds_all_six_nodes() -> None:
    assert {node["class_type"] for node in SHIPPED.values()} >= SIX


def test_the_miniature_keeps_every_node_title_and_link() -> None:
    small = workflow.miniature(SHIPPED)
    assert small.keys() == SHIPPED.keys()
    for node_id, node in SHIPPED.items():
        assert small[node_id]["_meta"] == node["_meta"]
        links = {name: value for name, value in node["inputs"].items() if isinstance(value, list)}
        assert links.items() <= small[node_id]["inputs"].items()


def test_no_full_size_file_is_left_in_the_miniature() -> None:
    values = [value for node in workflow.miniature(SHIPPED).values() for value in node["inputs"].values()]
    endings = (".safetensors", ".pth", ".pt", ".ckpt")
    files = [value for value in values if isinstance(value, str) and value.endswith(endings)]
    assert files
    assert all(name.startswith("mini_") for name in files)


def test_the_shipped_workflow_is_left_as_it_is() -> None:
    before = json.dumps(SHIPPED)
    workflow.miniature(SHIPPED)
    assert json.dumps(SHIPPED) == before


@pytest.mark.parametrize("twin", sorted((ROOT / "demo" / "workflows" / "api").glob("*.json")), ids=lambda p: p.stem)
def test_the_miniature_on_disk_is_made_from_the_shipped_workflow(twin: Path) -> None:
    assert json.loads(twin.read_text(encoding="utf-8")) == workflow.miniature(SHIPPED)
