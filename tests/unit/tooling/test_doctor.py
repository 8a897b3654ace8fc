"""What doctor says of onnxruntime, host and torch in each state that a machine can be in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tooling import doctor

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


def test_a_missing_optional_part_comes_with_the_line_that_installs_it(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.optional_rows({"versions": {"insightface": "2.1", **GPU_ONLY}}, PYTHON, 0)
    said = capsys.readouterr().out
    assert '"python" -m pip install librosa' in said
    assert said.count("missing") == 1
