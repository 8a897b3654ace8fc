"""Which file holds which network, and writing them: atomically, and only when something changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from . import adapters, face, face_landmarker, face_onnx, sound, text, vae, wan
from .table import Table, fill

STAMP_NAME = "miniatures.sha256"


# Contents


def _table_file(table: Callable[[], Table], metadata: dict[str, str] | None, name: str) -> bytes:
    return safetensors.torch.save(fill(table(), name), metadata=metadata)


def _tensors_file(tensors: Callable[[str], dict[str, Tensor]], name: str) -> bytes:
    return safetensors.torch.save(tensors(name))


def _speech_file(name: str) -> bytes:
    file = io.BytesIO()
    torch.save(sound.speech_encoder(name), file)
    return file.getvalue()


RECOGNISER = "face_recognition/mini_ir_se.safetensors"


def _resampler_file(table: Callable[[], Table], name: str) -> bytes:
    """It says which recogniser it belongs to, by the hash of that file."""
    recogniser = FILES[RECOGNISER](Path(RECOGNISER).stem)
    return _table_file(table, {"wancast_space_sha256": hashlib.sha256(recogniser).hexdigest()}, name)


FILES: dict[str, Callable[[str], bytes]] = {
    "diffusion_models/mini_t2v_high.safetensors": partial(_table_file, wan.text_to_video, wan.config(speech=False)),
    "diffusion_models/mini_t2v_low.safetensors": partial(_table_file, wan.text_to_video, wan.config(speech=False)),
    "diffusion_models/mini_i2v_high.safetensors": partial(_table_file, wan.image_to_video, wan.config(speech=False)),
    "diffusion_models/mini_i2v_low.safetensors": partial(_table_file, wan.image_to_video, wan.config(speech=False)),
    "diffusion_models/mini_s2v.safetensors": partial(_table_file, wan.speech_to_video, wan.config(speech=True)),
    "vae/mini_wan21_vae.safetensors": partial(_table_file, vae.wan21, None),
    "vae/mini_wan22_vae.safetensors": partial(_table_file, vae.wan22, None),
    RECOGNISER: partial(_table_file, face.recogniser, None),
    "face_recognition/mini_iresnet.onnx": face_onnx.recogniser,
    "insightface/models/mini_pack/det_mini.onnx": face_onnx.detector,
    "insightface/models/mini_pack/genderage.onnx": face_onnx.gender_age,
    "insightface/models/mini_pack/w600k_mini.onnx": face_onnx.recogniser,
    "detection/mini_landmarker.safetensors": partial(_tensors_file, face_landmarker.landmarker),
    "wan_id_adapters/mini_lynx_lite_ip_layers.safetensors": partial(_table_file, adapters.lite_ip_layers, None),
    "wan_id_adapters/mini_lynx_lite_resampler.safetensors": partial(_resampler_file, adapters.resampler),
    "wan_id_adapters/mini_lynx_full_ip_layers.safetensors": partial(_table_file, adapters.full_ip_layers, None),
    "wan_id_adapters/mini_lynx_full_resampler.safetensors": partial(_resampler_file, adapters.full_resampler),
    "wan_id_adapters/mini_lynx_full_ref_layers.safetensors": partial(_table_file, adapters.ref_layers, None),
    "wan_id_adapters/mini_stand_in_high.safetensors": partial(_table_file, adapters.stand_in, None),
    "wan_id_adapters/mini_stand_in_low.safetensors": partial(_table_file, adapters.stand_in, None),
    "audio_encoders/mini_wav2vec2.pt": _speech_file,
    "syncnet/mini_syncnet.safetensors": partial(_table_file, sound.syncnet, None),
    "text_encoders/mini_umt5.safetensors": partial(_tensors_file, text.text_encoder),
}


# Files


def stamp() -> str:
    """A hash of everything that the files depend on: our source and the libraries that make the numbers."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.*")):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    for library in ("torch", "sentencepiece", "safetensors", "onnx"):
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Puts ``content`` at ``path`` whole, or leaves what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_current(models: Path) -> bool:
    """Whether every file is there and was made by this source."""
    path = models / STAMP_NAME
    made_by = path.read_text() if path.is_file() else ""
    return made_by == stamp() and all((models / name).is_file() for name in FILES)


def build(models: Path) -> Iterator[tuple[str, int]]:
    """Writes every file below ``models`` and yields its name and size in bytes; the stamp comes last."""
    for name, contents in FILES.items():
        content = contents(Path(name).stem)
        write_atomically(models / name, content)
        yield name, len(content)
    write_atomically(models / STAMP_NAME, stamp().encode())
