"""The demo runs the shipped workflows, not some of its own, and what it films is of the drawn world."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo import trained, workflow, world
from demo.workflow import CAST, COMPARISON, LOCKED, RANDOM, SIX_NODES, UNLOCKED, Miniature, shipped_workflow
from devtools import setup

ROOT = Path(__file__).parents[2]
TWINS = ROOT / "demo" / "host_nodes" / "workflows" / "api"
SIX = {"IdentityEncode", "IDLock", "MoESampler", "AudioFeatures", "HighCompressionVAEDecode", "LipSyncCheck"}
OF_THE_DEMO = {  # the template: what it is made of, and with which networks
    f"{COMPARISON} (miniature)": (COMPARISON, CAST, "cast_"),
    f"{SIX_NODES} (random networks)": (SIX_NODES, RANDOM, "mini_"),
}
ACTOR = world.person("test", 39)
SHOTS = (
    "film, medium shot, coat, red, waves, snow, happy, daylight, moves closer",
    "film, close-up, suit, white, laughs, stage, happy, side light, stands still",
    "sketch, close-up, sweater, yellow, talks, library, calm, soft light, pans",
)
FIELDS = ("style", "framing", "garment", "colour", "action", "scene", "expression", "light", "camera")


def titled(prompt: workflow.Prompt, title: str) -> str:
    """The id of the node of a title."""
    (node_id,) = (node_id for node_id, node in prompt.items() if node["_meta"]["title"] == title)
    return node_id


@pytest.mark.parametrize(("name", "networks", "prefix"), OF_THE_DEMO.values(), ids=OF_THE_DEMO)
def test_a_miniature_keeps_every_node_title_and_link_of_the_shipped_workflow_and_no_full_size_file(
    name: str, networks: Miniature, prefix: str
) -> None:
    shipped = shipped_workflow(name)
    before = copy.deepcopy(shipped)
    small = networks.of(shipped)
    assert shipped == before and small.keys() == shipped.keys()
    for node_id, node in shipped.items():
        assert small[node_id]["_meta"] == node["_meta"]
        links = {name: value for name, value in node["inputs"].items() if isinstance(value, list)}
        assert links.items() <= small[node_id]["inputs"].items()
    values = [value for node in small.values() for value in node["inputs"].values() if isinstance(value, str)]
    files = {value for value in values if value.endswith((".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".bin"))}
    assert files and all(file.startswith(prefix) for file in files)
    assert networks is RANDOM or files <= trained.PLACES.keys()


def test_the_six_nodes_are_in_one_workflow_of_the_demo() -> None:
    assert {node["class_type"] for node in shipped_workflow(SIX_NODES).values()} >= SIX


def test_the_miniatures_on_disk_are_made_from_the_shipped_workflows() -> None:
    assert {twin.stem for twin in TWINS.glob("*.json")} == OF_THE_DEMO.keys()
    for template, (name, networks, _) in OF_THE_DEMO.items():
        twin = json.loads((TWINS / f"{template}.json").read_text(encoding="utf-8"))
        assert twin == networks.of(shipped_workflow(name))


@pytest.mark.parametrize(("name", "networks"), [(SIX_NODES, RANDOM), (COMPARISON, CAST)])
def test_a_base_folder_holds_the_inputs_that_the_demo_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, networks: Miniature
) -> None:
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    nodes = networks.of(shipped_workflow(name)).values()
    loaders = [node["inputs"] for node in nodes if node["class_type"] in ("LoadImage", "LoadAudio")]
    asked = {inputs[kind] for inputs in loaders for kind in ("image", "audio") if kind in inputs}
    assert asked
    assert asked <= {path.name for path in (setup.base_folder("serve") / "input").iterdir()}


def test_the_actor_is_a_person_nobody_was_trained_on_and_the_prompts_are_captions_of_shots() -> None:
    with Image.open(ROOT / "demo" / "inputs" / "actor.png") as picture:
        drawn = world.portrait(ACTOR, picture.width).frames[0].numpy()
        assert np.abs(np.asarray(picture).astype(int) - drawn).max() <= 1
    prompt = shipped_workflow(COMPARISON)
    _, probes = workflow.probe_clips(prompt, titled(prompt, LOCKED))
    shots = [world.shot(0, **dict(zip(FIELDS, words.split(", "), strict=True))) for words in SHOTS]
    assert [probe.text for probe in probes] == [world.caption((ACTOR,), (shot,)) for shot in shots]


def test_every_shot_is_filmed_with_and_without_the_lock_from_the_same_noise_for_the_same_prompt() -> None:
    prompt = shipped_workflow(COMPARISON)
    runs = []
    for title in (LOCKED, UNLOCKED):
        check = prompt[titled(prompt, title)]["inputs"]
        decoded = [prompt[check[f"clips.clip_{number}"][0]]["inputs"]["samples"][0] for number in (1, 2, 3)]
        runs.append([prompt[sampler]["inputs"] for sampler in decoded])
    for locked, unlocked in zip(*runs, strict=True):
        models = [(prompt[run["model_high"][0]], prompt[run["model_low"][0]]) for run in (locked, unlocked)]
        assert [node["class_type"] for node in models[0]] == ["IDLock", "IDLock"]
        assert [lock["inputs"]["model"] for lock in models[0]] == [unlocked["model_high"], unlocked["model_low"]]
        assert locked | {"model_high": 0, "model_low": 0} == unlocked | {"model_high": 0, "model_low": 0}
    assert len({run["seed"] for run in runs[0]}) == 3


def test_a_probe_looks_at_one_clip_with_all_else_that_the_check_has() -> None:
    prompt = shipped_workflow(COMPARISON)
    check = titled(prompt, LOCKED)
    probed, probes = workflow.probe_clips(prompt, check)
    assert prompt.items() <= probed.items() and len(probes) == 3
    every = prompt[check]["inputs"]
    for number, probe in enumerate(probes, start=1):
        clip = every[f"clips.clip_{number}"]
        alone = probed[probed[probe.likeness]["inputs"]["source"][0]]
        assert alone["class_type"] == "WanCastIdentityCheck"
        assert alone["inputs"] == {name: value for name, value in every.items() if not name.startswith("clips.")} | {
            "clips.clip_1": clip
        }
        assert probed[probe.frames]["inputs"] == {"images": clip}


def test_trained_files_are_placed_when_they_are_there_and_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained, "WEIGHTS", weights := tmp_path / "weights")
    weights.mkdir()
    (weights / "cast_vae.safetensors").write_bytes(b"one")
    assert trained.lacking() == [name for name in trained.PLACES if name != "cast_vae.safetensors"]
    placed = tmp_path / "models" / "vae" / "cast_vae.safetensors"
    for content, news in ((b"one", ["vae/cast_vae.safetensors"]), (b"one", []), (b"two", ["vae/cast_vae.safetensors"])):
        (weights / "cast_vae.safetensors").write_bytes(content)
        assert list(trained.place(tmp_path / "models")) == news
        assert placed.read_bytes() == content


def test_the_trained_files_are_small_and_all_have_a_place() -> None:
    files = [path for path in trained.WEIGHTS.glob("*") if path.is_file()]
    assert {path.name for path in files} <= trained.PLACES.keys()
    assert sum(path.stat().st_size for path in files) < 15e6
