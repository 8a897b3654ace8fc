"""What an identity costs: time a step, in the first step, and for encoding.

Usage: python dev.py bench identity. The time of a step is KSampler's on one live host with the miniature models,
without and with each kind of lock in turn, as medians. A miniature video has fewer tokens than a portrait (576 and
1024), a real one of 832x480 and 81 frames has 32760: the shares say nothing of the real model, which
tests/bench/gpu_identity.py times. IDLock's own report says the memory.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo.miniature import adapters  # noqa: E402
from demo.miniature.table import Table  # noqa: E402
from tests.bench.bench_identity_encode import encode_cost, report  # noqa: E402
from tests.bench.bench_nodes import live_client  # noqa: E402
from tests.host import recipes  # noqa: E402
from tests.host.id_lock_runs import FILES, FULL, LITE, PORTRAIT, REF, Spec, locked, person  # noqa: E402
from tests.host.live import Client, Graph  # noqa: E402
from wan_core.adapters.kv_cache import KvCache, size_bytes  # noqa: E402
from wan_core.identity.record import PORTRAIT_PX  # noqa: E402

ROUNDS = 5
STEPS = 6
VIDEO = {"size_px": 128, "frames": 33}
HIT_GOAL_US = 1000.0
ENTRIES, HITS = 6, 2000  # identity tokens, reference and portrait for each of two experts
META = torch.device("meta")


def half(side: int) -> Spec:
    """A mask of the left (0) or the right (1) half of the video."""
    middle, size_px = VIDEO["size_px"] // 2, VIDEO["size_px"]
    return {"box": [1, size_px, size_px], "left": side * middle, "right": (side + 1) * middle, "value": 1.0}


# The locks of each kind: the inputs of IDLock and the files of its adapter, and the mask if it has one.
Kind = tuple[tuple[Spec, Spec | None], ...]
KINDS: dict[str, Kind] = {
    "lynx_lite": ((LITE, None),),
    "lynx_full": ((FULL, None),),
    "lynx_ref": ((REF, None),),
    "stand_in": ((PORTRAIT, None),),
    "all_together": ((FULL | REF | PORTRAIT, None),),
    "two_masked_stand_ins": ((PORTRAIT, half(0)), (PORTRAIT, half(1))),
}


# Files of adapters


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a Wan model and of adapters for it."""

    width_d: int  # of the model
    blocks: int
    rank_d: int  # of Stand-In
    lite_token_d: int
    full_token_d: int
    registers: int  # of Lynx full
    resampler_d: int
    resampler_layers: int


PUBLISHED = Sizes(
    5120, 40, rank_d=128, lite_token_d=2048, full_token_d=5120, registers=16, resampler_d=1280, resampler_layers=4
)


def tables(sizes: Sizes) -> dict[str, Table]:
    """The contents of the files at these sizes, by the names of the miniature ones."""
    model, resampler = (sizes.width_d, sizes.blocks), (sizes.resampler_d, sizes.resampler_layers)
    return {
        LITE["ip_layers"]: adapters.lite_ip_layers(*model, sizes.lite_token_d),
        LITE["resampler"]: adapters.resampler(sizes.lite_token_d, *resampler),
        FULL["ip_layers"]: adapters.full_ip_layers(*model, sizes.full_token_d, sizes.registers),
        FULL["resampler"]: adapters.resampler(sizes.full_token_d, *resampler),
        REF["ref_layers"]: adapters.ref_layers(*model),
        PORTRAIT["stand_in"]: adapters.stand_in(*model, sizes.rank_d),
    }


def selected(spec: Spec) -> dict[str, str]:
    """The adapter's files in a lock's specification, by the loader's inputs."""
    return {slot: spec[slot] for slot in FILES if slot in spec}


# Once for a size of video


def hit_us(hits: int = HITS) -> float:
    """Microseconds to find what a cache holds, when it holds Stand-In's keys and values ENTRIES times."""
    portrait = torch.empty(1, (PORTRAIT_PX // 16) ** 2, PUBLISHED.width_d, dtype=torch.bfloat16, device=META)  # 1 n d
    entry = dict.fromkeys(range(PUBLISHED.blocks), (portrait, portrait))
    cache = KvCache(ENTRIES * size_bytes(entry), 0)
    keys = [("stand-in", ("adapter", n), ("weights", (), ()), torch.bfloat16, (-1, 30, 52)) for n in range(ENTRIES)]
    for key in keys:
        cache.get(META, key, lambda: entry)
    start_s = time.perf_counter()
    found = [cache.get(META, keys[n % ENTRIES], dict) for n in range(hits)]
    took_us = (time.perf_counter() - start_s) / hits * 1e6
    if not all(kept is entry for kept in found):
        raise RuntimeError("some entries were not in the cache any more")
    return took_us


# A step


def step_times(client: Client, kind: Kind, *, persons: int, seed: int) -> tuple[float, float]:
    """Seconds of KSampler's first step and of a later one with the locks of a kind, by what the host says of them.

    ``persons`` is the seed of the first lock's identity.
    """
    graph = Graph()
    model = recipes.model(graph)
    for n, (spec, mask) in enumerate(kind):
        parts = {"identity": person(graph, persons + n)} | ({} if mask is None else {"mask": graph.make(**mask)})
        model = locked(graph, model, spec, **parts)
    latent = recipes.latent(graph, **VIDEO)
    sampler = recipes.stock_sample(graph, model, latent_image=latent, seed=seed, steps=STEPS)
    graph.hash(sampler)
    begin_s, ends_s = 0.0, []
    for event, data in client.events(graph):
        now_s = time.perf_counter()
        if event == "execution_error":
            raise RuntimeError(data["exception_message"])
        if event == "executing" and data["node"] == sampler[0]:
            begin_s = now_s
        if event == "progress" and data["node"] == sampler[0]:
            ends_s.append(now_s)
    return ends_s[0] - begin_s, (ends_s[-1] - ends_s[0]) / (STEPS - 1)


def compare(client: Client, name: str, rounds: int = ROUNDS) -> str:
    """One line, of medians: what a kind of lock costs on the miniature model.

    Runs without the locks, with them for new persons, and for the same again, in turn; one round to warm up.
    """
    kind = KINDS[name]
    found = []
    for n in range(rounds + 1):
        _, plain_s = step_times(client, (), persons=0, seed=n)
        new_s, _ = step_times(client, kind, persons=1 + 2 * n, seed=n)
        first_s, with_s = step_times(client, kind, persons=1 + 2 * n, seed=rounds + 1 + n)
        found.append((plain_s, with_s, new_s - first_s))
    plain_ms, with_ms, one_off_ms = (1e3 * statistics.median(side) for side in zip(*found[1:], strict=True))
    return (
        f"{name:<22} plain {plain_ms:7.1f} ms   with {with_ms:7.1f} ms   added {with_ms - plain_ms:+7.1f} ms "
        f"{100 * (with_ms - plain_ms) / plain_ms:+7.1f} %   first step {one_off_ms:+7.1f} ms"
    )


# The report


def lines_without_host() -> Iterable[str]:
    """What needs no host: encoding and the cache."""
    yield report(encode_cost())
    yield f"cache hit among {ENTRIES} entries: {hit_us():.1f} us   (goal {HIT_GOAL_US:.0f} us)"


def say(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def main() -> None:
    """Prints every line as soon as it is known."""
    say(lines_without_host())
    with live_client() as client:
        say(compare(client, name) for name in KINDS)


if __name__ == "__main__":
    main()
