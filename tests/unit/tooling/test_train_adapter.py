"""The trainer's command on the host's own classes: from a folder of clips to an adapter's file, and wrong files."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from demo.miniature import face
from demo.miniature.table import fill
from devtools import train_adapter
from devtools.host_modules import host_module
from devtools.kept_fit import KeptFit, write_tensors
from tests.unit.media.films import film
from wan_core.training import FitState
from wan_core.training.lite import LiteSize, lite_adapter, lite_file

SMALL = "--size 64x64 --frames 5 --batch 2 --accumulate 1 --tokens 4 --token-width 32 --resampler-width 64"
SMALL += " --resampler-depth 1 --steps 12 --learning-rate 1e-2 --warm-up 2"
Options = dict[str, Path]


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
def options(clips: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Options:
    """What the command needs, with a supervisor of other weights."""
    other = tmp_path_factory.mktemp("other") / "other_ir.safetensors"
    safetensors.torch.save_file(fill(face.recogniser(), "other"), other)
    return {
        "expert": models_dir / "diffusion_models" / "mini_t2v_low.safetensors",
        "vae": models_dir / "vae" / "mini_wan21_vae.safetensors",
        "text-encoder": models_dir / "text_encoders" / "mini_umt5.safetensors",
        "recogniser": models_dir / "face_recognition" / "mini_ir_se.safetensors",
        "supervisor": other,
        "faces": models_dir / "insightface" / "models" / "mini_pack",
        "clips": clips,
    }


def loaders() -> train_adapter.Loaders:
    """The host's, and the demo's for the miniature text encoder."""
    host, load = train_adapter.host_loaders(), host_module("comfy.utils").load_torch_file
    from demo.host_nodes import umt5_clip

    return replace(host, text_encoder=lambda path: umt5_clip(load(str(path))))


def trained(out: Path, options: Options, *more: str) -> int:
    named = [part for name, value in (options | {"out": out}).items() for part in (f"--{name}", str(value))]
    return train_adapter.main([*named, *SMALL.split(), *more], loaders)


class StoppedFit(KeptFit):
    """Ends the command in the middle, with its state written."""

    def on_report(self, state: FitState) -> None:
        self.write(state)
        raise KeyboardInterrupt


def test_a_command_that_was_stopped_gives_the_file_of_one_that_was_not(
    options: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, resumed = tmp_path / "whole.safetensors", tmp_path / "resumed.safetensors"
    assert trained(whole, options) == 0
    said = capsys.readouterr().out
    assert "encoded 4 of 4: bob/2.mp4" in said and "step 12 of 12, flow" in said and ", identity 0.0" in said
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(train_adapter, "KeptFit", StoppedFit)
        trained(resumed, options)
    assert not resumed.exists()
    capsys.readouterr()
    assert trained(resumed, options) == 0
    said = capsys.readouterr().out
    assert "goes on from step 10" in said and "encoded" not in said
    assert trained(resumed, options, "--seed", "1") == 2
    assert "'resumed.state.safetensors' of a training with another seed; wanted" in capsys.readouterr().err
    one, other = (safetensors.torch.load_file(file) for file in (whole, resumed))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    with Image.open(whole.with_suffix(".training") / "whole.png") as curve:
        assert curve.size == (960, 360)


def test_an_image_expert_is_trained_on_what_it_is_given(options: Options, models_dir: Path, tmp_path: Path) -> None:
    expert = models_dir / "diffusion_models" / "mini_i2v_high.safetensors"
    assert trained(tmp_path / "image.safetensors", options | {"expert": expert}) == 0
    (clip, *_) = (tmp_path / "image.training" / "clips").iterdir()
    given = safetensors.torch.load_file(clip)["given"]  # 4 of mask, 16 of the clip
    assert given.shape == (20, 2, 8, 8) and given[:4, 0].eq(1).all() and not given[:4, 1:].any()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--steps", "0", "0 is not 1 or more"),
        ("--learning-rate", "nan", "nan is no finite number of 0 or more"),
        ("--face-weight", "-1", "-1 is no finite number of 0 or more"),
        ("--drop-text", "1.5", "1.5 is not between 0 and 1"),
        ("--size", "832", "size: found '832'; wanted WIDTHxHEIGHT"),
        ("--side", "both", "dropout: found shares of 1.05 together; wanted less than 1"),
        ("--expert", "never.safetensors", "expert: found no file 'never.safetensors'"),
        ("--boundary", "1", "boundary: found 1.0; wanted a sigma between 0 and 1"),
        ("--resampler-width", "100", "resampler-width: found 100; wanted a multiple of 64"),
        ("--out", "adapter.pth", "out: found 'adapter.pth'; wanted a .safetensors file"),
    ],
)
def test_a_value_that_cannot_be_is_refused(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    dropout = ["--drop-text", "0.9"] if option == "--side" else []
    try:
        status = trained(tmp_path / "never.safetensors", options, option, value, *dropout)
    except SystemExit as ended:
        status = ended.code
    assert status == 2 and message in capsys.readouterr().err


REFUSED = {  # an option -> whose file it gets, and what is said
    "expert": ("vae", "expert: found 'mini_wan21_vae.safetensors', which ComfyUI cannot load (RuntimeError)"),
    "vae": ("recogniser", "vae: found a VAE of another model; wanted the Wan2.1 VAE"),
    "text-encoder": ("vae", "text-encoder: found 'mini_wan21_vae.safetensors', which ComfyUI cannot load"),
    "recogniser": ("expert", "recogniser: found a file without a usable input_layer.0.weight"),
    "supervisor": ("recogniser", "supervisor: found the same recogniser that the adapter is trained for"),
    "start": ("recogniser", "start: found weights of type int64"),
    "faces": ("clips", "faces: found no .onnx file in"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_of_another_kind_is_refused_before_anything_is_encoded(
    options: Options, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other, message = REFUSED[name]
    wrong: dict[str, Any] = options | {name: options[other]}
    assert trained(tmp_path / "never.safetensors", wrong) == 2
    said = capsys.readouterr()
    assert f"train_adapter: {message}" in said.err and "encoded" not in said.out and not list(tmp_path.iterdir())


def an_adapter(path: Path, *, width_d: int, space: str) -> Path:
    draw = torch.Generator().manual_seed(0)
    network = lite_adapter(LiteSize(4, 32, 64, 1), width_d=width_d, blocks=4, generator=draw)
    write_tensors(path, *lite_file(network.state_dict(), space_sha256=space, dtype=torch.float32))
    return path


def test_an_adapter_is_gone_on_with_if_it_fits(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = hashlib.sha256(options["recogniser"].read_bytes()).hexdigest()
    out = tmp_path / "out.safetensors"
    for width_d, own, message in (
        (96, "ab" * 32, "start: found an adapter of the recogniser with SHA-256 'abababababab'"),
        (64, space, "start: found an adapter for a model of width 64; wanted one for this model's width 96"),
    ):
        start = an_adapter(tmp_path / "start.safetensors", width_d=width_d, space=own)
        assert trained(out, options | {"start": start}) == 2 and message in capsys.readouterr().err
    start = an_adapter(tmp_path / "start.safetensors", width_d=96, space=space)
    assert trained(out, options, "--start", *[str(start)] * 3) == 2
    assert "start: found 3 files; wanted one or two" in capsys.readouterr().err
    assert trained(out, options | {"start": start}, "--steps", "1", "--learning-rate", "0") == 0
    before, after = (safetensors.torch.load_file(file) for file in (start, out))
    assert all(torch.equal(after[key], before[key].half()) for key in before)
