"""IDLock against the two-stream forward pass written out from the published formulas.

The oracle changes the attentions of the model alone, so that the rounding of everything else is in both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch

from devtools.server import HostServer
from tests.host import recipes
from tests.host.id_lock_runs import (
    FULL,
    LITE,
    ON_BOTH_HOSTS,
    ONE_PASS,
    PORTRAIT,
    REF,
    Figures,
    Pair,
    Spec,
    compared,
    locked,
    oracle,
    pair,
    person,
    velocity,
)
from tests.host.live import Client, Graph
from tests.host.recipes import Link

GUIDED = 5e-5  # of the largest value: guidance multiplies the rounding of each evaluation
EFFECT = 0.05  # an identity that acts changes some value of a velocity by more

pytestmark = ON_BOTH_HOSTS
DECOUPLED = LITE | REF
EVERYTHING = DECOUPLED | PORTRAIT
KIJAI = {"ip_layers": "kijai_full_ip_layers.safetensors", "resampler": FULL["resampler"]}
KIJAI |= {"ref_layers": "kijai_ref_layers.safetensors", "stand_in": "kijai_stand_in.safetensors"}


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison of a forward pass."""

    specs: tuple[Spec, ...]  # of the locks, one after another
    latent: tuple[int, ...] = (1, 16, 3, 8, 8)
    references: int = 1
    masks: tuple[Spec, ...] = ()  # how the probe makes the mask of each lock
    sigma: float = 0.9
    model: str = recipes.HIGH


def box(height_px: int, width_px: int, left: int, right: int, *, frames: int = 1, value: float = 1.0) -> Spec:
    """A mask that is ``value`` between two columns of pixels."""
    return {"box": [frames, height_px, width_px], "left": left, "right": right, "value": value}


LEFT, RIGHT = box(64, 64, 0, 32), box(64, 64, 32, 64)
CASES = {
    "Lynx lite": Case((LITE,)),
    "Lynx full": Case((FULL,)),
    "Lynx reference": Case((REF,)),
    "Stand-In": Case((PORTRAIT,)),
    "Stand-In, lite and reference": Case((EVERYTHING,)),
    "Lynx full and reference": Case((FULL | REF,)),
    "two Stand-Ins": Case((PORTRAIT, PORTRAIT)),
    "two persons of every kind": Case((EVERYTHING, FULL | PORTRAIT)),
    "three references as tokens": Case((LITE,), references=3),
    "three references as tokens, full": Case((FULL,), references=3),
    "strength, lite": Case((LITE | {"strength": 0.6},)),
    "strength, Stand-In": Case((PORTRAIT | {"strength": 1.4},)),
    "strength, reference": Case((DECOUPLED | {"ref_strength": 0.35, "strength": 0.0},)),
    "strength, one of two Stand-Ins": Case((PORTRAIT | {"strength": 0.5}, PORTRAIT)),
    "both prompts": Case((EVERYTHING | {"apply_to": "both"},)),
    "the positive prompt": Case((EVERYTHING | {"apply_to": "positive"},)),
    "one lock both, one positive": Case((PORTRAIT | {"apply_to": "both"}, EVERYTHING | {"apply_to": "positive"})),
    "some blocks": Case((EVERYTHING | {"blocks": "0-1, 3"},)),
    "one block": Case((PORTRAIT | {"blocks": "2"},)),
    "inside of a range": Case((DECOUPLED | {"start_percent": 0.2, "end_percent": 0.8},), sigma=0.9),
    "two ranges": Case((LITE | {"end_percent": 0.4}, REF | {"start_percent": 0.4}), sigma=0.9),
    "frame weights": Case((DECOUPLED | {"frame_weights": "0:1, 4:0.2, 8:1.5"},)),
    "odd size": Case((EVERYTHING,), latent=(1, 16, 2, 7, 9)),
    "one frame": Case((DECOUPLED,), latent=(1, 16, 1, 8, 8)),
    "batch of two": Case((EVERYTHING,), latent=(2, 16, 3, 8, 8)),
    "a mask": Case((EVERYTHING,), masks=(box(64, 64, 20, 50, value=0.7),)),
    "a mask for each frame": Case((DECOUPLED,), masks=({"tensor": [9, 64, 64], "fill": "unit"},)),
    "a mask and frame weights": Case((DECOUPLED | {"frame_weights": "0:0.5, 8:1"},), masks=(LEFT,)),
    "two persons, left and right": Case((EVERYTHING, FULL | PORTRAIT), masks=(LEFT, RIGHT)),
    "two masks that overlap": Case((EVERYTHING, LITE), masks=(box(64, 64, 0, 48), box(64, 64, 16, 64, value=0.8))),
    "the low-noise expert": Case((LITE | REF,), model=recipes.LOW, sigma=0.4),
    "an image-to-video expert": Case((EVERYTHING,), model=recipes.IMAGE_HIGH),
    "Kijai's keys": Case((KIJAI,)),
    # a width of 200 px is 12.5 tokens: the last one holds 8 px and what the model fills up
    "a mask of an odd size": Case((EVERYTHING,), latent=(1, 16, 2, 8, 25), masks=(box(64, 200, 47, 160),)),
}


@pytest.fixture(scope="module", autouse=True)
def kijai_files(live_host: HostServer, models_dir: Path) -> None:
    """The weights of the miniatures under Kijai's keys."""
    prefixes = {
        ("mini_lynx_full_ip_layers", "kijai_full_ip_layers"): "cross_attn.ip_adapter",
        ("mini_lynx_full_ref_layers", "kijai_ref_layers"): "self_attn.ref_adapter",
    }
    for (source, target), part in prefixes.items():
        tensors = safetensors.torch.load_file(models_dir / "wan_id_adapters" / f"{source}.safetensors")
        renamed = {f"blocks.{key.replace('.', f'.{part}.', 1)}": tensor for key, tensor in tensors.items()}
        save(live_host, target, renamed)
    tensors = safetensors.torch.load_file(models_dir / "wan_id_adapters" / PORTRAIT["stand_in"])
    save(live_host, "kijai_stand_in", {f"diffusion_model.{key}": tensor for key, tensor in tensors.items()})


def save(host: HostServer, name: str, tensors: dict[str, Any]) -> None:
    safetensors.torch.save_file(tensors, host.base_dir / "models" / "wan_id_adapters" / f"{name}.safetensors")


def locks(graph: Graph, model: Link, case: Case) -> Pair:
    """The model with the case's locks in it."""
    both = Pair(model, model)
    for n, spec in enumerate(case.specs):
        parts = {"identity": person(graph, n + 1, references=case.references)}
        if case.masks:
            parts["mask"] = graph.make(**case.masks[n])
        both = pair(graph, both, spec, **parts)
    return both


def one_pass(client: Client) -> dict[str, Figures]:
    """The figures of one forward pass of each case."""
    graph, rows, known = Graph(), {}, {}
    for name, case in CASES.items():
        model = recipes.model(graph, case.model)
        key = str((case.model, case.specs, case.references, case.masks))
        both = known[key] = known.get(key) or locks(graph, model, case)
        changes = {"latent_image": graph.make(latent=list(case.latent)), "sigma": case.sigma}
        if case.model == recipes.IMAGE_HIGH:
            given = recipes.image_conditioning(graph)
            changes |= {name: given[name] for name in ("positive", "negative")}
        rows[name] = [velocity(graph, link, **changes) for link in (both.ours, both.oracle, model)]
    return compared(client, graph, rows)


def too_far(found: dict[str, Figures], limit: Callable[[Figures], bool]) -> dict[str, str]:
    """The cases outside of the limit, or without an effect; all go to the test's output."""
    sys.stdout.writelines(f"{name}: {figures}\n" for name, figures in found.items())
    return {name: str(figures) for name, figures in found.items() if limit(figures) or figures.effect < EFFECT}


# One forward pass


def test_one_pass_equals_the_model_with_the_attentions_of_the_formulas(client: Client) -> None:
    assert too_far(one_pass(client), lambda case: case.largest > ONE_PASS) == {}


@pytest.mark.parametrize(
    ("dtype", "kept_as", "limit"), [("bfloat16", "model's type", 2e-2), ("float32", "fp8", 0.1)], ids=["bf16", "fp8"]
)
def test_one_pass_in_fewer_bits_stays_near(client: Client, dtype: str, kept_as: str, limit: float) -> None:
    """``limit`` is relative; the oracle keeps nothing."""
    graph, rows = Graph(), {}
    for name in ("Lynx lite", "Lynx full", "Lynx reference", "Stand-In", "Stand-In, lite and reference"):
        model = graph.add("WanCastProbeComputeType", model=recipes.model(graph), dtype=dtype)[0]
        both = pair(graph, model, CASES[name].specs[0] | {"kept_as": kept_as})
        rows[name] = [velocity(graph, link) for link in (both.ours, both.oracle, model)]
    assert too_far(compared(client, graph, rows), lambda case: case.relative > limit) == {}


# Identity guidance


@pytest.mark.parametrize(("cfg", "scale"), [(5.0, 2.0), (1.0, 1.5), (3.0, 3.0)])
def test_identity_guidance_follows_the_formula_of_lynx(client: Client, cfg: float, scale: float) -> None:
    """u + g_i (i - u) + g_t (c - i), of three plain evaluations of the oracle."""
    graph, spec = Graph(), LITE | REF
    model = recipes.model(graph)
    both = pair(graph, model, spec)
    everywhere = oracle(graph, model, spec | {"apply_to": "both"}, identity=person(graph))
    guided = locked(graph, model, spec | {"identity_guidance": scale}, identity=person(graph))
    links = [[velocity(graph, guided, cfg=cfg)[0], 1], velocity(graph, both.oracle), velocity(graph, everywhere)]
    latents = (saved.arrays["/samples"].astype(np.float64) for saved in client.values(graph, links))
    found, (c, u), (_, i) = latents
    wanted = u + scale * (i - u) + cfg * (c - i)
    assert np.abs(i - u).max() > EFFECT
    assert np.abs(found - wanted).max() < GUIDED * np.abs(wanted).max()
