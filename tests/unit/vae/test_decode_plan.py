"""The planner against the walk of tests/bench/vae_memory.py and against what its own numbers promise."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.unit.vae.shapes import Shapes, wan21_shapes, wan22_shapes
from wan_core.errors import InputError
from wan_core.vae.plan import (
    GIB,
    HOST_PLAN,
    MOST_TILES_EACH_WAY,
    ONE_FRAME_PLAN,
    RESERVE_BYTES,
    Plan,
    Work,
    cache_bytes,
    parked_bytes,
    peak_bytes,
    plan_for,
)
from wan_core.vae.spec import VaeSpec, detect_vae

BF16, FP32 = 2, 4
WAN21, WAN22 = detect_vae(wan21_shapes()), detect_vae(wan22_shapes())
BOTH = pytest.mark.parametrize("spec", [WAN21, WAN22], ids=["wan21", "wan22"])
FRAMES = 65

IN_RAM_PLAN = replace(ONE_FRAME_PLAN, cache_in_ram=True)


def tiles(rows: int, columns: int, segment: int = 8) -> Plan:
    return Plan(True, rows, columns, segment, cache_in_ram=True, peak_bytes=0, why="")


def latent(spec: VaeSpec, width: int, height: int, frames: int = FRAMES) -> tuple[int, ...]:
    """b z t h w of a video of this size in pixels."""
    scale = spec.spatial_scale
    return 1, spec.latent_channels, (frames - 1) // 4 + 1, height // scale, width // scale


def peak(spec: VaeSpec, plan: Plan, width: int, height: int, frames: int = FRAMES, item_bytes: int = BF16) -> int:
    return peak_bytes(Work(spec, *latent(spec, width, height, frames)[-3:], item_bytes), plan)


# Caches


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


@pytest.mark.parametrize("dim", [8, 24, 96])
def test_the_cache_is_two_frames_of_the_input_of_every_convolution_of_three_taps(dim: int) -> None:
    shape = (1, 16, 9, 10, 7)
    by_name = 2 * cached_by_name(wan21_shapes(dim=dim), flat=True) * 10 * 7 * FP32
    assert cache_bytes(detect_vae(wan21_shapes(dim=dim)), shape, FP32) == by_name
    by_name = 2 * cached_by_name(wan22_shapes(dim=dim), flat=False) * 10 * 7 * FP32
    assert cache_bytes(detect_vae(wan22_shapes(dim=dim)), shape, FP32) == by_name


@pytest.mark.parametrize(("spec", "bytes_per_pixel"), [(WAN21, 4729), (WAN22, 3568.75)], ids=["wan21", "wan22"])
def test_the_cache_of_the_real_networks_for_each_pixel_of_the_picture(spec: VaeSpec, bytes_per_pixel: float) -> None:
    assert cache_bytes(spec, latent(spec, 1280, 704), BF16) == bytes_per_pixel * 1280 * 704


# Peaks; the walked bytes are those of bf16, the film is width, height and frames

WALKED = [
    (WAN21, (1280, 720, 33), HOST_PLAN, 6285772800),
    (WAN21, (1280, 720, 33), ONE_FRAME_PLAN, 5303808000),
    (WAN21, (1280, 720, 33), IN_RAM_PLAN, 945561600),
    (WAN21, (1280, 720, 61), tiles(2, 2), 2313577728),
    (WAN21, (1280, 720, 61), tiles(1, 2), 3391223040),
    (WAN21, (832, 480, 33), HOST_PLAN, 2723834880),
    (WAN21, (832, 480, 33), ONE_FRAME_PLAN, 2298316800),
    (WAN21, (832, 480, 33), IN_RAM_PLAN, 409743360),
    (WAN21, (832, 480, 61), tiles(2, 2), 1168252800),
    (WAN21, (832, 480, 61), tiles(1, 2), 1568386560),
    (WAN21, (1920, 1088, 33), HOST_PLAN, 14247751680),
    (WAN21, (1920, 1088, 33), ONE_FRAME_PLAN, 12021964800),
    (WAN21, (1920, 1088, 33), IN_RAM_PLAN, 2143272960),
    (WAN21, (1920, 1088, 61), tiles(2, 2), 4717815936),
    (WAN21, (1920, 1088, 61), tiles(1, 2), 7366665216),
    (WAN22, (1280, 704, 33), HOST_PLAN, 6931527680),
    (WAN22, (1280, 704, 33), ONE_FRAME_PLAN, 4331458560),
    (WAN22, (1280, 704, 33), IN_RAM_PLAN, 1115586560),
    (WAN22, (1280, 704, 61), tiles(2, 2), 2542522880),
    (WAN22, (1280, 704, 61), tiles(1, 2), 3120601088),
    (WAN22, (832, 480, 33), HOST_PLAN, 3071927040),
    (WAN22, (832, 480, 33), ONE_FRAME_PLAN, 1919623680),
    (WAN22, (832, 480, 33), IN_RAM_PLAN, 494407680),
    (WAN22, (832, 480, 61), tiles(2, 2), 1453890048),
    (WAN22, (832, 480, 61), tiles(1, 2), 1548418560),
    (WAN22, (1920, 1088, 33), HOST_PLAN, 16068541440),
    (WAN22, (1920, 1088, 33), ONE_FRAME_PLAN, 10041108480),
    (WAN22, (1920, 1088, 33), IN_RAM_PLAN, 2586132480),
    (WAN22, (1920, 1088, 61), tiles(2, 2), 4840610304),
    (WAN22, (1920, 1088, 61), tiles(1, 2), 6698459136),
]


@pytest.mark.parametrize(("spec", "film", "plan", "walked"), WALKED)
def test_an_estimate_is_never_under_the_walk_and_little_above_it(
    spec: VaeSpec, film: tuple[int, int, int], plan: Plan, walked: int
) -> None:
    assert walked <= peak(spec, plan, *film) <= 1.15 * walked


@BOTH
@pytest.mark.parametrize("plan", [ONE_FRAME_PLAN, IN_RAM_PLAN, tiles(2, 2)], ids=["one_frame", "in_ram", "tiles"])
def test_a_longer_clip_needs_no_more(spec: VaeSpec, plan: Plan) -> None:
    assert peak(spec, plan, 1280, 704, frames=33) == peak(spec, plan, 1280, 704, frames=9601)


@BOTH
def test_the_hosts_schedule_needs_the_bytes_of_a_longer_latent_more(spec: VaeSpec) -> None:
    _, z, _, h, w = latent(spec, 1280, 704)
    grown = peak(spec, HOST_PLAN, 1280, 704, frames=257) - peak(spec, HOST_PLAN, 1280, 704, frames=33)
    assert grown == (257 - 33) // 4 * z * h * w * BF16


@BOTH
@pytest.mark.parametrize("plan", [HOST_PLAN, ONE_FRAME_PLAN, IN_RAM_PLAN, tiles(1, 3)])
def test_fp32_needs_twice_as_much_as_bf16(spec: VaeSpec, plan: Plan) -> None:
    assert peak(spec, plan, 832, 480, item_bytes=FP32) == 2 * peak(spec, plan, 832, 480)


# The choice


@BOTH
@pytest.mark.parametrize("size", [(1920, 1088), (480, 832)])
def test_what_is_chosen_fits_and_a_byte_less_chooses_a_smaller_plan_until_nothing_fits(
    spec: VaeSpec, size: tuple[int, int]
) -> None:
    shape, free, chosen = latent(spec, *size), 10**12, []
    with pytest.raises(InputError):
        while True:
            plan = plan_for(spec, shape, BF16, free)
            assert plan.peak_bytes == peak(spec, plan, *size)
            assert plan.peak_bytes + RESERVE_BYTES < plan.needed_bytes <= free
            chosen.append(plan)
            free = plan.needed_bytes - 1
    assert (chosen[0].one_frame, chosen[0].rows, chosen[0].columns, chosen[0].cache_in_ram) == (False, 1, 1, False)
    assert chosen[1].one_frame and chosen[-1].cache_in_ram
    assert all(one.needed_bytes > two.needed_bytes for one, two in pairwise(chosen))


@BOTH
def test_on_a_cpu_one_frame_at_a_time_is_chosen_and_the_hosts_schedule_when_the_whole_frame_is_asked_for(
    spec: VaeSpec,
) -> None:
    """It is as fast there and smaller; what would wait in RAM is no choice of its own."""
    shape = latent(spec, 832, 480)
    auto = plan_for(spec, shape, FP32, 10**12, device_is_ram=True)
    whole = plan_for(spec, shape, FP32, 10**12, rows=1, columns=1, device_is_ram=True)
    assert (auto.one_frame, auto.rows, auto.columns, auto.cache_in_ram) == (True, 1, 1, False)
    assert (whole.one_frame, whole.rows, whole.columns) == (False, 1, 1)
    assert auto.why.startswith("Whole frame, one frame at a time: needs ")
    assert "; the host's own schedule needs " in auto.why
    tight = plan_for(spec, shape, FP32, whole.needed_bytes - 1, rows=1, columns=1, device_is_ram=True)
    assert (tight.one_frame, tight.rows, tight.columns, tight.cache_in_ram) == (True, 1, 1, False)
    assert not plan_for(spec, shape, FP32, 10**12).one_frame


@BOTH
@pytest.mark.parametrize(("size", "across"), [((1920, 1088), "columns"), ((1088, 1920), "rows")])
def test_the_first_cut_goes_across_the_longer_side(spec: VaeSpec, size: tuple[int, int], across: str) -> None:
    shape = latent(spec, *size)
    plan = plan_for(spec, shape, BF16, peak(spec, ONE_FRAME_PLAN, *size))  # without the reserve, just too little
    assert (plan.columns, plan.rows) == ((2, 1) if across == "columns" else (1, 2))
    assert (plan.segment_latents, plan.one_frame, plan.cache_in_ram) == (8, True, True)


@BOTH
@pytest.mark.parametrize(
    ("rows", "columns", "wanted"),
    [(1, 1, (1, 1)), (2, 1, (2, 1)), (1, 3, (1, 3)), (2, 2, (2, 2)), (2, 0, (2, 1)), (0, 3, (1, 3))],
)
def test_tiles_that_are_asked_for_are_kept(spec: VaeSpec, rows: int, columns: int, wanted: tuple[int, int]) -> None:
    plan = plan_for(spec, latent(spec, 1280, 704), BF16, 10**12, rows=rows, columns=columns)
    assert (plan.rows, plan.columns) == wanted
    assert plan.why.endswith("; as asked for.")


@pytest.mark.parametrize(("rows", "columns", "name"), [(9, 0, "rows"), (0, -1, "columns"), (0, 5, "columns")])
def test_more_tiles_than_can_be_are_refused(rows: int, columns: int, name: str) -> None:
    side = {"rows": f"1 to {MOST_TILES_EACH_WAY}", "columns": "1 to 4"}[name]
    with pytest.raises(InputError, match=rf"^{name}: found {rows + columns}; wanted {side} for a latent of 20 x 4 \("):
        plan_for(WAN21, (16, 3, 20, 4), BF16, 10**12, rows=rows, columns=columns)


@BOTH
def test_a_segment_is_no_longer_than_the_clip(spec: VaeSpec) -> None:
    plan = plan_for(spec, latent(spec, 832, 480, frames=9), BF16, 10**12, rows=2)
    assert plan.segment_latents == 3


@BOTH
def test_caches_go_to_ram_only_as_far_as_there_is_any(spec: VaeSpec) -> None:
    shape, free = latent(spec, 1280, 704), 2 * GIB
    assert plan_for(spec, shape, BF16, free).cache_in_ram
    work = Work(spec, *shape[-3:], BF16)
    waiting = parked_bytes(work, IN_RAM_PLAN)
    assert plan_for(spec, shape, BF16, free, ram_bytes=waiting).cache_in_ram
    with pytest.raises(InputError, match=f"and {waiting / GIB:.1f} GiB of RAM for its caches; .* and 0.0 GiB of RAM"):
        plan_for(spec, shape, BF16, free, ram_bytes=0)
    with pytest.raises(InputError):
        plan_for(spec, shape, BF16, free, ram_bytes=waiting - 1)
    assert not plan_for(spec, shape, BF16, 16 * GIB, ram_bytes=0).cache_in_ram


@BOTH
def test_caches_that_wait_in_the_devices_own_memory_are_counted_there(spec: VaeSpec) -> None:
    shape = latent(spec, 1280, 704)
    needed = plan_for(spec, shape, BF16, 10**12, columns=2).needed_bytes
    frame_cache = cache_bytes(spec, shape, BF16)  # two overlapping tiles have more than one of it and less than two
    assert plan_for(spec, shape, BF16, needed, columns=2)
    assert plan_for(spec, shape, BF16, needed + 2 * frame_cache, columns=2, device_is_ram=True)
    with pytest.raises(InputError):
        plan_for(spec, shape, BF16, needed + frame_cache, columns=2, device_is_ram=True)


@BOTH
def test_the_refusal_names_the_bytes_that_the_smallest_plan_needs(spec: VaeSpec) -> None:
    shape = latent(spec, 1920, 1088)
    with pytest.raises(InputError) as refusal:
        plan_for(spec, shape, BF16, GIB)
    needed = int(re.search(r"1920 x 1088 pixels; the smallest plan needs (\d+) bytes", str(refusal.value))[1])
    assert f"wanted at most the {GIB} bytes (1.0 GiB) that are free" in str(refusal.value)
    assert plan_for(spec, shape, BF16, needed).needed_bytes == needed
    with pytest.raises(InputError):
        plan_for(spec, shape, BF16, needed - 1)


def test_the_user_is_told_what_was_chosen_and_why() -> None:
    shape = latent(WAN22, 1280, 704)
    assert [plan_for(WAN22, shape, BF16, free * GIB).why for free in (24, 6, 5, 2)] == [
        "Whole frame, the host's own schedule: needs 6.5 GiB and 2.1 GiB in reserve of 24.0 GiB free.",
        "Whole frame, one frame at a time: needs 4.0 GiB and 1.5 GiB in reserve of 6.0 GiB free; the host's own "
        "schedule needs 6.5 GiB and 2.1 GiB in reserve.",
        "1 x 2 tiles (rows x columns), 8 latent frames a turn: needs 2.9 GiB and 1.2 GiB in reserve of 5.0 GiB free, "
        "decodes 1.32 times the picture because tiles overlap; the host's own schedule needs 6.5 GiB and 2.1 GiB in "
        "reserve.",
        "Whole frame, one frame at a time, causal caches in RAM: needs 1.0 GiB and 0.8 GiB in reserve of 2.0 GiB free; "
        "the host's own schedule needs 6.5 GiB and 2.1 GiB in reserve.",
    ]
