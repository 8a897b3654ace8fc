"""Time and peak memory of every way to decode with the real Wan VAEs on a GPU: ours against the host's VAEDecode.

Random weights, bf16 (on a CPU fp32), the static patcher. It needs no server and no network: PYTHONPATH must hold the
host's folder (the one with its main.py) and the packages that it needs; without PyAV there are no figures of video
files. Figures that --out has already are not taken again, so a call that was cut off can be repeated.

    for vae in 2.1 2.2; do python tests/bench/gpu_vae.py --vae $vae --out OUT; done

Stock and ours decode 81 frames of 1280x720 (2.1) or 1280x704 (2.2) to an IMAGE in RAM: a short clip first, then as
often as --rounds says, with the peaks of all of these. Random pictures do not compress as real ones do, so mind file_mb
when you read the time of a video file. Without a GPU, to see that it runs: --device cpu --tiny
"""

from __future__ import annotations

import argparse
import gc
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import bench_vae
import workbench
from workbench import PACK, Figures, pack_module, timed

SIZES = {"2.1": (1280, 720), "2.2": (1280, 704)}
TINY_SIZE = (32, 32)
FRAMES, WARM_FRAMES, TINY_FRAMES = 81, 17, 5  # the short clip goes through every kernel
HOST_OPTIONS = {"cuda": ["--bf16-vae", "--disable-dynamic-vram"], "cpu": ["--cpu", "--fp32-vae"]}
FILM = {"fps": 16.0, "codec": "h264", "quality": 18, "encoder": "software", "filename_prefix": "v"}
FILM |= {"save_output": False, "last_frames": 1}
GOALS = {"stock_s/s": ("least", 1.5), "reserved/stock": ("most", 0.75), "video_s/decoding_s": ("most", 1.05)}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = workbench.gpu_parser(__doc__)
    parser.add_argument("--vae", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--rounds", type=int, help="how often each way decodes: default 3, with --tiny 1")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.tiny else 3)
    return options


OPTIONS = parse(sys.argv[1:])
workbench.start_host(*HOST_OPTIONS[OPTIONS.device])

import comfy.model_management  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

decoding = pack_module("nodes.high_compression_vae_decode")
frames = pack_module("nodes.host.frames")
vaes = pack_module("nodes.host.vaes")
core = pack_module("wan_core.vae")
models = pack_module("wan_core.vae.memory")
methods = pack_module("wan_core.vae.methods")
plans = pack_module("wan_core.vae.plan")
stream_frames = pack_module("wan_core.vae.stream").stream_frames


class StockFellBack(Exception):
    """The stock VAEDecode ran out of memory and would go on with overlapping tiles, which are other pictures."""


# Ways to decode; each returns the IMAGE (f h w c) of a latent (1 z t h w), and how it was made


def stock(vae: Any, latent: Tensor) -> tuple[Tensor, str]:
    """The host's VAEDecode."""
    reason = StockFellBack("the stock VAEDecode ran out of memory and fell back to tiles")
    with patch.object(vae, "decode_tiled_3d", side_effect=reason):
        return bench_vae.decode("stock", vae, latent), "the host's VAEDecode"


def ours(vae: Any, latent: Tensor, choice: dict[str, Any] | None = None) -> tuple[Tensor, str]:
    """Our node."""
    images, report = decoding.HighCompressionVAEDecode.execute(samples={"samples": latent}, vae=vae, tiling=choice).args
    return images, report.splitlines()[0]


def by_method(vae: Any, latent: Tensor, method: Any) -> tuple[Tensor, str]:
    """What our node does, by a method that it might not choose."""
    request = vaes.decode_request(vae, {"samples": latent}, None, None)
    images = frames.room_for_image(request.image_shape)
    model = models.memory_model(request.params, latent.shape, vae.vae_dtype.itemsize)
    plan = core.DecodePlan(method, model.peak_bytes(method))
    with vaes.loaded_for_decoding(vae, request.network, plan, vae.vae_dtype) as loaded:
        decoding.fill(images, vae.process_output, streamed(loaded, request, plan))
    return images, f"{plan.peak_bytes / 1e9:.2f} GB estimated"


def streamed(loaded: Any, request: Any, plan: Any) -> Iterator[Tensor]:
    """The frames of the request's clip."""
    where = {"device": loaded.device, "dtype": loaded.dtype, "bounded": request.bounded}
    return stream_frames(loaded.network, request.latent[0], request.params, plan.method, **where)


WAYS: dict[str, Callable[[Any, Tensor], tuple[Tensor, str]]] = {
    "stock": stock,
    "auto": ours,
    "one_frame": partial(by_method, method=methods.ONE_FRAME),
    "cache_in_ram": partial(by_method, method=methods.PARKED_CACHE),
    "tiles_1x2": partial(ours, choice={"tiling": "tiles", "rows": 1, "columns": 2}),
    "tiles_2x2": partial(ours, choice={"tiling": "tiles", "rows": 2, "columns": 2}),
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


def latent_of(kind: str, *, soft: bool = False) -> Tensor:
    """A random latent, 1 z t h w; one of soft, large shapes compresses better than noise."""
    size, frames = (TINY_SIZE, TINY_FRAMES) if OPTIONS.tiny else (SIZES[kind], FRAMES)
    shape = workbench.latent_shape(kind, *size, frames)
    latent = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1))
    if not soft:
        return latent
    coarse = latent[..., :: max(1, shape[2] // 6), :: max(1, shape[3] // 10)]
    return torch.nn.functional.interpolate(coarse, size=shape[1:], mode="trilinear")


@contextmanager
def peaks() -> Iterator[Figures]:
    """Fills in the peaks of the block in GB: of torch's allocator, with the weights; on a CPU how far our RAM grew."""
    gc.collect()
    comfy.model_management.soft_empty_cache()
    found: Figures = {}
    if OPTIONS.device == "cpu":
        with workbench.watched(workbench.ram_gb) as levels:
            yield found
        found["ram_gb"] = max(levels) - levels[0]
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
    with peaks() as found:
        runs = [timed(lambda: WAYS[way](vae, latent)) for _ in range(OPTIONS.rounds)]
    images, how = runs[-1][1]
    figures = {"s": statistics.median(wall_s for wall_s, _ in runs), **found, "how": how}
    figures["spread_of_pictures"] = float(images[0].float().std())  # 0 would make the next say nothing
    if way != "stock":
        pairs = zip(images, stock_images(kind), strict=True)
        figures["largest_difference"] = max(float((image - expected).abs().max()) for image, expected in pairs)
    return figures


def video_figures(kind: str) -> Figures:
    """WanCastDecodeToVideo (h264) against the same stream of frames without its encoder, in turn."""
    if not workbench.HAS_AV:
        return {"skipped": "PyAV is missing, which writes the video files"}
    node = pack_module("nodes.decode_to_video").WanCastDecodeToVideo
    vae, latent = random_vae(kind), latent_of(kind, soft=True)
    request = vaes.decode_request(vae, {"samples": latent}, None, None, to_video=True)
    model = models.memory_model(request.params, latent.shape, vae.vae_dtype.itemsize)
    plan = plans.choose_plan(model, vaes.free_memory(vae, 0), plans.AUTO)

    def decode() -> None:
        with vaes.loaded_for_decoding(vae, request.network, plan, vae.vae_dtype) as loaded:
            for _ in streamed(loaded, request, plan):
                pass

    def encode() -> None:
        with patch.object(
            node, "hidden", SimpleNamespace(prompt=None, dynprompt=None, extra_pnginfo=None, unique_id="1")
        ):
            node.execute(samples={"samples": latent}, vae=vae, **FILM)

    with tempfile.TemporaryDirectory(dir=OPTIONS.out) as folder:
        folder_paths.set_temp_directory(folder)
        if not OPTIONS.tiny:
            decode()
        with peaks() as found:
            times = [(timed(decode)[0], timed(encode)[0]) for _ in range(OPTIONS.rounds)]
        file_mb = max(path.stat().st_size for path in Path(folder).rglob("*.mp4")) / 1e6
    alone_s, video_s = (statistics.median(column) for column in zip(*times, strict=True))
    figures = {"video_s": video_s, "decoding_s": alone_s, "video_s/decoding_s": video_s / alone_s}
    return figures | {"file_mb": file_mb, **found, "how": plan.why}


# The table


def compared(figures: Figures, base: Figures) -> Figures:
    """The figures of a way with their ratios to the stock ones, where both are there."""
    both = figures.keys() & base.keys()
    ratios = {"stock_s/s": base["s"] / figures["s"]} if "s" in both else {}
    if "reserved_gb" in both:
        ratios["reserved/stock"] = figures["reserved_gb"] / base["reserved_gb"]
    return figures | ratios


def row_figures(kind: str, row: str, base: Figures) -> Figures:
    """The figures of a row of the table, or why there are none."""
    try:
        figures = video_figures(kind) if row == "video" else way_figures(kind, row)
    except (pack_module("wan_core.errors").InputError, StockFellBack) as error:
        figures = {"failed": str(error)}
    return compared(figures, base)


@torch.inference_mode()
def main() -> None:
    """Takes the figures that are still missing, and saves them row by row."""
    comfy.utils.set_progress_bar_enabled(False)
    for name in (PACK, None):
        logging.getLogger(name).setLevel(logging.ERROR)  # the encoder's weights are missing, which nobody needs here
    results = workbench.Results(OPTIONS.out / "gpu_vae.json", OPTIONS)
    for kind in OPTIONS.vae:
        video = f"{OPTIONS.device}.{kind}{'.tiny' if OPTIONS.tiny else ''}"
        for row in (*WAYS, "video"):
            base = {} if row == "stock" else results.figures(f"{video}.stock")
            results.take(f"{video}.{row}", partial(row_figures, kind, row, base), GOALS)


if __name__ == "__main__":
    main()
