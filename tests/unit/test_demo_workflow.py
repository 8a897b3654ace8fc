"""The demo runs the shipped workflow, not one of its own."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from demo import workflow
from devtools import setup

ROOT = Path(__file__).parents[2]
SHIPPED = workflow.shipped_workflow()
SIX = {"IdentityEncode", "IDLock", "MoESampler", "AudioFeatures", "HighCompressionVAEDecode", "LipSyncCheck"}


def test_the_miniature_keeps_every_node_title_and_link_of_the_shipped_workflow_and_no_full_size_file() -> None:
    shipped = copy.deepcopy(SHIPPED)
    small = workflow.miniature(shipped)
    assert shipped == SHIPPED and small.keys() == SHIPPED.keys()
    assert {node["class_type"] for node in small.values()} >= SIX
    for node_id, node in SHIPPED.items():
        assert small[node_id]["_meta"] == node["_meta"]
        links = {name: value for name, value in node["inputs"].items() if isinstance(value, list)}
        assert links.items() <= small[node_id]["inputs"].items()
    values = [value for node in small.values() for value in node["inputs"].values() if isinstance(value, str)]
    files = [value for value in values if value.endswith((".safetensors", ".pth", ".pt", ".ckpt"))]
    assert files and all(name.startswith("mini_") for name in files)


@pytest.mark.parametrize(
    "twin", sorted((ROOT / "demo" / "host_nodes" / "workflows" / "api").glob("*.json")), ids=lambda p: p.stem
)
def test_the_miniature_on_disk_is_made_from_the_shipped_workflow(twin: Path) -> None:
    assert json.loads(twin.read_text(encoding="utf-8")) == workflow.miniature(SHIPPED)


def test_a_base_folder_holds_the_inputs_that_the_demo_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    loaders = [node["inputs"] for node in SHIPPED.values() if node["class_type"] in ("LoadImage", "LoadAudio")]
    asked = {inputs[name] for inputs in loaders for name in ("image", "audio") if name in inputs}
    assert len(asked) == 2
    assert asked <= {path.name for path in (setup.base_folder("serve") / "input").iterdir()}
