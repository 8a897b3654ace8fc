"""Time and peak memory of every way to decode with the real Wan VAEs on a GPU: ours against the host's VAEDecode.

Random weights, bf16 (on a CPU fp32), the static patcher. It needs no server and no network: PYTHONPATH must hold the
host's folder (the one with its main.py) and the packages that it needs; without PyAV there are no figures of video
files. Figures that --out has already are not taken again, so a call that was cut off can be repeated.

    for vae in 2.1 2.2; do python tests/bench/gpu_vae.py --vae $vae --out OUT; done

Stock and ours decode 81 frames of 1280x720 (2.1) or 1280x704 (2.2) to an IMAGE in RAM: a short clip first, then ROUNDS
times, with the peaks of all of these. Random pictures do not compress as real ones do, so mind file_mb when you
read the time of a video file. Without a GPU, to see that it runs:

    python tests/bench/gpu_vae.py --device cpu --tiny --out OUT
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import bench_vae
from bench_vae import PACK, pack_module

SIZES = {"2.1": "1280x720", "2.2": "1280x704"}
PIXELS_PER_LATENT = {"2.1": 8, "2.2": 16}
TINY_SIZE = "32x32"
FRAMES, TINY_FRAMES = 81, 5
WARM_FRAMES = 17  # they go through every kernel
ROUNDS, TINY_ROUNDS = 3, 1
SEED = 1
GOALS = {"stock_s/s": ("least", 1.5), "stock/reserved": ("least", 1 / 0.75), "video_s/decoding_s": ("most", 1.05)}
Figures = dict[str, float | str]


# Options and the host, which must start before torch is imported


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; --tiny changes what no other option says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for gpu_vae.json")
    parser.add_argument("--vae", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--size", help="default 1280x720 for 2.1 and 1280x704 for 2.2")
    parser.add_argument("--frames", type=int, help=f"default {FRAMES}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small video, decoded once")
    options = parser.parse_args(arguments)
    options.frames = options.frames or (TINY_FRAMES if options.tiny else FRAMES)
    options.rounds = TINY_ROUNDS if options.tiny else ROUNDS
    options.sizes = {vae: options.size or (TINY_SIZE if options.tiny else SIZES[vae]) for vae in options.vae}
    if options.frames < 1 or options.frames % 4 != 1:
        parser.error("--frames must be 1, 5, 9, 13, ...")
    for vae, size in options.sizes.items():
        if any(side % PIXELS_PER_LATENT[vae] or not side for side in sides(size)):
            parser.error(f"the sides of --size must be multiples of {PIXELS_PER_LATENT[vae]} for the {vae} VAE")
    return options


def sides(size: str) -> tuple[int, int]:
    width, height = map(int, size.split("x"))
    return width, height


def start_host(options: argparse.Namespace) -> None:
    """Does what the host's main.py does before it imports torch: its arguments and its allocator."""
    arguments = {"cuda": ["--bf16-vae", "--disable-dynamic-vram"], "cpu": ["--cpu", "--fp32-vae"]}
    sys.argv = [sys.argv[0], *arguments[options.device]]
    importlib.import_module("comfy.options").enable_args_parsing()
    importlib.import_module("cuda_malloc")
    if not HAS_AV:  # the host's node API wants it to start
        for name in ("", ".container", ".subtitles", ".subtitles.stream", ".video", ".video.reformatter"):
            sys.modules[f"av{name}"] = MagicMock()


HAS_AV = importlib.util.find_spec("av") is not None
OPTIONS = parse(sys.argv[1:])
start_host(OPTIONS)

import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

DEVICE = torch.device(OPTIONS.device)
decoding = pack_module("nodes.high_compression_vae_decode")
vaes = pack_module("nodes.host.vaes")
frames = pack_module("nodes.host.frames")
core = pack_module("wan_core.vae")
models = pack_module("wan_core.vae.memory")
methods = pack_module("wan_core.vae.methods")
plans = pack_module("wan_core.vae.plan")
stream_frames = pack_module("wan_core.vae.stream").stream_frames
InputError = pack_module("wan_core.errors").InputError


class StockFellBack(Exception):
    """The stock VAEDecode ran out of memory and would go on with overlapping tiles, which are other pictures."""


# Ways to decode; each returns the IMAGE (f h w c) of a latent (1 z t h w), and how it was made


def stock(vae: Any, latent: Tensor) -> tuple[Tensor, str]:
    """The host's VAEDecode."""
    reason = StockFellBack("the stock VAEDecode ran out of memory and fell back to tiles")
    with patch.object(vae, "decode_tiled_3d", side_effect=reason):
        return bench_vae.decode("stock", vae, latent), "the host's VAEDecode"


def planned(vae: Any, latent: Tensor, choice: dict[str, Any] | None, method: Any = None) -> tuple[Tensor, str]:
    """What our node does, by a tiling or by a method that it might not choose."""
    request = vaes.decode_request(vae, {"samples": latent}, choice, None)
    images = frames.room_for_image(request.image_shape)
    memory, load = partial(vaes.free_memory, vae, images.nbytes), partial(vaes.loaded_for_decoding, vae)
    fill = partial(decoding.fill, images, vae.process_output)
    if method is None:
        plan = core.decode(request, fill, memory=memory, load=load).plan
    else:
        model = models.memory_model(request.params, latent.shape, vae.vae_dtype.itemsize)
        plan = core.DecodePlan(method, model.peak_bytes(method))
        with load(request.network, plan, vae.vae_dtype) as loaded:
            fill(streamed(loaded, request, plan))
    name = f"{plan.method.rows}x{plan.method.columns}, {plan.method.segment_latents} latents a turn"
    return images, f"{name}, {plan.peak_bytes / 1e9:.2f} GB estimated"


def streamed(loaded: Any, request: Any, plan: Any) -> Iterator[Tensor]:
    """The frames of the request's clip."""
    where = {"device": loaded.device, "dtype": loaded.dtype, "bounded": request.bounded}
    return stream_frames(loaded.network, request.latent[0], request.params, plan.method, **where)


def tiles(rows: int, columns: int) -> dict[str, Any]:
    return {"tiling": "tiles", "rows": rows, "columns": columns}


WAYS: dict[str, Callable[[Any, Tensor], tuple[Tensor, str]]] = {
    "stock": stock,
    "auto": lambda vae, latent: decoding.HighCompressionVAEDecode.execute({"samples": latent}, vae).args,
    "one_frame": partial(planned, choice=None, method=methods.ONE_FRAME),
    "cache_in_ram": partial(planned, choice=None, method=methods.PARKED_CACHE),
    "tiles_1x2": partial(planned, choice=tiles(1, 2)),
    "tiles_2x2": partial(planned, choice=tiles(2, 2)),
}


# What a run is made of


@lru_cache(maxsize=1)
def random_vae(kind: str) -> Any:
    """The host's VAE of the real size, loaded."""
    return bench_vae.random_vae(kind)


@lru_cache(maxsize=1)
def stock_images(kind: str) -> Tensor:
    """The stock pictures that the others are held against, f h w c."""
    return stock(random_vae(kind), latent_of(kind))[0]


def latent_of(kind: str) -> Tensor:
    """A random latent, 1 z t h w."""
    channels, scale = (16, 8) if kind == "2.1" else (48, 16)
    width, height = sides(OPTIONS.sizes[kind])
    shape = (1, channels, (OPTIONS.frames - 1) // 4 + 1, height // scale, width // scale)
    return torch.randn(shape, generator=torch.Generator().manual_seed(SEED))


def soft_latent_of(kind: str) -> Tensor:
    """A random latent of large shapes, 1 z t h w: its pictures compress better than those of noise."""
    latent = latent_of(kind)
    shape = latent.shape[2:]
    coarse = latent[..., :: max(1, shape[1] // 6), :: max(1, shape[2] // 10)]
    return torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")


def seconds(run: Callable[[], object]) -> float:
    comfy.model_management.synchronize()
    start_s = time.perf_counter()
    run()
    comfy.model_management.synchronize()
    return time.perf_counter() - start_s


@contextmanager
def peaks() -> Iterator[Figures]:
    """Fills in the peaks of the block in GB: of torch's allocator, with the weights; on a CPU how far our RAM grew."""
    gc.collect()
    comfy.model_management.soft_empty_cache()
    found: Figures = {}
    if DEVICE.type == "cpu":
        with bench_vae.peak_ram() as ram_mb:
            yield found
        found["ram_gb"] = ram_mb[0] / 1e3
        return
    found["before_gb"] = torch.cuda.memory_allocated() / 1e9
    torch.cuda.reset_peak_memory_stats()
    yield found
    found["allocated_gb"] = torch.cuda.max_memory_allocated() / 1e9
    found["reserved_gb"] = torch.cuda.max_memory_reserved() / 1e9


# Figures


def way_figures(kind: str, way: str) -> Figures:
    """The median time of a way, its peaks, and how far its pictures are from the stock ones."""
    vae, latent = random_vae(kind), latent_of(kind)
    if not OPTIONS.tiny:
        WAYS[way](vae, latent[:, :, : (WARM_FRAMES - 1) // 4 + 1])
    made: list[tuple[Tensor, str]] = []

    def run() -> None:
        made[:] = [WAYS[way](vae, latent)]

    with peaks() as found:
        wall_s = [seconds(run) for _ in range(OPTIONS.rounds)]
    images, how = made[0]
    figures = {"s": statistics.median(wall_s), **found, "how": how.splitlines()[0]}
    figures["spread_of_pictures"] = float(images[0].float().std())  # 0 would make the next two say nothing
    if way == "stock":
        return figures
    try:
        return figures | distance(images, stock_images(kind))
    except StockFellBack as error:
        return figures | {"not_compared": str(error)}


def distance(images: Tensor, expected: Tensor) -> Figures:
    """How far pictures (f h w c, 0 to 1) are from the expected ones; raises ValueError when some are missing."""
    largest = max(float((image - other).abs().max()) for image, other in zip(images, expected, strict=True))
    return {"equal": float(torch.equal(images, expected)), "largest_difference": largest}


def video_figures(kind: str) -> Figures:
    """WanCastDecodeToVideo (h264) against the same stream of frames without its encoder, in turn."""
    if not HAS_AV:
        return {"skipped": "PyAV is missing, which writes the video files"}
    module = pack_module("nodes.decode_to_video")
    vae, latent = random_vae(kind), soft_latent_of(kind)
    request = vaes.decode_request(vae, {"samples": latent}, None, None, to_video=True)
    model = models.memory_model(request.params, latent.shape, vae.vae_dtype.itemsize)
    plan = plans.choose_plan(model, vaes.free_memory(vae, 0), plans.AUTO)

    def decode() -> None:
        with vaes.loaded_for_decoding(vae, request.network, plan, vae.vae_dtype) as loaded:
            for _ in streamed(loaded, request, plan):
                pass

    node, hidden = module.WanCastDecodeToVideo, SimpleNamespace(prompt=None, extra_pnginfo=None, unique_id="1")

    def encode() -> None:
        with patch.object(node, "hidden", hidden):
            node.execute({"samples": latent}, vae, 16.0, "h264", 18, "software", "v", False, 1)

    with tempfile.TemporaryDirectory(dir=OPTIONS.out) as folder:
        folder_paths.set_temp_directory(folder)
        if not OPTIONS.tiny:
            decode()
        alone_s, video_s = [], []
        with peaks() as found:
            for _ in range(OPTIONS.rounds):
                alone_s.append(seconds(decode))
                video_s.append(seconds(encode))
        file_mb = max(path.stat().st_size for path in Path(folder).rglob("*.mp4")) / 1e6
    video, alone = statistics.median(video_s), statistics.median(alone_s)
    figures = {"video_s": video, "decoding_s": alone, "video_s/decoding_s": video / alone}
    return figures | {"file_mb": file_mb, **found, "how": plan.why}


def attempt(kind: str, row: str) -> Figures:
    """The figures of a row, or why it failed."""
    try:
        return video_figures(kind) if row == "video" else way_figures(kind, row)
    except (InputError, StockFellBack) as error:
        return {"failed": str(error)}


# The table


def line(key: str, name: str, value: float | str) -> str:
    """One figure, and whether it keeps its goal; a toy or a CPU keeps none."""
    if isinstance(value, str):
        return f"{key:<40} {name:<20} {value}"
    text = f"{key:<40} {name:<20} {value:12.6g}"
    if name not in GOALS or OPTIONS.tiny or DEVICE.type == "cpu":
        return text
    side, limit = GOALS[name]
    kept = value <= limit if side == "most" else value >= limit
    return f"{text}   goal: at {side} {limit} {'kept' if kept else 'MISSED'}"


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    found = {"torch": torch.__version__, "python": platform.python_version()}
    if DEVICE.type == "cpu":
        return found | {"device": f"{os.cpu_count()} CPU cores"}
    return found | {"device": torch.cuda.get_device_name(), "allocator": torch.cuda.get_allocator_backend()}


def main() -> None:
    """Takes the figures that are still missing, and saves them row by row."""
    OPTIONS.out.mkdir(parents=True, exist_ok=True)
    comfy.utils.set_progress_bar_enabled(False)
    logging.getLogger(PACK).setLevel(logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)  # the encoder's weights are missing, which nobody needs here
    results = OPTIONS.out / "gpu_vae.json"
    taken: dict[str, Any] = json.loads(results.read_text(encoding="ascii")) if results.exists() else {}
    for kind in OPTIONS.vae:
        video = f"{OPTIONS.device}.{kind}.{OPTIONS.sizes[kind]}.{OPTIONS.frames}"
        for row in (*WAYS, "video"):
            key = f"{video}.{row}" + (".tiny" if OPTIONS.tiny else "")
            if key not in taken or "skipped" in taken[key]["figures"]:
                with torch.inference_mode():
                    figures = attempt(kind, row)
                base = taken[key.replace(f".{row}", ".stock")]["figures"] if row != "stock" else {}
                for ratio, name in (("stock_s/s", "s"), ("stock/reserved", "reserved_gb")):
                    if name in figures and name in base:
                        figures[ratio] = base[name] / figures[name]
                taken[key] = {"figures": figures, "machine": machine()}
                part = results.with_suffix(".part")
                part.write_text(json.dumps(taken, indent=1), encoding="ascii")
                os.replace(part, results)
            for name, value in taken[key]["figures"].items():
                sys.stdout.write(line(key, name, value) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
