"""What an identity costs beside the steps: encoding a face, and finding what a cache keeps of it.

Usage: python dev.py bench identity. What it adds to a step is measured at the real size by tests/bench/gpu_identity.py:
a miniature video has fewer tokens than a portrait, so that a share of its step says nothing.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from demo.miniature import adapters  # noqa: E402
from demo.miniature.table import Table  # noqa: E402
from tests.bench.bench_identity_encode import encode_cost, report  # noqa: E402
from tests.host.id_lock_runs import FILES, FULL, LITE, PORTRAIT, REF, Spec  # noqa: E402
from wan_core.adapters.kv_cache import KvCache, size_bytes  # noqa: E402
from wan_core.identity.record import PORTRAIT_PX  # noqa: E402

HIT_GOAL_US = 1000.0
ENTRIES, HITS = 6, 2000  # identity tokens, reference and portrait for each of two experts
META = torch.device("meta")
KINDS = {"lynx_lite": LITE, "lynx_full": FULL, "lynx_ref": REF, "stand_in": PORTRAIT}  # what goes into a lock


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


# A cache


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


if __name__ == "__main__":
    sys.stdout.write(report(encode_cost()) + "\n")
    sys.stdout.write(f"cache hit among {ENTRIES} entries: {hit_us():.1f} us   (goal {HIT_GOAL_US:.0f} us)\n")
