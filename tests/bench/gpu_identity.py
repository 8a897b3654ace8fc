"""What an identity costs a random expert of the real 14B shape on a GPU: step time, first step and memory of each kind.

Random adapters of the published sizes; IDLock and the stock KSampler at cfg 1, without and with the lock in turn. It
needs no server and no network: PYTHONPATH must hold the host's folder (the one with its main.py) and the packages that
it needs, PyAV excepted. One call takes one dtype; every option but --kinds is gpu_moe.py's (its --phases and --swap-*
change nothing here), and so are the files in --models. Figures that --out has already are not taken again, so a call
that was cut off can be repeated.

    for dtype in bf16 fp8_e4m3fn; do
        python tests/bench/gpu_identity.py --dtype $dtype --models MODELS --out OUT
        python tests/bench/gpu_identity.py --dtype $dtype --models MODELS --out OUT --size 1280x720 --kinds stand_in
    done

An expert takes 28.6 GB of disk and of RAM in bf16, 14.3 GB in fp8_e4m3fn, and Lynx full 4.2 GB of RAM. A kind makes 15
steps: by estimate 60 s each at 832x480 and 5 minutes at 1280x720 on an H100, and a minute more to write the expert.
Without a GPU, to see that it runs:

    python tests/bench/gpu_identity.py --device cpu --tiny --models MODELS --out OUT
"""

from __future__ import annotations

import argparse
import functools
import gc
import logging
import statistics
import sys
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from workbench import ROOT, Figures, Results, pack_module

KINDS = ("stand_in", "lynx_lite", "lynx_full", "lynx_ref")
MOST = {  # of a figure, by kind and dtype of the expert
    "stand_in.bf16": {"with/plain": 1.03, "peak_added.allocated_gb": 0.9},
    "stand_in.fp8_e4m3fn": {"with/plain": 1.03, "peak_added.allocated_gb": 0.45},
    "lynx_lite.bf16": {"with/plain": 1.01, "resident_gb": 0.02},
    "lynx_lite.fp8_e4m3fn": {"with/plain": 1.01, "resident_gb": 0.02},
}


def parse(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The kinds of the command line, and the rest of it, which gpu_moe reads."""
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(f"{__doc__}\n--kinds {' '.join(KINDS)}\n\nThe rest is gpu_moe.py's:\n\n")
        return [], arguments
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options, rest = parser.parse_known_args(arguments)
    return options.kinds, rest


KINDS_WANTED, sys.argv[1:] = parse(sys.argv[1:])

import gpu_moe  # noqa: E402, I001 - it reads its options and starts the host
import comfy.model_management  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402
from gpu_moe import DEVICE, OPTIONS, Model  # noqa: E402

sys.modules.setdefault("tests", ModuleType("tests")).__path__ = [str(ROOT / "tests")]  # the host has such a package too

from tests.bench import bench_identity  # noqa: E402

TINY = bench_identity.Sizes(
    0, 0, rank_d=8, lite_token_d=48, full_token_d=64, registers=4, resampler_d=64, resampler_layers=1
)
SIZES = replace(TINY if OPTIONS.tiny else bench_identity.PUBLISHED, width_d=OPTIONS.dim, blocks=OPTIONS.layers)

adapter_files = pack_module("wan_core.adapters.adapter_files")
devices = pack_module("nodes.host.devices")
id_lock = pack_module("nodes.id_lock")
locks = pack_module("nodes.host.locks")
record = pack_module("wan_core.identity.record")
id_lock.IDLock.locker = locks.ModelLocker()


# What goes into a lock


def random_adapter(kind: str) -> Any:
    """An adapter of a kind with random weights in bf16, as the loader makes it from the files."""
    contents = bench_identity.tables(SIZES)
    generator = torch.Generator(DEVICE).manual_seed(gpu_moe.SEED)

    def weight(entry: Any) -> torch.Tensor:
        noise = torch.randn(entry.shape, generator=generator, device=DEVICE)
        return (entry.std * noise + entry.centre).to(torch.bfloat16).cpu()

    files = {
        slot: adapter_files.AdapterFile(name, {key: weight(entry) for key, entry in contents[name].items()}, {})
        for slot, name in bench_identity.selected(bench_identity.KINDS[kind]).items()
    }
    host = {"operations": devices.operations, "make_patcher": devices.resting_patcher}
    return adapter_files.load_adapter(files, content_sha256=kind, **host)


def random_identity() -> Any:
    """A person with everything that an adapter can read."""
    generator = torch.Generator().manual_seed(gpu_moe.SEED)
    vectors = torch.nn.functional.normalize(torch.randn(1, record.IDENTITY_D, generator=generator), dim=-1)
    attributes = record.Attributes(None, None, None, None, None, None, float(record.CROP_PX), 1.0)
    sides_px = (record.CROP_PX, record.REFERENCE_CROP_PX, record.PORTRAIT_PX)
    crop, reference, portrait = (torch.rand(side_px, side_px, 3, generator=generator) for side_px in sides_px)
    parts = {"z": vectors[0], "references": vectors, "embeddings": vectors, "crops": crop[None]}
    parts |= {"reference_crop": reference, "portrait": portrait, "attributes": (attributes,)}
    return record.Identity(**parts, space=record.Space("random", "", "IR-SE"))


class RandomVae(comfy.sd.VAE):
    """Gives latents of the Wan2.1 VAE's shape without a network; how they are made is no matter here."""

    def __init__(self) -> None:
        self.first_stage_model = None

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """Latents b 16 1 h/8 w/8 for pictures b h w 3."""
        count, height_px, width_px, _ = pictures.shape
        shape = (count, 16, 1, height_px // 8, width_px // 8)
        return torch.randn(shape, generator=torch.Generator().manual_seed(gpu_moe.SEED))


def with_lock(model: Model, kind: str) -> Model:
    """What IDLock makes of a model."""
    parts = {"model": model, "identity": random_identity(), "adapter": random_adapter(kind), "vae": RandomVae()}
    settings = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all", "ref_text": gpu_moe.text()}
    return id_lock.IDLock.execute(**parts, **settings).args[0]


# Runs


@dataclass(frozen=True, slots=True, eq=False)
class TimedRun:
    """One KSampler."""

    first_s: float  # from its start to the end of its first step
    later_s: list[float]  # each later step
    kept_gb: float  # of keys and values on the device after the last step
    allocated_gb: float  # on the device after the last step; 0 on a CPU
    peaks: Figures
    samples: torch.Tensor  # the latent


def run(model: Model, steps: int) -> TimedRun:
    """Runs the stock KSampler and looks at the clock and at the memory after each step."""
    ends_s, seen_gb = [], (0.0, 0.0)

    def look(args: dict[str, Any]) -> torch.Tensor:
        nonlocal seen_gb
        comfy.model_management.synchronize()
        ends_s.append(time.perf_counter())
        seen_gb = kept_gb(), allocated_gb()
        return args["denoised"]

    model = model.clone()
    model.set_model_sampler_post_cfg_function(look)
    video = gpu_moe.latent(OPTIONS.size, OPTIONS.frames)
    with gpu_moe.peaks() as peaks:
        start_s = time.perf_counter()
        _, samples = gpu_moe.timed(lambda: gpu_moe.run_stock(model, steps, video))
    later_s = [end - begin for begin, end in zip(ends_s[:-1], ends_s[1:], strict=True)]
    return TimedRun(ends_s[0] - start_s, later_s, *seen_gb, peaks, samples)


def kept_gb() -> float:
    """What keys and values take on the device."""
    entries = id_lock.IDLock.locker.cache._on_device.values()
    return sum(tensor.nbytes for entry in entries for pair in entry.values() for tensor in pair) / 1e9


def allocated_gb() -> float:
    return torch.cuda.memory_allocated() / 1e9 if DEVICE.type == "cuda" else 0.0


@functools.cache
def expert() -> Model:
    """The expert, after a step: its weights are where they stay and its kernels are compiled."""
    model = gpu_moe.load("high")
    run(model, 1)
    return model


def figures_of(kind: str) -> Figures:
    """The figures of one kind: the model alone, with the lock for the first time, and then both in turn."""
    model = expert()
    before = run(model, 1)
    level_gb, start_s = allocated_gb(), time.perf_counter()
    locked = with_lock(model, kind)
    comfy.model_management.synchronize()
    lock_s, left_gb = time.perf_counter() - start_s, allocated_gb() - level_gb
    new = run(locked, 1)
    pairs = [(run(model, OPTIONS.steps), run(locked, OPTIONS.steps)) for _ in range(OPTIONS.rounds)]
    plain, again = ([pair[side] for pair in pairs] for side in (0, 1))
    plain_s, with_s = (statistics.median(s for timed in side for s in timed.later_s) for side in (plain, again))
    plain_first_s, again_first_s = (statistics.median(timed.first_s for timed in side) for side in (plain, again))
    found = {
        "plain_s": plain_s,
        "with_s": with_s,
        "with/plain": with_s / plain_s,
        "lock_s": lock_s,  # IDLock with a random adapter, which takes most of it
        "first_step.new_s": new.first_s - again_first_s,  # to build keys and values
        "first_step.kept_s": again_first_s - plain_first_s - (with_s - plain_s),  # to fetch them from RAM
        "kept_gb": again[-1].kept_gb,
        "effect": float((again[-1].samples - plain[-1].samples).abs().max()),  # 0 would make the others say nothing
    }
    if DEVICE.type == "cuda":
        found |= {"lock_left_gb": left_gb, "resident_gb": again[-1].allocated_gb - before.allocated_gb}
    for what, value in before.peaks.items():
        found[f"peak_added.{what}"] = max(timed.peaks[what] for timed in again) - value
        found[f"peak_added_new.{what}"] = new.peaks[what] - value
    return found


# The table


@torch.inference_mode()
def main() -> None:
    """Takes the figures that are still missing, and saves them kind by kind."""
    gpu_moe.prepare()
    logging.getLogger().setLevel(logging.WARNING)
    results = Results(OPTIONS.out / "gpu_identity.json", OPTIONS)
    video = f"{OPTIONS.device}.{OPTIONS.dtype}.{OPTIONS.patcher}.{OPTIONS.size}.{OPTIONS.frames}"
    plan = {name: getattr(OPTIONS, name) for name in (*gpu_moe.SHAPE, "steps", "rounds")}
    for kind in KINDS_WANTED:
        key = f"{video}.{kind}" + (".tiny" if OPTIONS.tiny else "")
        goals = {name: ("most", value) for name, value in MOST.get(f"{kind}.{OPTIONS.dtype}", {}).items()}
        results.take(key, functools.partial(figures_of, kind), goals, plan=plan)
        gc.collect()
        comfy.model_management.soft_empty_cache()  # the expert stays


if __name__ == "__main__":
    main()
