"""Weight files that are wrong in one way each, beside the good ones of a live host."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.host import recipes

GOOD_FILES = {  # input -> folder, file
    "encoder": ("face_recognition", recipes.ENCODER),
    "ip_layers": ("wan_id_adapters", recipes.IP_LAYERS),
    "resampler": ("wan_id_adapters", recipes.RESAMPLER),
    "weights": ("syncnet", recipes.SYNCNET),
}
CAN_DANGLE = sys.platform != "win32"


class Harmful:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.proof,)


def write_bad_files(models: Path) -> Path:
    """Writes them into the models folder of a host; returns the path at which a file appears if a pickle was run."""
    proof = models / "a_pickle_was_run"
    for name, (folder, good) in GOOD_FILES.items():
        place = models / folder
        tensors = load_file(place / good)
        save_file(dict(sorted(tensors.items())[:-1]), place / f"{name}_without_one_weight.safetensors")
        max(tensors.values(), key=torch.numel).view(-1)[0] = float("nan")
        save_file(tensors, place / f"{name}_with_nan.safetensors")
        save_file({"weight": torch.zeros(2)}, place / "another_network.safetensors")
        (place / "harmful.pt").write_bytes(pickle.dumps({"weight": Harmful(proof)}))
        content = (place / good).read_bytes()
        (place / "cut_off.safetensors").write_bytes(content[: len(content) // 2])
        if CAN_DANGLE and not (place / "gone.safetensors").is_symlink():
            (place / "gone.safetensors").symlink_to(place / "nowhere.safetensors")
    layers = load_file(models / "wan_id_adapters" / recipes.IP_LAYERS)
    wider = {key: torch.cat([tensor, tensor]) for key, tensor in layers.items()}
    save_file(wider, models / "wan_id_adapters" / "twice_as_wide.safetensors")
    return proof
