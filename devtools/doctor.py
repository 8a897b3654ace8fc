"""What is installed, what is missing, and the line that brings it. Changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from .places import MODELS, OWN_HOST, ROOT, NoBrowserError, find_browser, users_host, venv_python
from .server import cuda_driver_devices
from .shell import say

TESTED_FLOOR = (0, 30, 0)
SET_UP = "python dev.py demo"
FILES_SHOWN = 6
OPTIONAL = {
    "insightface": "finds faces, landmarks and attributes in photos",
    "onnxruntime": "runs insightface's models",
    "librosa": "reads the beat and the timbre of audio",
}

Findings = dict[str, Any]


def doctor() -> int:
    """Prints the findings, before and after set-up, and inside a user's own ComfyUI; returns 0."""
    host, python = users_host(), venv_python()
    in_custom_nodes = host is not None and ROOT.parent == host / "custom_nodes"
    if in_custom_nodes:
        python = Path(sys.executable)
    host = host or (OWN_HOST if (OWN_HOST / "main.py").is_file() else None)
    findings = examine(python, host) if python.exists() else {}
    cuda_devices = cuda_driver_devices()

    say("WanCast")
    row("pack", str(ROOT))
    row("host", *host_lines(host))
    row("Python", *python_lines(findings, python))
    row("torch", *torch_lines(findings, cuda_devices))
    row("onnxruntime", *onnx_lines(findings, python, cuda_devices))
    row("browser", *browser_lines())
    if findings.get("versions"):
        say("\nModel folders")
        folder_rows(findings)
        say("\nOptional parts")
        optional_rows(findings, python, cuda_devices)
    return 0


def examine(python: Path, host: Path | None) -> Findings:
    """What the probe finds with that interpreter and that host."""
    findings: Findings = {}
    for part in ("versions", "device", "providers"):
        findings |= probe(python, part)
    if host is None:
        return findings
    models = MODELS if host == OWN_HOST else host.resolve() / "models"
    return findings | probe(python, "folders", str(host), str(models))


def probe(python: Path, part: str, *arguments: str) -> Findings:
    """One part of the findings, from a process of its own: one that crashes leaves its exit code and last words."""
    command = [str(python), "-B", str(Path(__file__).with_name("probe.py")), part, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    last_words = [line.strip() for line in result.stderr.splitlines() if line.strip()][-1:]
    return {part: None, f"{part}_error": ": ".join([f"exit code {result.returncode}", *last_words])}


def row(name: str, *lines: str) -> None:
    """One finding; further lines stand below the first."""
    for number, line in enumerate(lines):
        say(f"  {'' if number else name:18}{line}")


# Rows


def host_lines(host: Path | None) -> list[str]:
    """Version and place of the host."""
    if host is None:
        return [f"none yet; {SET_UP} brings one, or set COMFYUI_PATH to yours"]
    file = host / "comfyui_version.py"
    found = re.search(r'"(\d+)\.(\d+)\.(\d+)', file.read_text(encoding="utf-8")) if file.is_file() else None
    if found is None:
        return [f"ComfyUI of unknown version, {host}"]
    version = tuple(map(int, found.groups()))
    lines = [f"ComfyUI {'.'.join(found.groups())}, {host}"]
    return lines if version >= TESTED_FLOOR else [*lines, "WanCast needs ComfyUI 0.30.0 or newer: update the host"]


def python_lines(findings: Findings, python: Path) -> list[str]:
    """Version and place of the interpreter."""
    if not findings:
        return [f"no environment yet; {SET_UP} makes it"]
    if findings["versions"] is None:
        return [f"{python}, which cannot be examined ({findings['versions_error']})"]
    return [f"{findings['versions']['python']}, {python}"]


def browser_lines() -> list[str]:
    """The browser that the ui tests would drive."""
    try:
        return [find_browser()]
    except NoBrowserError as error:
        return [str(error), "only the ui tests need one"]


def torch_lines(findings: Findings, cuda_devices: int) -> list[str]:
    """Version and device of torch."""
    versions = findings.get("versions")
    if not versions:
        return ["not known yet"]
    version = versions.get("torch")
    if version is None:
        return ["not in this Python; run dev.py with the Python that runs ComfyUI"]
    if findings["device"] is None:
        return [f"{version}, which cannot be imported ({findings['device_error']})"]
    lines = [f"{version}, device: {findings['device']}"]
    if cuda_devices and not findings["device"].startswith("CUDA"):
        lines.append(f"the driver reports {cuda_devices} CUDA device(s) that this torch cannot use")
    return lines


def onnx_lines(findings: Findings, python: Path, cuda_devices: int) -> list[str]:
    """Builds and providers of onnxruntime, and the line that repairs two builds on top of each other."""
    versions = findings.get("versions")
    if not versions:
        return ["not known yet"]
    builds = [f"{name} {versions[name]}" for name in ("onnxruntime", "onnxruntime-gpu") if name in versions]
    if not builds:
        return ["not installed"]
    providers = findings["providers"]
    broken = f"cannot be used ({findings.get('providers_error')})"
    state = broken if providers is None else f"providers: {', '.join(providers)}"
    lines = [f"{' and '.join(builds)}; {state}"]
    package = "onnxruntime-gpu" if cuda_devices or "onnxruntime" not in versions else "onnxruntime"
    repair = f'"{python}" -m pip install --force-reinstall --no-deps {package}'
    if providers is None:
        return [*lines, "its builds have overwritten each other; this repairs it:", repair]
    if "CUDAExecutionProvider" in providers:
        return lines
    if cuda_devices:
        return [*lines, "the CPU build hides the CUDA device; this repairs it:", repair]
    if len(builds) == 2:
        lines.append("two builds are installed and the CPU one is used; without a CUDA device that is no loss")
    return lines


def folder_rows(findings: Findings) -> None:
    """Each model folder with what the host would list in it."""
    if findings.get("folders") is None:
        row("", findings.get("folders_error", f"no host yet; {SET_UP} brings one"))
        return
    for name, folder in findings["folders"].items():
        files = folder["files"]
        more = f" and {len(files) - FILES_SHOWN} more" if len(files) > FILES_SHOWN else ""
        row(name, ", ".join(folder["paths"]), ", ".join(files[:FILES_SHOWN]) + more or "nothing found")


def optional_rows(findings: Findings, python: Path, cuda_devices: int) -> None:
    """Each optional package: its version, or what it is for and the line that installs it."""
    versions = findings["versions"]
    for name, purpose in OPTIONAL.items():
        version = versions.get(name) or (name == "onnxruntime" and versions.get("onnxruntime-gpu"))
        if version:
            row(name, version)
            continue
        package = f"{name}-gpu" if name == "onnxruntime" and cuda_devices else name
        row(name, f"missing; {purpose}:", f'"{python}" -m pip install {package}')
