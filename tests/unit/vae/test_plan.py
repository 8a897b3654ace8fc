"""The memory models against closed forms, and the choice of a plan against what its own numbers promise.

Against what decoders of the real size hold the models are measured in tests/host/test_decode_memory.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.unit.vae.tiny_wan import Shapes, wan21_shapes, wan22_shapes
from wan_core.errors import InputError
from wan_core.vae.memory import FreeMemory, MemoryModel, memory_model
from wan_core.vae.methods import HOST_SCHEDULE, ONE_FRAME, PARKED_CACHE, DecodeMethod
from wan_core.vae.params import VaeParams, detect_vae
from wan_core.vae.plan import (
    AUTO,
    GIB,
    MOST_TILES_EACH_WAY,
    RESERVE_BYTES,
    DecodePlan,
    Tiling,
    choose_plan,
    decodes_taken,
)

BF16, FP32 = 2, 4
PLENTY = 10**12
WAN21, WAN22 = detect_vae(wan21_shapes()), detect_vae(wan22_shapes())
BOTH = pytest.mark.parametrize("params", [WAN21, WAN22], ids=["wan21", "wan22"])
FRAMES = 65
TILES = replace(PARKED_CACHE, rows=2, columns=2, segment_latents=8)
WHOLE = Tiling(rows=1, columns=1)


def model(params: VaeParams, width: int, height: int, frames: int = FRAMES, item_bytes: int = BF16) -> MemoryModel:
    """Of a video of this size in pixels."""
    scale = params.spatial_scale
    return memory_model(params, ((frames - 1) // 4 + 1, height // scale, width // scale), item_bytes)


def choose(
    of: MemoryModel,
    free_bytes: int | None,
    tiling: Tiling = AUTO,
    *,
    ram_bytes: int | None = None,
    device_is_ram: bool = False,
) -> DecodePlan:
    return choose_plan(of, FreeMemory(free_bytes, ram_bytes, device_is_ram), tiling)


# The models


def cached_by_name(shapes: Shapes, *, flat: bool) -> int:
    """Channels times area of every convolution of three taps, with the area read off its name."""
    total = 0
    for name, shape in shapes.items():
        if not name.startswith("decoder.") or len(shape) != 5 or shape[2] != 3:
            continue
        if "upsamples" not in name:
            level = 3 if "head" in name else 0
        else:
            number = int(name.split(".")[2])
            level = number // 4 if flat else number
        total += shape[1] * 4**level
    return total


@pytest.mark.parametrize(("width", "share"), [(64, 1), (96, 4 / 3)])
def test_pinned_ram_takes_the_next_power_of_two(width: int, share: float) -> None:
    of = model(detect_vae(wan21_shapes(dim=8)), width, 64)  # all of its channels are powers of two
    held, taken = (of.parked_bytes(PARKED_CACHE, pinned=pinned) for pinned in (False, True))
    assert taken == pytest.approx(share * held) and held > 0


@pytest.mark.parametrize("dim", [8, 24, 96])
@pytest.mark.parametrize(("shapes_of", "flat"), [(wan21_shapes, True), (wan22_shapes, False)], ids=["wan21", "wan22"])
def test_the_cache_is_two_frames_of_the_input_of_every_convolution_of_three_taps(
    shapes_of: type, flat: bool, dim: int
) -> None:
    shapes = shapes_of(dim=dim)
    found = memory_model(detect_vae(shapes), (9, 10, 7), FP32)
    frame_bytes = 10 * 7 * FP32
    cache_bytes = 2 * cached_by_name(shapes, flat=flat) * frame_bytes
    assert found.peak_bytes(ONE_FRAME) - found.peak_bytes(PARKED_CACHE) == cache_bytes
    assert found.parked_bytes(PARKED_CACHE, pinned=False) == cache_bytes
    assert found.parked_bytes(ONE_FRAME, pinned=False) == 0


@BOTH
@pytest.mark.parametrize("method", [ONE_FRAME, PARKED_CACHE, TILES], ids=["one_frame", "parked", "tiles"])
def test_a_longer_clip_needs_no_more(params: VaeParams, method: DecodeMethod) -> None:
    short, long = (model(params, 1280, 704, frames).peak_bytes(method) for frames in (33, 9601))
    assert short == long


@BOTH
def test_the_hosts_schedule_needs_the_bytes_of_a_longer_latent_more(params: VaeParams) -> None:
    short, long = (model(params, 1280, 704, frames) for frames in (33, 257))
    latent_bytes = (257 - 33) // 4 * params.latent_channels * short.height * short.width * BF16
    assert long.peak_bytes(HOST_SCHEDULE) - short.peak_bytes(HOST_SCHEDULE) == latent_bytes


@BOTH
@pytest.mark.parametrize("method", [HOST_SCHEDULE, ONE_FRAME, PARKED_CACHE, TILES])
def test_fp32_needs_twice_as_much_as_bf16(params: VaeParams, method: DecodeMethod) -> None:
    half, full = (model(params, 832, 480, item_bytes=size).peak_bytes(method) for size in (BF16, FP32))
    assert full == 2 * half


MEASURED = [  # H200, bf16, 81 frames: GB allocated beside the weights, and seconds; tests/bench/RESULTS.md
    (WAN21, 720, [(HOST_SCHEDULE, 7.34, 3.717), (ONE_FRAME, 6.01, 4.146), (TILES, 2.57, 9.923)]),
    (WAN22, 704, [(HOST_SCHEDULE, 8.78, 3.703), (ONE_FRAME, 5.04, 3.835), (TILES, 2.92, 11.74)]),
]


@pytest.mark.parametrize(("params", "height", "rows"), MEASURED, ids=["wan21", "wan22"])
def test_plans_reckon_what_was_measured_on_a_gpu(
    params: VaeParams, height: int, rows: list[tuple[DecodeMethod, float, float]]
) -> None:
    found, host_s = model(params, 1280, height, 81), rows[0][2]
    for method, allocated_gb, seconds in rows:
        assert decodes_taken(found, FreeMemory(), method) == pytest.approx(seconds / host_s, rel=0.01)
        estimated_gb = (found.peak_bytes(method) + found.workspace_bytes(method)) / 1e9
        assert allocated_gb <= estimated_gb * 1.005 <= 1.06 * allocated_gb


# The choice


@BOTH
@pytest.mark.parametrize("size", [(1920, 1088), (480, 832)])
def test_what_is_chosen_fits_and_a_byte_less_chooses_a_smaller_plan_until_nothing_fits(
    params: VaeParams, size: tuple[int, int]
) -> None:
    found, free, chosen = model(params, *size), PLENTY, []
    with pytest.raises(InputError):
        while True:
            plan = choose(found, free)
            assert plan.peak_bytes == found.peak_bytes(plan.method) + found.workspace_bytes(plan.method)
            assert plan.peak_bytes + RESERVE_BYTES < plan.needed_bytes <= free
            chosen.append(plan)
            free = plan.needed_bytes - 1
    assert chosen[0].method == HOST_SCHEDULE
    assert chosen[1].method.one_frame and chosen[-1].method.cache_in_ram
    assert all(one.needed_bytes > two.needed_bytes for one, two in pairwise(chosen))


@BOTH
def test_on_a_cpu_one_frame_at_a_time_is_chosen_and_the_hosts_schedule_when_the_whole_frame_is_asked_for(
    params: VaeParams,
) -> None:
    """It is as fast there and smaller; what would wait in RAM is no choice of its own."""
    found = model(params, 832, 480, item_bytes=FP32)
    auto = choose(found, PLENTY, device_is_ram=True)
    whole = choose(found, PLENTY, WHOLE, device_is_ram=True)
    assert (auto.method, whole.method) == (ONE_FRAME, HOST_SCHEDULE)
    assert auto.why.startswith("Whole frame, one frame at a time: needs ")
    assert "; the host's own schedule needs " in auto.why
    assert choose(found, whole.needed_bytes - 1, WHOLE, device_is_ram=True).method == ONE_FRAME
    assert choose(found, PLENTY).method == HOST_SCHEDULE


@BOTH
@pytest.mark.parametrize(("size", "rows", "columns"), [((1920, 1088), 1, 2), ((1088, 1920), 2, 1)])
def test_the_first_cut_goes_across_the_longer_side(
    params: VaeParams, size: tuple[int, int], rows: int, columns: int
) -> None:
    found = model(params, *size)
    plan = choose(found, found.peak_bytes(ONE_FRAME))  # without the reserve, just too little
    assert plan.method == replace(PARKED_CACHE, rows=rows, columns=columns, segment_latents=8)


@BOTH
@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [(1, 1, (1, 1)), (2, 1, (2, 1)), (1, 3, (1, 3)), (2, 2, (2, 2)), (2, 0, (2, 1)), (0, 3, (1, 3))],
)
def test_tiles_that_are_asked_for_are_kept(params: VaeParams, rows: int, columns: int, wanted: tuple[int, int]) -> None:
    plan = choose(model(params, 1280, 704), PLENTY, Tiling(rows, columns))
    assert (plan.method.rows, plan.method.columns) == wanted
    assert plan.why.endswith("; as asked for.")


@pytest.mark.parametrize(("rows", "columns", "name"), [(9, 0, "rows"), (0, -1, "columns"), (0, 5, "columns")])
def test_more_tiles_than_can_be_are_refused(rows: int, columns: int, name: str) -> None:
    side = {"rows": f"1 to {MOST_TILES_EACH_WAY}", "columns": "1 to 4"}[name]
    message = f"{name}: found {rows + columns}; wanted {side} for a latent of 20 x 4 (height x width). Choose fewer"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        choose(memory_model(WAN21, (3, 20, 4), BF16), PLENTY, Tiling(rows, columns))


@BOTH
def test_a_segment_is_no_longer_than_the_clip(params: VaeParams) -> None:
    assert choose(model(params, 832, 480, frames=9), PLENTY, Tiling(rows=2)).method.segment_latents == 3


@BOTH
def test_caches_go_to_ram_only_as_far_as_there_is_any(params: VaeParams) -> None:
    found, free = model(params, 1280, 704), 2 * GIB
    assert choose(found, free, WHOLE).method == PARKED_CACHE
    waiting = found.parked_bytes(PARKED_CACHE, pinned=True)
    assert choose(found, free, WHOLE, ram_bytes=waiting).method == PARKED_CACHE
    with pytest.raises(InputError, match=f"and {waiting / GIB:.1f} GiB of RAM for its caches; .* and 0.0 GiB of RAM"):
        choose(found, free, WHOLE, ram_bytes=0)
    with pytest.raises(InputError):
        choose(found, free, WHOLE, ram_bytes=waiting - 1)
    assert not choose(found, 16 * GIB, ram_bytes=0).method.cache_in_ram


@BOTH
def test_caches_that_wait_in_the_devices_own_memory_are_counted_there(params: VaeParams) -> None:
    found, tiling = model(params, 1280, 704), Tiling(columns=2)
    needed = choose(found, PLENTY, tiling).needed_bytes
    frame_cache = found.parked_bytes(PARKED_CACHE, pinned=False)  # two overlapping tiles have up to twice as much
    assert choose(found, needed, tiling)
    assert choose(found, needed + 2 * frame_cache, tiling, device_is_ram=True)
    with pytest.raises(InputError):
        choose(found, needed + frame_cache, tiling, device_is_ram=True)


@BOTH
def test_the_refusal_names_the_bytes_that_the_smallest_plan_needs(params: VaeParams) -> None:
    found = model(params, 1920, 1088)
    with pytest.raises(InputError) as refusal:
        choose(found, GIB)
    needed = int(re.search(r"1920 x 1088 pixels; the smallest plan needs (\d+) bytes", str(refusal.value))[1])
    assert f"wanted at most the {GIB} bytes (1.0 GiB) that are free" in str(refusal.value)
    assert choose(found, needed).needed_bytes == needed
    with pytest.raises(InputError):
        choose(found, needed - 1)


@pytest.mark.parametrize(
    ("free_gib", "why"),
    [
        (24, "Whole frame, the host's own schedule: needs 8.2 GiB and 1.5 GiB in reserve of 24.0 GiB free."),
        (None, "Whole frame, the host's own schedule: needs 8.2 GiB and 1.5 GiB in reserve."),
        (
            6,
            "Whole frame, one frame at a time: needs 4.7 GiB and 1.1 GiB in reserve of 6.0 GiB free; the host's own "
            "schedule needs 8.2 GiB and 1.5 GiB in reserve.",
        ),
        (
            5,
            "1 x 2 tiles (rows x columns), 8 latent frames a turn: needs 3.4 GiB and 0.9 GiB in reserve of 5.0 GiB "
            "free, decodes 1.32 times the picture because tiles overlap; the host's own schedule needs 8.2 GiB and "
            "1.5 GiB in reserve.",
        ),
        (
            2,
            "Whole frame, one frame at a time, causal caches in RAM: needs 1.2 GiB and 0.7 GiB in reserve of 2.0 GiB "
            "free; the host's own schedule needs 8.2 GiB and 1.5 GiB in reserve.",
        ),
    ],
)
def test_the_user_is_told_what_was_chosen_and_why(free_gib: int | None, why: str) -> None:
    assert choose(model(WAN22, 1280, 704), None if free_gib is None else free_gib * GIB).why == why
