"""What the benchmarks share that run the host's modules in their own process: its start, its VAEs, peaks, results."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from unittest.mock import MagicMock

import psutil

ROOT = Path(__file__).parents[2]
HOST = Path(os.environ.get("WANCAST_HOST", ROOT / ".host"))
PACK = "wancast_pack"
PROCESS = psutil.Process()
VAES = {"2.1": (16, 8), "2.2": (48, 16)}  # channels and pixels of a latent
HAS_AV = importlib.util.find_spec("av") is not None
Figures = dict[str, Any]  # numbers, and a few words
T = TypeVar("T")
Goal = tuple[str, float]  # "most" or "least"


# The command line and the host, which must start before torch is imported


def parser(about: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def gpu_parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with what every script for a GPU is told."""
    made = parser(about)
    made.add_argument("--out", type=Path, required=True, help="folder for the figures, a JSON file")
    made.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    made.add_argument("--tiny", action="store_true", help="only to see that it runs: small networks and a small video")
    return made


def start_host(*arguments: str, dynamic: bool = False) -> None:
    """Does what the host's main.py does before it imports torch: its arguments, its memory manager, its allocator."""
    sys.argv = [sys.argv[0], *arguments]
    importlib.import_module("comfy.options").enable_args_parsing()
    if dynamic:
        importlib.import_module("comfy_aimdo.control").init(nvml_pressure=True)
    importlib.import_module("cuda_malloc")
    if not HAS_AV:  # the host's node API wants it to start
        for name in ("", ".container", ".subtitles", ".subtitles.stream", ".video", ".video.reformatter"):
            sys.modules[f"av{name}"] = MagicMock()


def start_host_on_cpu(*arguments: str) -> None:
    """Finds the host in WANCAST_HOST, or where dev.py made it, and starts it with --cpu."""
    sys.path[:0] = [str(HOST), str(ROOT)]
    start_host("--cpu", *arguments)


def pack_module(name: str) -> ModuleType:
    """A module of our pack, without the nodes that the script has no use for."""
    for package, folder in ((PACK, ROOT), (f"{PACK}.nodes", ROOT / "nodes")):
        sys.modules.setdefault(package, ModuleType(package)).__path__ = [str(folder)]
    return importlib.import_module(f"{PACK}.{name}")


# Wan VAEs of the real size


def meta_vae(vae: str) -> Any:
    """The host's own module without memory."""
    shared = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "temperal_downsample": [False, True, True]}
    with importlib.import_module("torch").device("meta"):
        if vae == "2.1":
            return importlib.import_module("comfy.ldm.wan.vae").WanVAE(dim=96, z_dim=16, **shared)
        return importlib.import_module("comfy.ldm.wan.vae2_2").WanVAE(dim=160, dec_dim=256, z_dim=48, **shared)


def latent_shape(vae: str, width: int, height: int, frames: int) -> tuple[int, ...]:
    """z t h w."""
    channels, scale = VAES[vae]
    return channels, (frames - 1) // 4 + 1, height // scale, width // scale


# Measuring


@contextmanager
def watched(level: Callable[[], float], every_s: float = 0.002) -> Iterator[list[float]]:
    """Fills in what a level is before the block and all the time in it."""
    levels, ended = [level()], threading.Event()

    def watch() -> None:
        while not ended.wait(every_s):
            levels.append(level())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield levels
    finally:
        ended.set()
        watcher.join()


def ram_gb() -> float:
    """The resident size of this process."""
    return PROCESS.memory_info().rss / 1e9


def timed(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds of something, with all that it leaves to the device, and what it returns."""
    synchronize = importlib.import_module("comfy.model_management").synchronize
    synchronize()
    start_s = time.perf_counter()
    result = run()
    synchronize()
    return time.perf_counter() - start_s, result


# Results


def machine(device: str) -> dict[str, str]:
    """What figures are taken on."""
    torch = importlib.import_module("torch")
    name = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} CPU cores"
    return {"device": name, "torch": torch.__version__, "python": platform.python_version()}


class Results:
    """The figures of a script in a JSON file; those that it has already are not taken again."""

    def __init__(self, file: Path, options: argparse.Namespace) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file, self._options = file, options
        self._taken: dict[str, Any] = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}

    def figures(self, key: str) -> Figures:
        """What is there already."""
        return self._taken.get(key, {}).get("figures", {})

    def take(self, key: str, run: Callable[[], Figures], goals: Mapping[str, Goal], **about: Any) -> None:
        """Takes the figures that are still missing, saves them with what is said about them, and prints them."""
        if key not in self._taken:
            start_s = time.perf_counter()
            self._taken[key] = {"figures": run(), **about, "machine": machine(self._options.device)}
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps(self._taken, indent=1), encoding="ascii")
            os.replace(part, self._file)
            say(f"{key}: taken in {time.perf_counter() - start_s:.1f} s")
        is_toy = self._options.tiny or self._options.device == "cpu"  # which has no goals
        for name, value in self.figures(key).items():
            say(line(key, name, value, None if is_toy else goals.get(name)))


def line(key: str, name: str, value: float | str, goal: Goal | None) -> str:
    """One figure, and whether it keeps its goal."""
    text = f"{key:<50} {name:<34} " + (value if isinstance(value, str) else f"{value:12.6g}")
    if goal is None or isinstance(value, str):
        return text
    side, limit = goal
    kept = value <= limit if side == "most" else value >= limit
    return f"{text}   goal: at {side} {limit} {'kept' if kept else 'MISSED'}"


def say(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
