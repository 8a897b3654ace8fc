"""The largest sum of live tensors while a Wan VAE of the real size decodes, walked on torch's meta device.

It computes no picture and needs no GPU: the host's own modules are built without memory, and every storage that an
operation makes is counted while it lives. Weights, kernel workspace and the allocator's rounding are not counted, and
the attention is taken to be fused (its operands and its result are counted).

    python tests/bench/vae_memory.py [--vae 2.1 2.2] [--size 480p 720p 1080p] [--row stock one_frame ...]

WANCAST_HOST names the host's folder; without it, the one that dev.py made is taken.
"""

from __future__ import annotations

import argparse
import os
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HOST = Path(os.environ.get("WANCAST_HOST", ROOT / ".host"))
SIZES = {"480p": (832, 480), "720p": (1280, 720), "1080p": (1920, 1088)}
ROWS = ("stock", "host", "one_frame", "cache_in_ram", "2_columns", "2x2")
SHORT_FRAMES, LONG_FRAMES = 33, 257
TILED_FRAMES = 61  # two segments of eight latent frames
GOALS_GIB = {  # (vae, size, row)
    ("2.1", "720p", "one_frame"): 5.0,
    ("2.2", "720p", "one_frame"): 4.1,
    ("2.1", "720p", "2x2"): 2.5,
    ("2.2", "720p", "2x2"): 2.5,
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vae", nargs="+", choices=["2.1", "2.2"], default=["2.1", "2.2"])
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--row", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--frames", type=int, help=f"default {SHORT_FRAMES}, of tiles {TILED_FRAMES}")
    parser.add_argument("--growth", action="store_true", help="also walk long clips; takes minutes")
    parser.add_argument("--where", action="store_true", help="also name the operation and the calls at the peak")
    return parser.parse_args(arguments)


OPTIONS = parse(sys.argv[1:])
sys.argv = [sys.argv[0], "--cpu"]  # the host reads its arguments when it is imported
sys.path[:0] = [str(HOST), str(ROOT)]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.ldm.wan.vae  # noqa: E402
import comfy.ldm.wan.vae2_2  # noqa: E402
import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_iter  # noqa: E402

from wan_core.vae.memory import memory_model  # noqa: E402
from wan_core.vae.methods import HOST_SCHEDULE, ONE_FRAME, PARKED_CACHE, DecodeMethod  # noqa: E402
from wan_core.vae.params import VaeParams, detect_vae  # noqa: E402
from wan_core.vae.stream import stream_frames  # noqa: E402

METHODS = {
    "host": HOST_SCHEDULE,
    "one_frame": ONE_FRAME,
    "cache_in_ram": PARKED_CACHE,
    "2_columns": replace(PARKED_CACHE, columns=2, segment_latents=8),
    "2x2": replace(PARKED_CACHE, rows=2, columns=2, segment_latents=8),
}
GIB = 2**30
META = torch.device("meta")
DTYPE = torch.bfloat16


# The walk


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages on the meta device while they live."""

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.live_bytes = 0
        self.peak_bytes = 0
        self.peak_calls: list[str] = []
        self._seen: dict[int, object] = {weight.untyped_storage()._cdata: weight for weight in weights}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = run_or_leave(func, args, kwargs or {})
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor) and value.is_meta:
                self._count(value.untyped_storage())
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes, self.peak_calls = self.live_bytes, [str(func), *callers()] if OPTIONS.where else []
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, nbytes = storage._cdata, storage.nbytes()
        if key in self._seen:
            return

        def gone(_: weakref.ref[torch.UntypedStorage]) -> None:
            self.live_bytes -= nbytes
            del self._seen[key]

        self._seen[key] = weakref.ref(storage, gone)
        self.live_bytes += nbytes


def callers() -> list[str]:
    """The calls of the decoder that lead to here, innermost first."""
    found, frame = [], sys._getframe(2)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name in ("vae", "wan"):
            found.append(f"{path.name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return found


def run_or_leave(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs an operation; a copy from the meta device into RAM, which has nothing to copy, leaves the RAM as it is."""
    name = func._schema.name
    if name == "aten::_to_copy" and args[0].is_meta and torch.device(kwargs.get("device") or META).type == "cpu":
        return torch.empty(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
    if name == "aten::copy_" and args[1].is_meta and not args[0].is_meta:
        return args[0]
    return func(*args, **kwargs)


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """What the host's pytorch_attention allocates around a fused kernel, for q, k and v of b c h w."""
    shape = q.shape
    q, k, v = (part.flatten(2).transpose(1, 2).contiguous() for part in (q, k, v))  # b n c
    return torch.empty_like(q).transpose(1, 2).reshape(shape)


def peak_of(network: torch.nn.Module, run: Callable[[], object]) -> LiveBytes:
    """Runs something and gives its peak."""
    with torch.inference_mode(), LiveBytes(network.parameters()) as live:
        run()
    return live


# The decoders of the real size


@cache
def build(vae: str) -> torch.nn.Module:
    """The host's own module without memory."""
    shared = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "temperal_downsample": [False, True, True]}
    with META:
        if vae == "2.1":
            network = comfy.ldm.wan.vae.WanVAE(dim=96, z_dim=16, **shared)
        else:
            network = comfy.ldm.wan.vae2_2.WanVAE(dim=160, dec_dim=256, z_dim=48, **shared)
    for module in network.modules():
        if isinstance(module, comfy.ldm.wan.vae.AttentionBlock):
            module.optimized_attention = fused_attention
    return network.to(DTYPE).eval()


def latent_shape(params: VaeParams, size: str, frames: int) -> tuple[int, ...]:
    """z t h w; a side that the VAE cannot make exactly is cut, as 720 to 704 for the Wan2.2 VAE."""
    width, height = SIZES[size]
    grid = 16 * (params.spatial_scale // 8)
    if params.kind == "Wan2.2":
        height -= height % grid
    return (
        params.latent_channels,
        (frames - 1) // 4 + 1,
        height // params.spatial_scale,
        width // params.spatial_scale,
    )


def decode_stock(network: torch.nn.Module, shape: tuple[int, ...]) -> None:
    network.decode(torch.empty(1, *shape, device=META, dtype=DTYPE))


def decode_streamed(network: torch.nn.Module, shape: tuple[int, ...], params: VaeParams, method: DecodeMethod) -> None:
    for _ in stream_frames(network, torch.empty(shape, dtype=DTYPE), params, method, device=META, dtype=DTYPE):
        continue


def peaks(vae: str, size: str, row: str, frames: int) -> tuple[int, int]:
    """The walked peak of a row and the estimated one; 0 where nothing is estimated."""
    network = build(vae)
    params = detect_vae({name: tuple(weight.shape) for name, weight in network.named_parameters()})
    shape = latent_shape(params, size, frames)
    if row == "stock":
        return peak_of(network, partial(decode_stock, network, shape)).peak_bytes, 0
    live = peak_of(network, partial(decode_streamed, network, shape, params, METHODS[row]))
    for call in live.peak_calls:
        say(f"    {call}")
    return live.peak_bytes, memory_model(params, shape, DTYPE.itemsize).peak_bytes(METHODS[row])


def picture_bytes(vae: str, size: str) -> int:
    """One frame as the decoder gives it."""
    width, height = SIZES[size]
    return width * (height if vae == "2.1" else height - height % 32) * 3 * DTYPE.itemsize


# The table


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def row_line(vae: str, size: str, row: str) -> str:
    """The peak of a row against its estimate and its goal."""
    is_tiled = row in METHODS and METHODS[row].is_tiled
    walked, estimated = peaks(vae, size, row, OPTIONS.frames or (TILED_FRAMES if is_tiled else SHORT_FRAMES))
    line = f"{vae} {size:<6} {row:<13} {walked / GIB:7.3f} GiB"
    if estimated:
        line += f"   estimate {estimated / GIB:7.3f} GiB = {estimated / walked:6.4f} of it   ({walked})"
    goal = GOALS_GIB.get((vae, size, row))
    if goal:
        line += f"   goal {goal:.1f} GiB: {'kept' if walked <= goal * GIB else 'MISSED'}"
    return line


def growth_line(vae: str, size: str, row: str) -> str:
    """What a longer clip adds to the peak, against one picture."""
    grown = peaks(vae, size, row, LONG_FRAMES)[0] - peaks(vae, size, row, SHORT_FRAMES)[0]
    kept = "kept" if grown < picture_bytes(vae, size) else "MISSED"
    return (
        f"{vae} {size:<6} {row:<13} {LONG_FRAMES} frames less {SHORT_FRAMES}: {grown / 2**20:8.2f} MiB"
        f"   goal under one frame, {picture_bytes(vae, size) / 2**20:.2f} MiB: {kept}"
    )


def main() -> None:
    """Prints a line for each row, and with --growth what a longer clip adds."""
    for vae, size, row in product(OPTIONS.vae, OPTIONS.size, OPTIONS.row):
        say(row_line(vae, size, row))
    if OPTIONS.growth:
        for vae, size, row in product(OPTIONS.vae, OPTIONS.size, OPTIONS.row):
            say(growth_line(vae, size, row))


if __name__ == "__main__":
    main()
