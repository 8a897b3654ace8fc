"""The command ``python -m demo.training NAME``: trains a part of the miniature cast, or all in their order."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from .job import Job

ROOT = Path(__file__).parents[2]
ALL = "all"


@dataclass(frozen=True, slots=True)
class Training:
    """One training: the module that holds it, what it writes, and whose files it reads."""

    module: str
    file: str | None  # in the folder of weights; None: it writes none
    needs: tuple[str, ...] = ()  # other trainings


TRAININGS = {
    "recogniser": Training("recogniser", "cast_recogniser.safetensors"),
    "judge": Training("judge", "cast_judge.onnx"),
    "detector": Training("detector", "cast_detector.onnx"),
    "vae": Training("vae", "cast_vae.safetensors", ("recogniser",)),
    "text": Training("text", "cast_umt5.safetensors"),
    "latents": Training("latents", None, ("recogniser", "vae")),
    "t2v-high": Training("experts", "cast_t2v_high.safetensors", ("text", "latents")),
    "t2v-low": Training("experts", "cast_t2v_low.safetensors", ("text", "latents")),
    "control": Training("experts", "cast_control.safetensors", ("text", "latents")),
    "i2v-high": Training("image_experts", "cast_i2v_high.safetensors", ("text", "vae", "latents", "t2v-high")),
    "i2v-low": Training("image_experts", "cast_i2v_low.safetensors", ("text", "vae", "latents", "t2v-low")),
    "lynx-t2v-high": Training("adapters", "cast_lynx_t2v_high.safetensors", ("recogniser", "text", "t2v-high")),
    "lynx-t2v-low": Training("adapters", "cast_lynx_t2v_low.safetensors", ("recogniser", "text", "t2v-low")),
    "lynx-i2v-high": Training("adapters", "cast_lynx_i2v_high.safetensors", ("recogniser", "text", "vae", "i2v-high")),
    "lynx-i2v-low": Training("adapters", "cast_lynx_i2v_low.safetensors", ("recogniser", "text", "vae", "i2v-low")),
}


def missing(name: str, out: Path) -> list[str]:
    """The trainings whose files a training reads and that are not in the folder of weights."""
    files = {need: TRAININGS[need].file for need in TRAININGS[name].needs}
    return [need for need, file in files.items() if file is not None and not (out / file).is_file()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, and trains."""
    parser = argparse.ArgumentParser(prog="demo.training", description=__doc__)
    parser.add_argument("name", choices=[*TRAININGS, ALL], help="what to train; all trains one after the other")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".cache" / "training", help="where states and curves are kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "demo" / "weights", help="where finished weights go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--steps", type=int, help="fewer or more steps than the training itself wants")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn by chance")
    given = parser.parse_args(arguments)
    for name in TRAININGS if given.name == ALL else [given.name]:
        if lacking := missing(name, given.out):
            parser.error(
                f"{name} reads what {' and '.join(lacking)} writes, which is not in {given.out}: train it first"
            )
        began = time.perf_counter()
        job = Job(name, given.folder, given.out, torch.device(given.device), given.steps, given.seed)
        import_module(f"demo.training.{TRAININGS[name].module}").train(job)
        sys.stdout.write(f"{name}: done in {time.perf_counter() - began:.0f} s\n")


if __name__ == "__main__":
    main()
