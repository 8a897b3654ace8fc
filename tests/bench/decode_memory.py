"""The RAM that WanCast Decode To Video needs for a long video, beside the weights and the latent.

The nodes run in this process, on the real host, with a decoder that costs nothing: it gives frames of the right size
in fp32, one after the other, by the same calls as the decoder of the Wan2.1 VAE, so that what is left is the way of the
frames to the file.

    python tests/bench/decode_memory.py [--frames 961] [--width 1280] [--height 720] [--codec h264] [--images]

It prints one JSON object a node: seconds, and the largest resident size less that before the node ran, in MB (10^6).
A short run comes first, because libraries count as little as the weights and the latent; what it has freed goes back to
the system before the other begins, so that this can not take from it unseen. With --images also for the node that
returns all frames at once. WANCAST_HOST names the host's folder. Linux with glibc only.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import mmap
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import workbench
from workbench import pack_module

MODELS = Path(os.environ.get("WANCAST_MODELS", workbench.ROOT / ".cache" / "demo" / "models"))
SPEED_PX = 3  # how far the picture moves from frame to frame


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = workbench.parser(__doc__)
    for name, default in (("frames", 961), ("width", 1280), ("height", 720)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--codec", default="h264")
    parser.add_argument("--images", action="store_true", help="also measure the node that returns an IMAGE")
    return parser.parse_args(arguments)


OPTIONS = parse(sys.argv[1:])
workbench.start_host_on_cpu()

import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
import torch  # noqa: E402


class Passing:
    """A convolution in time that gives its newest frame ``copies`` times, in as many times the channels."""

    kernel_size = (3, 1, 1)

    def __init__(self, copies: int) -> None:
        self._copies = copies

    def __call__(self, x: torch.Tensor, cache_x: torch.Tensor | None = None) -> torch.Tensor:
        newest = x if cache_x is None else cache_x[:, :, -1:]  # b c 1 h w
        return newest.repeat(1, self._copies, 1, 1, 1)


class Doubling:
    """What makes two frames of one, and leaves its sides as they are."""

    def __init__(self) -> None:
        self.time_conv, self.resample = Passing(2), torch.nn.Identity()


class Screen:
    """A picture that moves on with each call.

    It is counted as long as it lives, but lies outside of malloc, as that of a GPU does: before 2.38 glibc leaves holes
    between large aligned blocks, and those of an 11 MB picture a frame would hide what the node itself holds.
    """

    def __init__(self, width: int, height: int) -> None:
        across = torch.linspace(-1, 1, 4 * width).sin()  # long enough to move
        down = torch.linspace(-2, 2, height).cos()
        self._scene = torch.stack([across * down[:, None], -across + 0 * down[:, None], 0 * across + down[:, None]])
        self._width, self._shown = width, 0

    def __call__(self, _: torch.Tensor) -> torch.Tensor:
        start = SPEED_PX * self._shown % (3 * self._width)
        self._shown += 1
        view = self._scene[:, :, start : start + self._width]  # c h w
        frame = torch.frombuffer(mmap.mmap(-1, 4 * view.numel()), dtype=torch.float32).view(view.shape)
        return frame.copy_(view)[None, :, None]  # 1 c 1 h w


class CheapNetwork:
    """A Wan2.1 VAE whose decoder shows a moving picture at no cost, by the modules that a decode walks through."""

    def __init__(self, network: torch.nn.Module, width: int, height: int) -> None:
        self.named_parameters, self.conv2 = network.named_parameters, network.conv2
        self.decoder = types.SimpleNamespace(
            conv1=Passing(1), middle=(), upsamples=(Doubling(), Doubling()), head=(Screen(width, height),)
        )


def cheap_vae() -> Any:
    """The host's VAE of the miniature file, with the cheap decoder in it."""
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(MODELS / "vae" / "mini_wan21_vae.safetensors")))
    vae.first_stage_model = CheapNetwork(vae.first_stage_model, OPTIONS.width, OPTIONS.height)
    return vae


def latent(frames: int) -> dict[str, Any]:
    return {"samples": torch.full((1, *workbench.latent_shape("2.1", OPTIONS.width, OPTIONS.height, frames)), 0.5)}


def to_video(frames: int) -> int:
    node = pack_module("nodes.decode_to_video").WanCastDecodeToVideo
    node.hidden = types.SimpleNamespace(prompt=None, dynprompt=None, extra_pnginfo=None, unique_id="1")
    inputs = {"samples": latent(frames), "vae": cheap_vae(), "fps": 16.0, "codec": OPTIONS.codec, "quality": 18}
    inputs |= {"encoder": "software", "filename_prefix": "video", "save_output": True, "last_frames": 1}
    return measured("WanCastDecodeToVideo", lambda: node.execute(**inputs).args[2])


def to_images(frames: int) -> int:
    node = pack_module("nodes.high_compression_vae_decode").HighCompressionVAEDecode
    inputs = {"samples": latent(frames), "vae": cheap_vae()}
    return measured("HighCompressionVAEDecode", lambda: len(node.execute(**inputs).args[0]))


def measured(name: str, run: Callable[[], int]) -> int:
    """Runs a node, prints what it took and returns how many frames it made."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    start_s = time.perf_counter()
    with torch.inference_mode(), workbench.watched(workbench.ram_gb) as levels_gb:
        frames = run()
    figures = {
        "node": name,
        "frames": frames,
        "size": f"{OPTIONS.width} x {OPTIONS.height}",
        "grown_mb": round(1e3 * (max(levels_gb) - levels_gb[0]), 1),
        "seconds": round(time.perf_counter() - start_s, 1),
    }
    workbench.say(json.dumps(figures))
    return frames


def main() -> None:
    """The short run, then those that count."""
    with tempfile.TemporaryDirectory() as folder:
        folder_paths.set_output_directory(folder)
        to_video(9)
        to_video(OPTIONS.frames)
        if OPTIONS.images:
            to_images(OPTIONS.frames)


if __name__ == "__main__":
    main()
