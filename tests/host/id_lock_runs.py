"""What several tests of IDLock share: a model with an identity by our node and by the slow oracle, and comparisons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from demo.miniature import wan
from demo.miniature.table import Table, fill, layer, prefixed
from devtools.server import HostServer
from tests.host import recipes
from tests.host.live import Client, Graph, Saved
from tests.host.recipes import Link

ON_BOTH_HOSTS = pytest.mark.parametrize("live_host", ["live_host", "newer_host"], indirect=True)
ONE_PASS = 1e-5  # largest difference of velocities in fp32, whose values are up to 6
NOISE = {"latent": [1, 16, 3, 8, 8]}

Spec = dict[str, Any]

LITE = {"ip_layers": recipes.IP_LAYERS, "resampler": recipes.RESAMPLER}
FULL = {"ip_layers": "mini_lynx_full_ip_layers.safetensors", "resampler": "mini_lynx_full_resampler.safetensors"}
REF = {"ref_layers": "mini_lynx_full_ref_layers.safetensors"}
PORTRAIT = {"stand_in": "mini_stand_in_high.safetensors"}
FILES = ("ip_layers", "resampler", "ref_layers", "stand_in")
LORA = "probe_lora.safetensors"
LORA_RANK = 4


def block_list(blocks: str) -> list[int]:
    """The numbers of "0-1, 3"."""
    ranges = [list(map(int, part.split("-"))) for part in blocks.split(",")]
    return [block for ends in ranges for block in range(ends[0], ends[-1] + 1)]


@dataclass(frozen=True, slots=True)
class Pair:
    """A model with identities in it, by our node and by the oracle."""

    ours: Link
    oracle: Link


def person(graph: Graph, seed: int = 1, *, references: int = 1) -> Link:
    """An identity made up from a seed."""
    return graph.add("WanCastProbeIdentity", seed=seed, references=references)[0]


def locked(graph: Graph, model: Link, spec: Spec, **parts: Link) -> Link:
    """IDLock's model; the specification holds its inputs and the loader's files."""
    inputs = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "blocks": "all"}
    inputs |= {name: value for name, value in spec.items() if name not in FILES}
    files = {name: spec.get(name, "none") for name in FILES}
    adapter = graph.add("WanCastAdapterLoader", **files)[0]
    return graph.add("IDLock", model=model, adapter=adapter, **inputs, **picture_parts(graph, spec) | parts)[0]


def oracle(graph: Graph, model: Link, spec: Spec, **parts: Link) -> Link:
    """The oracle's model for the same specification."""
    own = dict(spec)
    if own.get("blocks", "all") != "all":
        own["block_list"] = block_list(own["blocks"])
    parts = picture_parts(graph, spec) | parts
    return graph.add("WanCastProbeOracle", model=model, spec=json.dumps(own), **parts)[0]


def picture_parts(graph: Graph, spec: Spec) -> dict[str, Link]:
    """The VAE and the text that a part which reads pictures needs."""
    parts = {"vae": recipes.vae21(graph)} if {"stand_in", "ref_layers"} & spec.keys() else {}
    if "ref_layers" in spec:
        clip = graph.add("WanCastDemoTextEncoder", text_encoder="mini_umt5.safetensors")[0]
        parts["ref_text"] = graph.add("CLIPTextEncode", clip=clip, text="image of a face")[0]
    return parts


def pair(graph: Graph, model: Link | Pair, spec: Spec, **parts: Link) -> Pair:
    """A model with one identity more, both ways; without an ``identity`` among the parts it is that of seed 1."""
    models = model if isinstance(model, Pair) else Pair(model, model)
    parts = {"identity": person(graph)} | parts
    return Pair(locked(graph, models.ours, spec, **parts), oracle(graph, models.oracle, spec, **parts))


def write_lora(host: HostServer) -> None:
    """Gives the host a LoRA for the miniatures: low-rank changes of every attention."""
    table: Table = {}
    for block in range(wan.BLOCKS):
        for name in (f"{part}_attn.{module}" for part in ("self", "cross") for module in "qkvo"):
            key = f"diffusion_model.blocks.{block}.{name}"
            table |= prefixed(f"{key}.lora_down.", layer(wan.WIDTH, LORA_RANK, bias=False))
            table |= prefixed(f"{key}.lora_up.", layer(LORA_RANK, wan.WIDTH, bias=False))
    folder = host.base_dir / "models" / "loras"
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file(fill(table, LORA), folder / LORA)


def velocity(graph: Graph, model: Link, **changes: Any) -> Link:
    """One forward pass: the velocities for the positive prompt, for the negative one, and with guidance."""
    inputs = {"latent_image": graph.make(**NOISE), "sigma": 0.9, "cfg": 3.0} | recipes.conditioning(graph)
    return graph.add("WanCastProbeForward", model=model, **inputs | changes)[0]


@dataclass(frozen=True, slots=True)
class Figures:
    """How far apart two latents are, and how large the effect is that they share."""

    largest: float  # difference
    relative: float  # L2 distance as a share of the second
    effect: float  # largest difference from the plain model

    def __str__(self) -> str:
        parts = {"max abs": self.largest, "relative": self.relative, "effect": self.effect}
        return ", ".join(f"{name} {value:.2e}" for name, value in parts.items())


def figures(ours: Saved, wanted: Saved, plain: Saved) -> Figures:
    first, second, third = (saved.arrays["/samples"].astype(np.float64) for saved in (ours, wanted, plain))
    return Figures(
        largest=float(np.abs(first - second).max()),
        relative=float(np.linalg.norm(first - second) / np.linalg.norm(second)),
        effect=float(np.abs(second - third).max()),
    )


def compared(client: Client, graph: Graph, rows: dict[str, Sequence[Link]]) -> dict[str, Figures]:
    """The figures of each row of latents: ours, the oracle's, the plain model's."""
    nodes = {name: [graph.save(latent) for latent in latents] for name, latents in rows.items()}
    run = client.run(graph)
    return {name: figures(*(run.saved(node) for node in row)) for name, row in nodes.items()}
