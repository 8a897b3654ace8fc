"""What sampling with two experts costs: the router alone, and one run against two chained stock samplers.

Usage: python dev.py bench moe. The router is timed around a guider whose answer is ready. The comparisons are whole
prompts on one live host, ours and the stock one in turn, as medians and their ratio (ours / stock).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.bench_nodes import STEPS, VIDEO, Comparison, compare, live_client, stock_sampling  # noqa: E402
from tests.host import recipes  # noqa: E402
from tests.host.live import Graph  # noqa: E402
from wan_core.moe import Expert, ExpertParams, ExpertTally  # noqa: E402
from wan_core.moe.route import Route, Router  # noqa: E402
from wan_core.moe.schedule import even_sigmas  # noqa: E402
from wan_core.moe.setup import Setup  # noqa: E402

SIZES = {"64 x 64, 9 frames": (1, 16, 3, 8, 8), "1280 x 720, 81 frames": (1, 16, 21, 90, 160)}  # b c t h w
GOAL_US = 1000.0
BOUNDARY_SIGMA = 0.875
OFFICIAL_STEPS, OFFICIAL_SHIFT = 40, 12.0  # of text to video
LOOPS = 5
SWITCH_STEP = 6
SWITCH = {"switch": "step", "switch__step": SWITCH_STEP}
CFG = 3.0


# The router alone


@dataclass(frozen=True, slots=True)
class ReadyGuider:
    """A guider whose answer is ready before it is asked."""

    answer: torch.Tensor  # b c t h w

    def __call__(
        self, x: torch.Tensor, sigma: torch.Tensor, model_options: dict[str, Any], seed: int | None
    ) -> torch.Tensor:
        return self.answer


class UncheckedRouter(Router):
    """The router without its look for NaN."""

    def require_finite(self, denoised: torch.Tensor, index: int, level: float) -> None:
        return


@dataclass(frozen=True, slots=True)
class Overhead:
    """What the router adds to one evaluation, as medians."""

    rest_us: float  # everything but the look for NaN
    isfinite_us: float  # the look for NaN, which reads the whole latent


def router(kind: type[Router], guider: ReadyGuider, sigmas: torch.Tensor) -> Router:
    """A router over two experts that answer with the same guider."""
    options = {"transformer_options": {"sample_sigmas": sigmas}}
    setup = Setup(guider, sigmas, {"model_options": options}, options, None, guider.answer, None, None, True)
    params = ExpertParams("WanModel", 16, OFFICIAL_SHIFT)
    experts = tuple(Expert(name, params, guider, lambda: None, lambda: None) for name in ("high", "low"))
    route = Route(experts, (BOUNDARY_SIGMA, 0.0), "strict", lambda own, base, given: own | given, time.perf_counter)
    return kind(route, [setup, setup], None, [ExpertTally() for _ in experts], levels=sigmas.tolist())


def walk_us(model: Callable[..., torch.Tensor], x: torch.Tensor, sigmas: torch.Tensor) -> float:
    """Microseconds for an evaluation in a loop that asks for them as a sampler does."""
    ones = x.new_ones([x.shape[0]])  # b
    options: dict[str, Any] = {"transformer_options": {}}
    start_s = time.perf_counter()
    for sigma in sigmas[:-1]:
        model(x, sigma * ones, model_options=options, seed=0)
    return (time.perf_counter() - start_s) / (len(sigmas) - 1) * 1e6


def router_overhead(shape: tuple[int, ...], loops: int = LOOPS) -> Overhead:
    """Times the router for a latent of this shape on the official schedule, after one loop to warm up."""
    sigmas = torch.tensor(even_sigmas(OFFICIAL_STEPS, OFFICIAL_SHIFT))
    x = torch.randn(shape)
    guider = ReadyGuider(torch.randn(shape))
    bare_us, unchecked_us, whole_us = [], [], []
    for _ in range(loops + 1):
        bare_us.append(walk_us(guider, x, sigmas))
        unchecked_us.append(walk_us(router(UncheckedRouter, guider, sigmas), x, sigmas))
        whole_us.append(walk_us(router(Router, guider, sigmas), x, sigmas))
    bare, unchecked, whole = (statistics.median(times[1:]) for times in (bare_us, unchecked_us, whole_us))
    return Overhead(rest_us=unchecked - bare, isfinite_us=whole - unchecked)


# Whole runs


def inputs(graph: Graph, seed: int) -> dict[str, Any]:
    """What every sampler of a round is given."""
    common = {"steps": STEPS, "sampler_name": "euler", "scheduler": "simple", "seed": seed}
    return common | {"latent_image": recipes.latent(graph, **VIDEO)} | recipes.conditioning(graph)


def one_run(graph: Graph, seed: int) -> list[Any]:
    """Both experts in one MoESampler."""
    return recipes.moe_sample(graph, **inputs(graph, seed) | SWITCH)


def chained_samplers(graph: Graph, seed: int) -> list[Any]:
    """Both experts, each in a stock sampler of its own."""
    common = inputs(graph, seed) | {"cfg": CFG}
    common["noise_seed"] = common.pop("seed")
    first = common | {"end_at_step": SWITCH_STEP, "return_with_leftover_noise": True}
    noisy = recipes.advanced_sample(graph, recipes.model(graph, recipes.HIGH), **first)
    second = common | {"start_at_step": SWITCH_STEP, "end_at_step": STEPS, "add_noise": False, "latent_image": noisy}
    return recipes.advanced_sample(graph, recipes.model(graph, recipes.LOW), **second)


def one_file_twice(graph: Graph, seed: int) -> list[Any]:
    """One expert in both slots of MoESampler."""
    model = recipes.model(graph)
    return recipes.moe_sample(graph, **inputs(graph, seed) | SWITCH | {"model_high": model, "model_low": model})


def two_as_one_model(graph: Graph, seed: int) -> list[Any]:
    """Both experts as one model in the stock sampler."""
    return recipes.stock_sample(graph, recipes.moe_model(graph, **SWITCH), **inputs(graph, seed) | {"cfg": CFG})


COMPARISONS = (
    Comparison("MoESampler / two chained KSamplerAdvanced", one_run, chained_samplers),
    Comparison("MoESampler, one file twice / one KSampler", one_file_twice, stock_sampling),
    Comparison("WanCastMoEModel in KSampler / two chained", two_as_one_model, chained_samplers),
)


def main() -> None:
    """Prints the router's overhead and a line for each comparison."""
    for name, shape in SIZES.items():
        cost = router_overhead(shape)
        parts = f"{cost.rest_us:8.1f} us + isfinite {cost.isfinite_us:8.1f} us   (goal {GOAL_US:.0f} us)"
        sys.stdout.write(f"router, {name:<42} {parts}\n")
    with live_client() as client:
        for comparison in COMPARISONS:
            sys.stdout.write(compare(client, comparison) + "\n")


if __name__ == "__main__":
    main()
