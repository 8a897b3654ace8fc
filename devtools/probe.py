"""Run by the interpreter that doctor examines: ``probe.py PART [HOST MODELS]`` prints findings as a line of JSON."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

FOLDERS = (
    "diffusion_models",
    "vae",
    "text_encoders",
    "audio_encoders",  # the host's own
    "face_recognition",
    "wan_id_adapters",
    "syncnet",  # ours
)
DISTRIBUTIONS = ("torch", "insightface", "onnxruntime", "onnxruntime-gpu", "librosa")


def versions() -> dict[str, str]:
    """The version of this Python, and the installed ones of what doctor speaks about."""
    found = {"python": sys.version.split()[0]}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def torch_device() -> str:
    """The device that torch would use, in words."""
    import torch

    if torch.cuda.is_available():
        return f"CUDA, {torch.cuda.get_device_name(0)}"
    return "Apple Metal" if torch.backends.mps.is_available() else "CPU"


def onnx_providers() -> list[str]:
    """The execution providers of the onnxruntime that an import finds."""
    return importlib.import_module("onnxruntime").get_available_providers()


def model_files(host: str, models: str) -> dict[str, dict[str, Any]]:
    """The host's model folders that the pack uses: where they lie and which files the host would list."""
    sys.path.insert(0, host)
    args = importlib.import_module("comfy.cli_args").args
    args.models_directory = models
    with tempfile.TemporaryDirectory() as args.base_directory:  # the import makes the input folder of its base
        folder_paths = importlib.import_module("folder_paths")
    extra = os.path.join(host, "extra_model_paths.yaml")
    if os.path.isfile(extra):
        importlib.import_module("utils.extra_config").load_extra_path_config(extra)
    found = {}
    for name in FOLDERS:
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, _ = folder_paths.folder_names_and_paths[name]
        folder_paths.folder_names_and_paths[name] = (paths, folder_paths.supported_pt_extensions)
        proper = [path for path in paths if os.path.basename(path) == name] or paths  # some have legacy names too
        places = list(filter(os.path.isdir, paths)) or proper[:1]
        found[name] = {"paths": places, "files": folder_paths.get_filename_list(name)}
    return found


PARTS: dict[str, Callable[..., Any]] = {
    "versions": versions,
    "device": torch_device,
    "providers": onnx_providers,
    "folders": model_files,
}


def main() -> None:
    """Prints the findings of one part; when it fails, its error in words."""
    name, *arguments = sys.argv[1:]
    try:
        findings = {name: PARTS[name](*arguments)}
    except Exception as error:
        findings = {name: None, f"{name}_error": f"{type(error).__name__}: {error}"}
    sys.stdout.write("\n" + json.dumps(findings) + "\n")


if __name__ == "__main__":
    main()
