"""What doctor says of onnxruntime, host and torch in each state that a machine can be in."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from devtools import doctor

PYTHON = Path("python")
CPU_ONLY, GPU_ONLY = {"onnxruntime": "1.31.1"}, {"onnxruntime-gpu": "1.31.1"}
BOTH = CPU_ONLY | GPU_ONLY
CPU, CUDA = ["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]
REPAIR_CPU = '"python" -m pip install --force-reinstall --no-deps onnxruntime'
REPAIR_GPU = f"{REPAIR_CPU}-gpu"


@pytest.mark.parametrize(
    ("versions", "providers", "cuda_devices", "lines", "repair"),
    [
        (BOTH, CPU, 1, 3, REPAIR_GPU),
        (CPU_ONLY, CPU, 1, 3, REPAIR_GPU),
        (GPU_ONLY, None, 0, 3, REPAIR_GPU),
        (BOTH, None, 0, 3, REPAIR_CPU),
        (CPU_ONLY, None, 0, 3, REPAIR_CPU),
        (BOTH, CUDA, 1, 1, None),
        (CPU_ONLY, CPU, 0, 1, None),
        (BOTH, CPU, 0, 2, None),
        ({}, None, 1, 1, None),
    ],
)
def test_a_broken_onnxruntime_comes_with_the_line_that_repairs_it_and_a_sound_one_without(
    versions: dict[str, str], providers: list[str] | None, cuda_devices: int, lines: int, repair: str | None
) -> None:
    found = {"versions": versions, "providers": providers, "providers_error": "AttributeError"}
    said = doctor.onnx_lines(found, PYTHON, cuda_devices)
    assert len(said) == lines
    assert [line for line in said if "pip" in line] == ([repair] if repair else [])


def test_a_host_that_is_too_old_and_a_cuda_device_that_torch_cannot_use_are_named(tmp_path: Path) -> None:
    for version, more in (("0.29.9", ["WanCast needs ComfyUI 0.30.0 or newer: update the host"]), ("0.30.0", [])):
        (tmp_path / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
        assert doctor.host_lines(tmp_path) == [f"ComfyUI {version}, {tmp_path}", *more]
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
    folder_names_and_paths.setdefault(name, ([path], set()))

def get_filename_list(name):
    return [file for path in folder_names_and_paths[name][0] if os.path.isdir(path) for file in os.listdir(path)]
"""


def test_a_host_is_left_as_it_is_and_an_import_that_crashes_hides_no_other_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The host makes folders when it is imported, as a ComfyUI does; the torch takes its process down."""
    host, modules = tmp_path / "host", tmp_path / "modules"
    for folder in (host / "comfy", host / "models" / "vae", modules):
        folder.mkdir(parents=True)
    (host / "comfy" / "cli_args.py").write_text("class args:\n    base_directory = models_directory = None\n")
    (host / "folder_paths.py").write_text(HOST)
    (host / "models" / "vae" / "a.safetensors").touch()
    (modules / "torch.py").write_text("import os\nos.write(2, b'boom\\n')\nos.abort()\n")
    (modules / "onnxruntime.py").write_text("def get_available_providers(): return ['A provider']\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    before = set(host.rglob("*"))
    found = doctor.examine(Path(sys.executable), host)
    assert set(host.rglob("*")) == before
    models = host.resolve() / "models"
    assert found["folders"]["text_encoders"] == {"paths": [str(models / "text_encoders")], "files": []}
    assert found["folders"]["vae"] == {"paths": [str(models / "vae")], "files": ["a.safetensors"]}
    assert re.fullmatch(r"exit code -?\d+: boom", found["device_error"])
    assert found["versions"]["python"] and found["providers"] == ["A provider"]

    monkeypatch.setattr(doctor, "users_host", lambda: host)
    monkeypatch.setattr(doctor, "venv_python", lambda: Path(sys.executable))
    assert doctor.doctor() == 0
    assert re.search(r"^  torch .*cannot be imported \(exit code -?\d+: boom\)$", capsys.readouterr().out, re.M)
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
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
    assert '"python" -m pip install librosa' in said and said.count("missing") == 1
