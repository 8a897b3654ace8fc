"""What doctor says of onnxruntime, host and torch in each state that a machine can be in."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from devtools import doctor

PYTHON = Path("python")
BOTH = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
GPU_ONLY = {"onnxruntime-gpu": "1.31.1"}
CPU_ONLY = {"onnxruntime": "1.31.1"}
REPAIR_GPU = '"python" -m pip install --force-reinstall --no-deps onnxruntime-gpu'
REPAIR_CPU = '"python" -m pip install --force-reinstall --no-deps onnxruntime'


def findings(versions: dict[str, str], providers: list[str] | None) -> dict[str, Any]:
    """What the probe would report."""
    return {"versions": versions, "providers": providers, "providers_error": "AttributeError"}


@pytest.mark.parametrize(
    ("versions", "providers", "cuda_devices", "last_line"),
    [
        (BOTH, ["CPUExecutionProvider"], 1, REPAIR_GPU),
        (CPU_ONLY, ["CPUExecutionProvider"], 1, REPAIR_GPU),
        (GPU_ONLY, None, 0, REPAIR_GPU),
        (BOTH, None, 0, REPAIR_CPU),
        (CPU_ONLY, None, 0, REPAIR_CPU),
    ],
)
def test_a_broken_onnxruntime_comes_with_the_line_that_repairs_it(
    versions: dict[str, str], providers: list[str] | None, cuda_devices: int, last_line: str
) -> None:
    assert doctor.onnx_lines(findings(versions, providers), PYTHON, cuda_devices)[-1] == last_line


@pytest.mark.parametrize(
    ("versions", "providers", "cuda_devices", "lines"),
    [
        (BOTH, ["CUDAExecutionProvider", "CPUExecutionProvider"], 1, 1),
        (CPU_ONLY, ["CPUExecutionProvider"], 0, 1),
        (BOTH, ["CPUExecutionProvider"], 0, 2),
        ({}, None, 1, 1),
    ],
)
def test_a_sound_onnxruntime_gets_no_advice(
    versions: dict[str, str], providers: list[str] | None, cuda_devices: int, lines: int
) -> None:
    said = doctor.onnx_lines(findings(versions, providers), PYTHON, cuda_devices)
    assert len(said) == lines and "pip" not in " ".join(said)


def test_a_host_that_is_too_old_is_named(tmp_path: Path) -> None:
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.29.9"\n')
    assert doctor.host_lines(tmp_path)[-1] == "WanCast needs ComfyUI 0.30.0 or newer: update the host"
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
    assert doctor.host_lines(tmp_path) == [f"ComfyUI 0.30.0, {tmp_path}"]


def test_a_cuda_device_that_torch_cannot_use_is_named() -> None:
    found = {"versions": {"torch": "2.11.0"}, "device": "CPU"}
    assert doctor.torch_lines(found, 0) == ["2.11.0, device: CPU"]
    assert "1 CUDA device(s) that this torch cannot use" in doctor.torch_lines(found, 1)[-1]


HOST = """
import os
from comfy.cli_args import args

base = args.base_directory or os.path.dirname(os.path.realpath(__file__))
models_dir = args.models_directory or os.path.join(base, "models")
supported_pt_extensions = {".safetensors"}
folder_names_and_paths = {"text_encoders": ([f"{models_dir}/text_encoders", f"{models_dir}/clip"], set())}
os.makedirs(os.path.join(base, "input"), exist_ok=True)

def add_model_folder_path(name, path):
    paths, _ = folder_names_and_paths.setdefault(name, ([], set()))
    if path not in paths:
        paths.append(path)

def get_filename_list(name):
    return [file for path in folder_names_and_paths[name][0] if os.path.isdir(path) for file in os.listdir(path)]
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder that makes folders when it is imported, as a ComfyUI does."""
    folder = tmp_path / "host"
    (folder / "comfy").mkdir(parents=True)
    (folder / "comfy" / "cli_args.py").write_text("class args:\n    base_directory = models_directory = None\n")
    (folder / "folder_paths.py").write_text(HOST)
    return folder


@pytest.fixture
def crashing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch for child processes that takes them down, beside an onnxruntime that works."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "torch.py").write_text("import os\nos.write(2, b'boom\\n')\nos.abort()\n")
    (modules / "onnxruntime.py").write_text("def get_available_providers(): return ['A provider']\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))


@pytest.mark.usefixtures("crashing_torch")
def test_a_host_is_examined_and_left_as_it_is(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    (host / "models" / "vae").mkdir(parents=True)
    (host / "models" / "vae" / "a.safetensors").touch()
    before = set(host.rglob("*"))
    found = doctor.examine(Path(sys.executable), host)["folders"]
    assert set(host.rglob("*")) == before
    models = host.resolve() / "models"
    assert found["text_encoders"] == {"paths": [str(models / "text_encoders")], "files": []}
    assert found["vae"] == {"paths": [str(models / "vae")], "files": ["a.safetensors"]}


@pytest.mark.usefixtures("crashing_torch")
def test_an_import_that_crashes_is_a_row_and_hides_no_other(
    host: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = doctor.examine(Path(sys.executable), host)
    assert re.fullmatch(r"exit code -?\d+: boom", found["device_error"])
    assert found["versions"]["python"] and found["providers"] == ["A provider"] and found["folders"]
    monkeypatch.setattr(doctor, "users_host", lambda: host)
    monkeypatch.setattr(doctor, "venv_python", lambda: Path(sys.executable))
    assert doctor.doctor() == 0
    said = capsys.readouterr().out
    assert re.search(r"^  torch .*cannot be imported \(exit code -?\d+: boom\)$", said, re.M)


def test_an_interpreter_that_cannot_run_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    monkeypatch.setattr(doctor, "venv_python", lambda: Path(sys.executable))
    assert doctor.doctor() == 0
    assert re.search(r"^  Python .*which cannot be examined \(exit code \d+: .+\)$", capsys.readouterr().out, re.M)


def test_a_browser_that_is_not_there_is_not_reported_as_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    assert doctor.browser_lines()[0] == "CHROMIUM names 'no-such-browser', which is not there"
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert doctor.browser_lines() == [sys.executable]


def test_a_missing_optional_part_comes_with_the_line_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.optional_rows({"versions": {"insightface": "2.1", **GPU_ONLY}}, PYTHON, 0)
    said = capsys.readouterr().out
    assert '"python" -m pip install librosa' in said
    assert said.count("missing") == 1
