"""Time and peak RAM of our decoder against the host's VAEDecode and VAEDecodeTiled, with decoders of the real size.

Usage: python dev.py bench vae [-- --size 256 --vae 2.1 --way ours stock]. Every figure has a process of its own, on the
CPU in fp32, with random weights. RAM is the largest resident size during the decode less that just before it. Where
other work slows the clock, compare the CPU seconds.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import logging
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import workbench
from workbench import pack_module, say

if TYPE_CHECKING:
    import torch

GOALS = {"time": 1.0, "RAM": 0.7}  # of VAEDecode's
GOAL_SIZE = 256  # smaller pictures are too near the noise
WAYS = ("stock", "tiled", "ours", "whole")  # whole: ours in the host's schedule
TILED = {"tile_size": 128, "overlap": 32, "temporal_size": 16, "temporal_overlap": 4}


@dataclass(frozen=True, slots=True)
class Case:
    """One video to decode."""

    vae: str  # "2.1" or "2.2"
    size: int  # pixels each way
    frames: int

    def __str__(self) -> str:
        return f"{self.vae} {self.size}x{self.size} {self.frames} f"


@dataclass(frozen=True, slots=True)
class Figure:
    """What one decode took."""

    wall_s: float
    cpu_s: float  # of all threads together
    ram_mb: float


CASES = (
    Case("2.1", 256, 17),
    Case("2.2", 256, 9),
    *(Case(vae, 128, frames) for vae in ("2.1", "2.2") for frames in (5, 9, 17, 33)),
    Case("2.1", 64, 257),
)


# The process of one figure


def decoder_shapes(vae: str) -> dict[str, tuple[int, ...]]:
    """The decoder's weights and the one of the encoder's that the host reads, from the host's own module."""
    wanted = ("decoder.", "conv2.", "encoder.conv1.weight")
    named = workbench.meta_vae(vae).named_parameters()
    return {name: tuple(weight.shape) for name, weight in named if name.startswith(wanted)}


def random_vae(vae: str) -> Any:
    """The host's VAE with random weights that keep what goes through it at about its size, loaded."""
    torch = importlib.import_module("torch")
    generator = torch.Generator().manual_seed(0)

    def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("gamma"):
            return torch.ones(shape)
        scale = 0.01 if name.endswith("bias") else 1.0 / math.sqrt(math.prod(shape[1:]))
        return torch.randn(shape, generator=generator).mul_(scale)

    made = importlib.import_module("comfy.sd").VAE(sd={n: weight(n, s) for n, s in decoder_shapes(vae).items()})
    importlib.import_module("comfy.model_management").load_models_gpu([made.patcher])
    return made


def decode(way: str, vae: Any, latent: torch.Tensor) -> torch.Tensor:
    """The IMAGE (f h w c) of a latent (1 z t h w)."""
    if way == "stock":
        return importlib.import_module("nodes").VAEDecode().decode(vae, {"samples": latent})[0]
    if way == "tiled":
        return importlib.import_module("nodes").VAEDecodeTiled().decode(vae, {"samples": latent}, **TILED)[0]
    node = pack_module("nodes.high_compression_vae_decode").HighCompressionVAEDecode
    tiling = {"tiling": "auto" if way == "ours" else "whole frame"}
    return node.execute(samples={"samples": latent}, vae=vae, tiling=tiling).args[0]


def figure_here(case: Case, way: str) -> Figure:
    """Takes a figure in this process."""
    workbench.start_host_on_cpu()
    logging.disable(logging.WARNING)  # the encoder's weights are missing, which nobody needs here
    torch = importlib.import_module("torch")
    with torch.inference_mode():
        vae = random_vae(case.vae)
        shape = workbench.latent_shape(case.vae, case.size, case.size, case.frames)
        latent = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))
        importlib.import_module("nodes")
        pack_module("nodes.high_compression_vae_decode")
        gc.collect()
        with workbench.watched(workbench.ram_gb) as levels_gb:
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            images = decode(way, vae, latent)
            wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    if tuple(images.shape) != (case.frames, case.size, case.size, 3):
        raise ValueError(f"{case}, {way}: an IMAGE of shape {tuple(images.shape)}")
    return Figure(wall_s, cpu_s, 1e3 * (max(levels_gb) - levels_gb[0]))


# The table


def figure(case: Case, way: str) -> Figure:
    """Takes a figure in a process of its own."""
    job = json.dumps({"case": asdict(case), "way": way})
    run = subprocess.run([sys.executable, __file__, "--job", job], stdout=subprocess.PIPE, text=True, check=True)
    return Figure(**json.loads(run.stdout.splitlines()[-1]))


def lines(case: Case, ways: list[str]) -> Iterator[str]:
    """A line for each way, with its ratios to VAEDecode when that is among them."""
    stock = None
    for way in ways:
        taken = figure(case, way)
        stock = taken if way == "stock" else stock
        line = f"{case!s:<22} {way:<10} {taken.wall_s:8.2f} s {taken.cpu_s:8.2f} CPU s {taken.ram_mb:8.0f} MB"
        if stock is not None and way != "stock":
            ratios = {"time": taken.wall_s / stock.wall_s, "RAM": taken.ram_mb / stock.ram_mb}
            line += f"   CPU x {taken.cpu_s / stock.cpu_s:4.2f}"
            for name, ratio in ratios.items():
                kept = "kept" if ratio <= GOALS[name] else "MISSED"
                has_goal = way == "ours" and case.size >= GOAL_SIZE
                line += f"   {name} x {ratio:4.2f}" + (f", goal {GOALS[name]:.2f} {kept}" if has_goal else "")
        yield line


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = workbench.parser(__doc__)
    parser.add_argument("--vae", nargs="+", choices=["2.1", "2.2"], default=["2.1", "2.2"])
    parser.add_argument("--size", nargs="+", type=int, default=[256, 128, 64])
    parser.add_argument("--frames", nargs="+", type=int, help="default: those of every row")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    """Prints a line for each case and way."""
    options = parse(sys.argv[1:])
    if options.job:
        job = json.loads(options.job)
        say(json.dumps(asdict(figure_here(Case(**job["case"]), job["way"]))))
        return
    for case in CASES:
        if case.vae in options.vae and case.size in options.size and case.frames in (options.frames or [case.frames]):
            for line in lines(case, options.way):
                say(line)


if __name__ == "__main__":
    main()
