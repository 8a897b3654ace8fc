"""The host's model folders, and the weight files in them."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.utils
import folder_paths

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity.prompt_check import Lexicon
from ...wan_core.safetensors_header import LENGTH_BYTES, header_bytes, require_bounded_safetensors
from ...wan_core.torch_file import MORE_THAN_WEIGHTS, require_bounded_torch_file
from ...wan_core.weights import MOST_WEIGHTS, SCALES, StateDict, WeightFileError, fault_of, require_plain_name, shown

FACE_RECOGNITION = "face_recognition"
ID_ADAPTERS = "wan_id_adapters"
SYNCNET = "syncnet"
ONNX = ".onnx"  # recognisers come in it too
SAFETENSORS = (".safetensors", ".sft")
PROMPT_WORDS = os.path.join(os.path.dirname(__file__), "..", "..", "wan_core", "identity", "prompt_check")
PROMPT_LANGUAGES = ("en", "zh")
MOST_GROWTH = 2  # bytes of weights for a byte of the file: a file may give one weight two names


# Folders


def register_model_folders() -> None:
    """Adds our model folders to the host's, keeping any path that the user's own configuration gave them."""
    for name in (FACE_RECOGNITION, ID_ADAPTERS, SYNCNET):
        folder_paths.add_model_folder_path(name, os.path.join(folder_paths.models_dir, name))
        paths, _ = folder_paths.folder_names_and_paths[name]
        extensions = folder_paths.supported_pt_extensions | ({ONNX} if name == FACE_RECOGNITION else set())
        folder_paths.folder_names_and_paths[name] = (paths, extensions)


def characters_folder() -> str:
    """Where the characters are, below the user folder of the host, which it shows nobody over HTTP."""
    return os.path.join(folder_paths.get_system_user_directory("wancast"), "characters")


def model_files(folder: str) -> list[str]:
    """The weight files in one of the host's model folders."""
    return folder_paths.get_filename_list(folder)


def checked_path(folder: str, name: str, *, input_name: str) -> str:
    """The path of a file in one of the host's model folders; raises InputError when it is absent."""
    path = folder_paths.get_full_path(folder, name)
    if path is None:
        raise InputError(
            input_name,
            found=quoted(name),
            wanted=f"a weight file in models/{folder}",
            fix=f"Put the file into {folder_paths.get_folder_paths(folder)[0]} and refresh the page.",
        )
    return path


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A weight file that was read whole."""

    name: str  # as the user selected it
    path: str
    state_dict: StateDict
    metadata: dict[str, str]  # of a safetensors file; empty for other formats

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, hexadecimal; it reads the file again."""
        return file_sha256(self.path)


def load_weights(folder: str, name: str, *, input_name: str) -> WeightsFile:
    """Reads a weight file that the user selected by name; raises InputError when it is absent or cannot be used."""
    path = checked_path(folder, name, input_name=input_name)
    try:
        _require_bounded_file(path)
        state_dict, metadata = comfy.utils.load_torch_file(path, safe_load=True, return_metadata=True)
        _require_named(state_dict)
    except Exception as error:
        reason = error if isinstance(error, WeightFileError) else MORE_THAN_WEIGHTS
        raise InputError(
            input_name,
            found=f"{quoted(name)}, which cannot be read ({reason})",
            wanted="a complete weight file",
            fix="Copy or download the file again, best as .safetensors.",
        ) from error
    _require_sound(state_dict, os.path.getsize(path), name, input_name)
    return WeightsFile(name=name, path=path, state_dict=state_dict, metadata=metadata or {})


def _require_bounded_file(path: str) -> None:
    """Raises an exception unless the file is of its kind and holds no more than its bytes."""
    file_bytes = os.path.getsize(path)
    with open(path, "rb") as file:
        if path.lower().endswith(SAFETENSORS):
            length = header_bytes(file.read(LENGTH_BYTES), file_bytes)
            require_bounded_safetensors(file.read(length), file_bytes)
        else:
            require_bounded_torch_file(file, file_bytes)


def _require_named(state_dict: object) -> None:
    if not isinstance(state_dict, dict):
        raise WeightFileError("its weights have no names")
    if len(state_dict) > MOST_WEIGHTS:
        raise WeightFileError(f"it holds {len(state_dict)} weights, more than {MOST_WEIGHTS}")
    for name in state_dict:
        require_plain_name(name)


def _require_sound(state_dict: dict[str, Any], file_bytes: int, name: str, input_name: str) -> None:
    """Raises InputError unless every value is a weight of finite numbers and all lie in the bytes of the file."""
    scales = sorted(key for key in state_dict if key.rpartition(".")[2] in SCALES)
    if scales:
        raise InputError(
            input_name,
            found=f"{quoted(name)}, whose weights are scaled by {shown(scales)}",
            wanted="a file of weights that need no scales",
            fix="Use the same weights in fp16, bf16 or fp32.",
        )
    room_bytes = MOST_GROWTH * file_bytes
    for key, weight in state_dict.items():
        if fault := fault_of(weight, room_bytes):
            raise InputError(
                input_name,
                found=f"{quoted(name)}, whose {quoted(key)} {fault}",
                wanted="a file of finite weights and nothing else",
                fix="Copy or download the file again.",
            )
        room_bytes -= weight.nbytes


def file_content(path: str) -> bytes:
    """All bytes of a file, whose size was looked at before."""
    with open(path, "rb") as file:
        return file.read()


def file_sha256(path: str) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def content_sha256(files: Mapping[str, WeightsFile]) -> str:
    """One SHA-256 of several files' bytes and of what each is for, hexadecimal; it reads the files again."""
    digest = hashlib.sha256()
    for purpose, file in files.items():
        digest.update(f"{purpose} {file.sha256}\n".encode())
    return digest.hexdigest()


# What comes with the pack


@functools.cache
def prompt_lexicon() -> Lexicon:
    """The words of each language that the check of a prompt knows; read when they are first asked for."""
    texts = []
    for language in PROMPT_LANGUAGES:
        with open(os.path.join(PROMPT_WORDS, f"words_{language}.txt"), encoding="utf-8") as file:
            texts.append(file.read())
    return Lexicon.of(texts)
