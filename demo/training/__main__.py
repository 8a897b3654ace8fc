"""The command ``python -m demo.training NAME``: trains a part of the miniature cast, or all in their order."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

import torch

from .job import Job

ROOT = Path(__file__).parents[2]
ALL = "all"

# The module of each training, in the order in which they need each other.
MODULES = {
    "recogniser": "recogniser",
    "judge": "judge",
    "detector": "detector",
    "vae": "vae",
    "text": "text",
    "latents": "latents",
    "t2v-high": "experts",
    "t2v-low": "experts",
    "control": "experts",
    "i2v-high": "image_experts",
    "i2v-low": "image_experts",
    "lynx-t2v-high": "adapters",
    "lynx-t2v-low": "adapters",
    "lynx-i2v-high": "adapters",
    "lynx-i2v-low": "adapters",
}


def main() -> None:
    """Reads the command line, and trains."""
    parser = argparse.ArgumentParser(prog="demo.training", description=__doc__)
    parser.add_argument("name", choices=[*MODULES, ALL], help="what to train; all trains one after the other")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".cache" / "training", help="where states and curves are kept"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "demo" / "weights", help="where finished weights go")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--steps", type=int, help="fewer or more steps than the training itself wants")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn by chance")
    given = parser.parse_args()
    for name in MODULES if given.name == ALL else [given.name]:
        began = time.perf_counter()
        job = Job(name, given.folder, given.out, torch.device(given.device), given.steps, given.seed)
        import_module(f"demo.training.{MODULES[name]}").train(job)
        sys.stdout.write(f"{name}: done in {time.perf_counter() - began:.0f} s\n")


if __name__ == "__main__":
    main()
