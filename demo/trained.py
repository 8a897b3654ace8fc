"""The trained miniatures of ``demo/weights``: where each belongs in a models folder."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from pathlib import Path

from .miniature.files import write_atomically

WEIGHTS = Path(__file__).parent / "weights"
FOLDERS = {  # of the host's models folder
    "cast_t2v_high.safetensors": "diffusion_models",
    "cast_t2v_low.safetensors": "diffusion_models",
    "cast_i2v_high.safetensors": "diffusion_models",
    "cast_i2v_low.safetensors": "diffusion_models",
    "cast_vae.safetensors": "vae",
    "cast_umt5.safetensors": "text_encoders",
    "cast_recogniser.safetensors": "face_recognition",
    "cast_judge.onnx": "face_recognition",
    "cast_lynx_t2v_high.safetensors": "wan_id_adapters",
    "cast_lynx_t2v_low.safetensors": "wan_id_adapters",
    "cast_lynx_i2v_high.safetensors": "wan_id_adapters",
    "cast_lynx_i2v_low.safetensors": "wan_id_adapters",
}
PACK = "insightface/models/cast_pack"
PLACES = {name: f"{folder}/{name}" for name, folder in FOLDERS.items()} | {
    "cast_detector.onnx": f"{PACK}/det_cast.onnx",  # such a name tells the detector of a pack
    "cast_genderage.onnx": f"{PACK}/genderage.onnx",
}


def lacking() -> list[str]:
    """The files that are not there: they are trained by ``python -m demo.training``."""
    return [name for name in PLACES if not (WEIGHTS / name).is_file()]


def place(models: Path) -> Iterator[str]:
    """Brings what is there below ``models`` and yields the place of each file that was not there as it is now."""
    for name, place in PLACES.items():
        source, target = WEIGHTS / name, models / place
        if source.is_file() and not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
            write_atomically(target, source.read_bytes())
            yield place
