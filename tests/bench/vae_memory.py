"""The largest sum of live tensors while a Wan VAE of the real size decodes, walked on torch's meta device.

It computes no picture and needs no GPU: the host's own modules are built without memory, and every storage that an
operation makes is counted while it lives. Weights, kernel workspace and the allocator's rounding are not counted, and
the attention is taken to be fused (its operands and its result are counted).

    python tests/bench/vae_memory.py [--vae 2.1 2.2] [--size 480p 720p 1080p] [--row stock one_frame ...] [--frames 9]

WANCAST_HOST names the host's folder; without it, the one that dev.py made is taken.
"""

from __future__ import annotations

import argparse
import sys
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import product
from typing import Any

import workbench

SIZES = {"480p": (832, 480), "720p": (1280, 720), "1080p": (1920, 1088)}
ROWS = ("stock", "host", "one_frame", "cache_in_ram", "2_columns", "2x2")
FRAMES, TILED_FRAMES = 33, 61  # two segments of eight latent frames
GOALS_GIB = {  # (vae, size, row)
    ("2.1", "720p", "one_frame"): 5.0,
    ("2.2", "720p", "one_frame"): 4.1,
    ("2.1", "720p", "2x2"): 2.5,
    ("2.2", "720p", "2x2"): 2.5,
}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = workbench.parser(__doc__)
    parser.add_argument("--vae", nargs="+", choices=["2.1", "2.2"], default=["2.1", "2.2"])
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--row", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--frames", type=int, help=f"default {FRAMES}, of tiles {TILED_FRAMES}")
    return parser.parse_args(arguments)


OPTIONS = parse(sys.argv[1:])
workbench.start_host_on_cpu()

import comfy.ldm.wan.vae  # noqa: E402
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
        self._seen: dict[int, object] = {weight.untyped_storage()._cdata: weight for weight in weights}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = run_or_leave(func, args, kwargs or {})
        for value in tree_iter(out):
            if isinstance(value, torch.Tensor) and value.is_meta:
                self._count(value.untyped_storage())
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
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


def peak_of(network: torch.nn.Module, run: Callable[[], object]) -> int:
    """Runs something and gives its peak."""
    with torch.inference_mode(), LiveBytes(network.parameters()) as live:
        run()
    return live.peak_bytes


# The decoders of the real size


@cache
def build(vae: str) -> torch.nn.Module:
    """The host's own module without memory, with its attention fused."""
    network = workbench.meta_vae(vae)
    for module in network.modules():
        if isinstance(module, comfy.ldm.wan.vae.AttentionBlock):
            module.optimized_attention = fused_attention
    return network.to(DTYPE).eval()


def decode_stock(network: torch.nn.Module, shape: tuple[int, ...]) -> None:
    network.decode(torch.empty(1, *shape, device=META, dtype=DTYPE))


def decode_streamed(network: torch.nn.Module, shape: tuple[int, ...], params: VaeParams, method: DecodeMethod) -> None:
    for _ in stream_frames(network, torch.empty(shape, dtype=DTYPE), params, method, device=META, dtype=DTYPE):
        continue


def peaks(vae: str, size: str, row: str, frames: int) -> tuple[int, int]:
    """The walked peak of a row and the estimated one; 0 where nothing is estimated."""
    network = build(vae)
    params = detect_vae({name: tuple(weight.shape) for name, weight in network.named_parameters()})
    width, height = SIZES[size]
    height -= height % 32 if vae == "2.2" else 0  # which cannot make 720 exactly
    shape = workbench.latent_shape(vae, width, height, frames)
    if row == "stock":
        return peak_of(network, partial(decode_stock, network, shape)), 0
    walked = peak_of(network, partial(decode_streamed, network, shape, params, METHODS[row]))
    return walked, memory_model(params, shape, DTYPE.itemsize).peak_bytes(METHODS[row])


# The table


def row_line(vae: str, size: str, row: str) -> str:
    """The peak of a row against its estimate and its goal."""
    is_tiled = row in METHODS and METHODS[row].is_tiled
    walked, estimated = peaks(vae, size, row, OPTIONS.frames or (TILED_FRAMES if is_tiled else FRAMES))
    line = f"{vae} {size:<6} {row:<13} {walked / GIB:7.3f} GiB"
    if estimated:
        line += f"   estimate {estimated / GIB:7.3f} GiB = {estimated / walked:6.4f} of it   ({walked})"
    goal = GOALS_GIB.get((vae, size, row))
    if goal:
        line += f"   goal {goal:.1f} GiB: {'kept' if walked <= goal * GIB else 'MISSED'}"
    return line


def main() -> None:
    """Prints a line for each row."""
    for vae, size, row in product(OPTIONS.vae, OPTIONS.size, OPTIONS.row):
        workbench.say(row_line(vae, size, row))


if __name__ == "__main__":
    main()
