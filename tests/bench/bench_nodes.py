"""Our sampler and decoder timed against the host's own on the miniature networks, in turn, on one live host.

Usage: python dev.py bench nodes. Figures are ratios of medians (ours / stock) of whole prompts, so a slow machine
slows both sides.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo.server import HostServer  # noqa: E402
from tests.host.live import Client, Graph, Run, prepare_base  # noqa: E402

ROUNDS = 7
STEPS = 12
Build = Callable[[Graph, int], list[Any]]


def model(graph: Graph, name: str) -> list[Any]:
    return graph.add("UNETLoader", unet_name=name, weight_dtype="default")[0]


def prompts(graph: Graph) -> list[list[Any]]:
    clip = graph.add("WanCastDemoTextEncoder")[0]
    return [graph.add("CLIPTextEncode", clip=clip, text=text)[0] for text in ("a man walks", "blurry")]


def empty_latent(graph: Graph, frames: int) -> list[Any]:
    return graph.add("EmptyHunyuanLatentVideo", width=128, height=128, length=frames, batch_size=1)[0]


def stock_sampling(graph: Graph, seed: int) -> list[Any]:
    positive, negative = prompts(graph)
    return graph.add(
        "KSampler", model=model(graph, "mini_t2v_high.safetensors"), positive=positive, negative=negative,
        latent_image=empty_latent(graph, 33), seed=seed, steps=STEPS, cfg=3.0, sampler_name="euler",
        scheduler="simple", denoise=1.0,
    )[0]


def our_sampling(graph: Graph, seed: int) -> list[Any]:
    positive, negative = prompts(graph)
    high, low = model(graph, "mini_t2v_high.safetensors"), model(graph, "mini_t2v_low.safetensors")
    return graph.add(
        "MoESampler", model_high=high, model_low=low, positive=positive, negative=negative,
        latent_image=empty_latent(graph, 33), seed=seed, steps=STEPS, cfg_high=3.0, cfg_low=3.0, sampler_name="euler",
        scheduler="simple", denoise=1.0, switch="auto",
    )[0]


def decoding(class_type: str) -> Build:
    def build(graph: Graph, seed: int) -> list[Any]:
        vae = graph.add("VAELoader", vae_name="mini_wan21_vae.safetensors")[0]
        latent = graph.make(latent=[1, 16, 21, 16, 16], round=seed)  # a new spec, so that nothing comes from the cache
        return graph.add(class_type, samples=latent, vae=vae)[0]

    return build


def seconds(run: Run) -> float:
    """How long the prompt ran, by the host's own clock."""
    stamps_ms = {event: data["timestamp"] for event, data in run.entry["status"]["messages"]}
    return (stamps_ms["execution_success"] - stamps_ms["execution_start"]) / 1000.0


def timed(client: Client, build: Build, seed: int) -> float:
    graph = Graph()
    graph.hash(build(graph, seed))
    return seconds(client.run(graph))


def compare(client: Client, name: str, ours: Build, stock: Build) -> str:
    """One line: both medians and their ratio, after a warm-up of each."""
    pairs = [(timed(client, ours, seed), timed(client, stock, seed)) for seed in range(ROUNDS + 1)][1:]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{name:<40} ours {mine:6.3f} s   stock {theirs:6.3f} s   ratio {mine / theirs:5.2f}"


def main() -> None:
    """Prints a line for each pair."""
    host = Path(os.environ.get("WANCAST_HOST", ROOT / ".host"))
    models = Path(os.environ.get("WANCAST_MODELS", ROOT / ".cache" / "demo" / "models"))
    with tempfile.TemporaryDirectory() as folder:
        base = prepare_base(Path(folder), models)
        with HostServer(sys.executable, host, base) as server:
            client = Client(server.url)
            lines = [
                compare(client, f"MoESampler / KSampler, {STEPS} steps euler", our_sampling, stock_sampling),
                compare(
                    client, "HighCompressionVAEDecode / VAEDecode", decoding("HighCompressionVAEDecode"),
                    decoding("VAEDecode"),
                ),
            ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
