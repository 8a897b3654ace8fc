"""MoESampler with two random experts of the real 14B shape on a GPU: step time, swap time and peak memory.

It needs no server and no network: PYTHONPATH must hold the host's folder (the one with its main.py) and the packages
that it needs, PyAV excepted. One call takes one dtype and one patcher, because the host decides at its start how it
loads. Figures that --out has already are not taken again, so a call that was cut off can be repeated.

    for dtype in fp8_e4m3fn bf16; do for patcher in dynamic static; do
        python tests/bench/gpu_moe.py --dtype $dtype --patcher $patcher --models MODELS --out OUT
    done; rm MODELS/*_$dtype.safetensors; done

Two experts take 57 GB of disk in bf16 and 29 GB in fp8_e4m3fn, and half of that in RAM while one is written; the static
patcher takes all of it in RAM. One call makes 20 steps of 480P and 6 or 9 of 720P: on an H100 some 6 minutes with the
files, by estimate. Without one, to see that it runs:

    python tests/bench/gpu_moe.py --device cpu --tiny --models MODELS --out OUT
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import workbench
from workbench import PACK, Figures, pack_module, say

SEED = 7
SHAPE = {"dim": 5120, "ffn": 13824, "layers": 40, "text": 4096, "text_tokens": 512}  # the host makes dim // 128 heads
PLAN = {"size": "832x480", "frames": 81, "steps": 3, "rounds": 2, "swap_size": "1280x720", "swap_frames": 81}
TINY = {"dim": 256, "ffn": 512, "layers": 2, "text": 64, "text_tokens": 8}
TINY_PLAN = {"size": "64x64", "frames": 5, "steps": 2, "rounds": 1, "swap_size": "64x64", "swap_frames": 9}
HOST_OPTIONS = {"cpu": ["--cpu"], "static": ["--disable-dynamic-vram"], "dynamic": []}
SWAPS = {"static": ("in_ram", "in_ram_warmed"), "dynamic": ("cold", "cold_warmed", "cached")}
STEPS_OF_SHORT_RUN = 4  # of a distilled model, where a swap weighs most
POLL_S = 0.02


# Options and the host, which must start before torch is imported


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; --tiny changes what no other option says."""
    parser = workbench.gpu_parser(__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder for the experts' files, kept between calls")
    parser.add_argument("--dtype", choices=["bf16", "fp8_e4m3fn"], default="bf16")
    parser.add_argument("--patcher", choices=list(SWAPS), default="static")
    parser.add_argument("--phases", nargs="+", choices=["step", "memory", "swap"], default=["step", "memory", "swap"])
    for name, value in (SHAPE | PLAN).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), help=f"default {value}")
    options = parser.parse_args(arguments)
    for name, value in (TINY | TINY_PLAN if options.tiny else SHAPE | PLAN).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.device == "cpu" and options.patcher == "dynamic":
        parser.error("the dynamic patcher needs --device cuda")
    return options


OPTIONS = parse(sys.argv[1:])
how = "cpu" if OPTIONS.device == "cpu" else OPTIONS.patcher
workbench.start_host(*HOST_OPTIONS[how], dynamic=how == "dynamic")

import comfy.ldm.wan.model  # noqa: E402
import comfy.memory_management  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.model_prefetch  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import comfy_aimdo.control  # noqa: E402
import comfy_aimdo.model_vbar  # noqa: E402
import page_cache  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import nodes as host_nodes  # noqa: E402

DEVICE = torch.device(OPTIONS.device)
DTYPES = {"bf16": torch.bfloat16, "fp8_e4m3fn": torch.float8_e4m3fn}
Model = comfy.model_patcher.ModelPatcher


def enable_dynamic_patcher() -> None:
    """Does what the host's main.py does after it imports torch; ends the script when there is no such memory here."""
    devices = [(device.index, 0) for device in comfy.model_management.get_all_torch_devices()]
    if not comfy_aimdo.control.init_devices(devices):
        sys.exit("comfy-aimdo does not work on this machine: take --patcher static.")
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True


# The experts' files


def expert_shapes() -> dict[str, tuple[int, ...]]:
    """The names and shapes of an expert's weights, from the host's own network."""
    network = comfy.ldm.wan.model.WanModel(
        dim=OPTIONS.dim,
        ffn_dim=OPTIONS.ffn,
        num_layers=OPTIONS.layers,
        num_heads=OPTIONS.dim // 128,
        text_dim=OPTIONS.text,
        operations=comfy.ops.disable_weight_init,
        device="meta",
        dtype=torch.bfloat16,
    )
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}


def random_weight(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """A weight that keeps what goes through it at about its size."""
    if "norm" in name and name.endswith("weight"):
        return torch.ones(shape, device=DEVICE)
    if name.endswith("bias"):
        return torch.zeros(shape, device=DEVICE)
    scale = 0.1 if name.endswith("modulation") else 1.0 / math.sqrt(math.prod(shape[1:]))
    return scale * torch.randn(shape, generator=generator, device=DEVICE)


def write_expert(path: Path, seed: int) -> None:
    """Writes a random expert: matrices in the dtype of the options, the rest in bf16."""
    generator = torch.Generator(DEVICE).manual_seed(seed)
    weights = {}
    for name, shape in expert_shapes().items():
        dtype = DTYPES[OPTIONS.dtype] if len(shape) == 2 else torch.bfloat16
        weights[name] = random_weight(name, shape, generator).to(dtype).cpu()
    part = path.with_suffix(".part")
    save_file(weights, part, {"config": json.dumps({"transformer": {"text_dim": OPTIONS.text}})})
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # only clean pages can leave the page cache
    os.replace(part, path)


def expert_file(name: str) -> Path:
    """The file of the high or the low expert, written when it is not there."""
    path = OPTIONS.models / f"{name}_{OPTIONS.dim}x{OPTIONS.layers}_{OPTIONS.dtype}.safetensors"
    if not path.exists():
        start_s = time.perf_counter()
        write_expert(path, seed=len(name))
        say(f"{path.name}: {path.stat().st_size / 1e9:.1f} GB written in {time.perf_counter() - start_s:.1f} s")
    return path


def load(name: str) -> Model:
    """An expert as the host's own loader makes it."""
    return comfy.sd.load_diffusion_model(str(expert_file(name)))


# Runs


def text() -> list[Any]:
    generator = torch.Generator().manual_seed(SEED)
    return [[torch.randn(1, OPTIONS.text_tokens, OPTIONS.text, generator=generator), {}]]  # 1 n d


def latent(size: str, frames: int) -> dict[str, torch.Tensor]:
    width, height = map(int, size.split("x"))
    return {"samples": torch.zeros(1, *workbench.latent_shape("2.1", width, height, frames))}  # b c t h w


def run_stock(model: Model, steps: int, video: dict[str, torch.Tensor]) -> torch.Tensor:
    """The stock KSampler's latent."""
    return host_nodes.common_ksampler(model, SEED, steps, 1.0, "euler", "simple", text(), text(), video)[0]["samples"]


def run_moe(
    high: Model, low: Model, steps: int, high_steps: int, video: dict[str, torch.Tensor], memory: str = "auto"
) -> torch.Tensor:
    """MoESampler's latent."""
    node = pack_module("nodes.moe_sampler").MoESampler
    inputs = {"model_high": high, "model_low": low, "positive": text(), "negative": text(), "latent_image": video}
    inputs |= {"seed": SEED, "steps": steps, "cfg_high": 1.0, "cfg_low": 1.0, "sampler_name": "euler"}
    inputs |= {"scheduler": "simple", "denoise": 1.0, "switch": {"switch": "step", "step": high_steps}}
    return node.execute(**inputs, memory=memory).args[0]["samples"]


def timed(run: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Seconds of a node and its latent; then what the host does after a node."""
    seconds, samples = workbench.timed(run)
    if comfy.memory_management.aimdo_enabled:
        comfy.model_management.reset_cast_buffers()
        comfy.model_prefetch.cleanup_prefetch_queues()
        comfy_aimdo.model_vbar.vbars_reset_watermark_limits()
    return seconds, samples


def clear_device() -> None:
    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()


# Phases; each returns its figures


def step_figures() -> Figures:
    """MoESampler against the stock KSampler, in turn, on one expert that makes every step and is loaded already."""
    high = load("high")
    video = latent(OPTIONS.size, OPTIONS.frames)
    stock_s, ours_s, differences = [], [], []
    timed(lambda: run_stock(high, 1, video))
    timed(lambda: run_moe(high, high, 1, 1, video))
    for _ in range(OPTIONS.rounds):
        seconds, expected = timed(lambda: run_stock(high, OPTIONS.steps, video))
        stock_s.append(seconds / OPTIONS.steps)
        seconds, samples = timed(lambda: run_moe(high, high, OPTIONS.steps, OPTIONS.steps, video))
        ours_s.append(seconds / OPTIONS.steps)
        differences.append(float((samples - expected).abs().max()))
    ours, stock = statistics.median(ours_s), statistics.median(stock_s)
    return {"ours_s": ours, "stock_s": stock, "ours/stock": ours / stock, "largest_difference": max(differences)}


def memory_figures() -> Figures:
    """Peaks of two experts, one step each, against one expert alone."""
    high, low = load("high"), load("low")
    video = latent(OPTIONS.size, OPTIONS.frames)
    runs = {
        "alone": lambda: run_stock(high, 2, video),
        "one_expert": lambda: run_moe(high, low, 2, 1, video, "one_expert"),
        "auto": lambda: run_moe(high, low, 2, 1, video, "auto"),
    }
    figures = {}
    for name, run in runs.items():
        clear_device()
        with peaks() as found:
            timed(run)
        figures |= {f"{name}.{what}": value for what, value in found.items()}
    for what in found:
        figures[f"one_expert/alone.{what}"] = figures[f"one_expert.{what}"] / max(figures[f"alone.{what}"], 1e-9)
    return figures


@contextmanager
def peaks() -> Iterator[Figures]:
    """Fills in the peaks of the block in GB: of torch's allocator, and of the whole device (on a CPU: of our RAM)."""
    found: Figures = {}
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with workbench.watched(used_gb, POLL_S) as levels:
        yield found
    if DEVICE.type == "cuda":
        found["allocated_gb"] = torch.cuda.max_memory_allocated() / 1e9
        found["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9
    found["used_gb"] = max(levels)


def used_gb() -> float:
    if DEVICE.type == "cpu":
        return workbench.ram_gb()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 1e9


def swap_figures() -> Figures:
    """How much longer the next expert's first evaluation takes than another one, for each state of its file."""
    figures = {}
    high = load("high")
    for variant in SWAPS[OPTIONS.patcher]:
        figures |= {f"{variant}.{what}": value for what, value in swap(high, variant).items()}
        clear_device()
    return figures


def swap(high: Model, variant: str) -> Figures:
    """One run of two high steps and a low one, whose expert nobody has used since it was loaded from its file."""
    file = expert_file("low")
    ends_s: list[float] = []

    def stamp(args: dict[str, Any]) -> torch.Tensor:
        comfy.model_management.synchronize()
        ends_s.append(time.perf_counter())
        return args["denoised"]

    low = load("low")
    high, low = high.clone(), low.clone()
    for model in (high, low):
        model.set_model_sampler_post_cfg_function(stamp)
    (page_cache.fill if variant == "cached" else page_cache.drop)(file)
    cached = page_cache.share(file)
    video = latent(OPTIONS.swap_size, OPTIONS.swap_frames)
    guiders = pack_module("nodes.host.guiders")
    no_warmer = partial(nullcontext, lambda model: None)
    with patch.object(guiders, "warmer", guiders.warmer if variant.endswith("warmed") else no_warmer):
        timed(lambda: run_moe(high, low, 3, 2, video))
    step_s = ends_s[1] - ends_s[0]
    swap_s = ends_s[2] - ends_s[1] - step_s
    share = swap_s / (STEPS_OF_SHORT_RUN * step_s + swap_s)
    return {"swap_s": swap_s, "step_s": step_s, "share_of_4_steps": share, "file_cached_before": cached}


# Figures


def prepare() -> None:
    """What comes before the first figure: folders, no progress bars, and the patcher."""
    for folder in (OPTIONS.models, OPTIONS.out):
        folder.mkdir(parents=True, exist_ok=True)
    comfy.utils.set_progress_bar_enabled(False)
    if OPTIONS.patcher == "dynamic":
        enable_dynamic_patcher()


@torch.inference_mode()
def main() -> None:
    """Takes the figures that are still missing, and saves them after each phase."""
    prepare()
    logging.getLogger(PACK).setLevel(logging.ERROR)  # what it warns of is wanted here
    results = workbench.Results(OPTIONS.out / "gpu_moe.json", OPTIONS)
    phases = {"step": step_figures, "memory": memory_figures, "swap": swap_figures}
    for phase in OPTIONS.phases:
        key = f"{OPTIONS.dtype}.{OPTIONS.patcher}.{phase}" + (".tiny" if OPTIONS.tiny else "")
        results.take(key, phases[phase], {}, plan={name: getattr(OPTIONS, name) for name in SHAPE | PLAN})
        clear_device()


if __name__ == "__main__":
    main()
