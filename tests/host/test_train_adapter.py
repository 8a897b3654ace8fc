"""The trainer on the host's own classes: what it computes, and its command from clips to an adapter that loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from demo.miniature import face
from demo.miniature.table import fill
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import ROOT, Client, Graph
from tests.host.train_on_miniatures import NEXT
from tests.unit.media.films import film

SMALL = "--size 64x64 --frames 5 --batch 2 --accumulate 1 --tokens 4 --token-width 32 --resampler-width 64"
SMALL += " --resampler-depth 1 --steps 20 --learning-rate 1e-2 --warm-up 2"
ROUNDING = 2e-5  # of a velocity of size 2


def call(host: Path, module: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script of the tests in a process of its own, on the CPU."""
    command = [sys.executable, "-W", "ignore", "-m", module, *map(str, arguments)]
    env = {**os.environ, "COMFYUI_PATH": str(host), **environment}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False)


def test_a_training_computes_what_id_lock_does_and_its_gradients_are_slopes(host_dir: Path, models_dir: Path) -> None:
    run = call(host_dir, "tests.host.trained_pass", models_dir / "diffusion_models" / recipes.LOW)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["from_lock"] < ROUNDING and found["from_plain"] > 0.1
    assert found["from_checkpoints"] < ROUNDING and found["gradients"] < 1e-4  # blocks that are computed twice
    assert found["slope"] < 0.02


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of each of two persons; the miniature detector finds a face where it is orange."""
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(("ann/1", "ann/2", "bob/1", "bob/2")):
        frames = np.full((6, 320, 320, 3), 60 + 40 * number, dtype=np.uint8)
        frames[:, 150:160, 150:160] = (255, 100, 0)
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.move(film(folder, list(frames)), folder / f"{name}.mp4")
        (folder / f"{name}.txt").write_text("a person walks", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def options(clips: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command needs, with a supervisor of other weights."""
    other = tmp_path_factory.mktemp("other") / "other_ir.safetensors"
    safetensors.torch.save_file(fill(face.recogniser(), "other"), other)
    return {
        "expert": models_dir / "diffusion_models" / recipes.LOW,
        "vae": models_dir / "vae" / "mini_wan21_vae.safetensors",
        "text-encoder": models_dir / "text_encoders" / "mini_umt5.safetensors",
        "recogniser": models_dir / "face_recognition" / "mini_ir_se.safetensors",
        "supervisor": other,
        "faces": models_dir / "insightface" / "models" / "mini_pack",
        "clips": clips,
    }


def trained(host: Path, out: Path, options: dict[str, Any], **environment: str) -> subprocess.CompletedProcess[str]:
    named = [part for name, value in (options | {"out": out}).items() for part in (f"--{name}", value)]
    return call(host, "tests.host.train_on_miniatures", *named, *SMALL.split(), **environment)


def test_a_command_that_was_stopped_gives_the_file_of_one_that_was_not_and_the_loader_takes_it(
    client: Client, live_host: HostServer, host_dir: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    first = trained(host_dir, whole, options)
    assert first.returncode == 0, first.stderr
    assert "encoded 4 of 4: bob/2.mp4" in first.stdout and "step 20 of 20, flow" in first.stdout
    stopped = trained(host_dir, resumed, options, STOP_AT="10")
    assert stopped.returncode == 3 and not resumed.exists()
    again = trained(host_dir, resumed, options)
    assert "goes on from step 10" in again.stdout and "encoded" not in again.stdout
    assert resumed.read_bytes() == whole.read_bytes()
    with Image.open(whole.with_suffix(".training") / "whole.png") as curve:
        assert curve.size == (960, 360)
    shutil.copy(whole, live_host.base_dir / "models" / "wan_id_adapters" / "trained.safetensors")
    graph = Graph()
    plain = recipes.model(graph, recipes.LOW)
    adapter = recipes.adapter(graph, ip_layers="trained.safetensors", resampler="none")
    samples = [recipes.stock_sample(graph, model) for model in (plain, recipes.locked(graph, plain, adapter=adapter))]
    without, with_it = (saved.arrays["/samples"] for saved in client.values(graph, samples))
    assert np.abs(without - with_it).max() > 1e-3


REFUSED = {  # an option -> whose file it gets, and what is said
    "expert": ("vae", "expert: found 'mini_wan21_vae.safetensors', which ComfyUI cannot load (RuntimeError)"),
    "vae": ("recogniser", "vae: found a VAE of another model; wanted the Wan2.1 VAE"),
    "text-encoder": ("vae", "text-encoder: found 'mini_wan21_vae.safetensors', which ComfyUI cannot load"),
    "recogniser": ("expert", "recogniser: found a file without a usable input_layer.0.weight"),
    "supervisor": ("recogniser", "supervisor: found the same recogniser that the adapter is trained for"),
    "start": ("recogniser", "start: found weights of type int64"),
    "faces": ("clips", "faces: found no .onnx file in"),
}


def test_a_file_of_another_kind_is_refused_before_anything_is_encoded(
    host_dir: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    """One process for all of them: the command is given again with each wrong file."""
    named: list[object] = []
    for name, (other, _) in REFUSED.items():
        wrong = options | {"out": tmp_path / "never.safetensors", name: options[other]}
        named += [*(part for option, value in wrong.items() for part in (f"--{option}", value)), *SMALL.split(), NEXT]
    run = call(host_dir, "tests.host.train_on_miniatures", *named[:-1])
    said = [line for line in run.stderr.splitlines() if line.startswith("train_adapter: ")]
    assert run.returncode == 2 and "encoded" not in run.stdout and list(tmp_path.iterdir()) == []
    assert len(said) == len(REFUSED), run.stderr
    for line, (_, message) in zip(said, REFUSED.values(), strict=True):
        assert line.startswith(f"train_adapter: {message}")
