"""Which way to decode fits into the memory that is free, and is the fastest of those."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..errors import InputError
from .memory import FreeMemory, MemoryModel
from .methods import HOST_SCHEDULE, ONE_FRAME, PARKED_CACHE, DecodeMethod

SEGMENTS_LATENTS = (8, 4, 2)  # of tiles
MOST_TILES_EACH_WAY = 8
RESERVE_BYTES = 2**29
RESERVE_DIVISOR = 8  # the reserve is one in so many of a plan's bytes more
GIB = 2**30

MOVES_OF_PARKED_CACHE = 6  # per latent frame: read twice and written once for each of its four frames
MOVES_OF_TILE_CACHE = 2  # per segment: to the device and back


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take on a kind of device, in decodes of the whole frame in the host's schedule."""

    one_frame: float  # to decode the whole frame one frame at a time
    cache_move: float  # to move all caches once to RAM or back, per latent frame


GPU_PACES = {  # measured, as memory.py says; the moves are what made 2 x 2 tiles of 8 latent frames cost 2.67 and 3.17
    "Wan2.1": Pace(one_frame=1.12, cache_move=2.65),
    "Wan2.2": Pace(one_frame=1.04, cache_move=1.86),
}
RAM_PACE = Pace(one_frame=1.0, cache_move=0.0)  # tests/bench/RESULTS.md; what lies in RAM already need not move


@dataclass(frozen=True, slots=True)
class Tiling:
    """How many tiles the user wants; 0 leaves it to the planner."""

    rows: int = 0
    columns: int = 0


AUTO = Tiling()


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """A way to decode one clip, and what it needs."""

    method: DecodeMethod
    peak_bytes: int  # on the device beside the weights, estimated
    parked_bytes: int = 0  # of caches that wait in RAM
    why: str = ""  # one line for the user

    @property
    def needed_bytes(self) -> int:
        """What has to be free on the device: the peak and the reserve."""
        return self.peak_bytes + self.peak_bytes // RESERVE_DIVISOR + RESERVE_BYTES

    @property
    def total_bytes(self) -> int:
        """What has to be free, on the device and in RAM."""
        return self.needed_bytes + self.parked_bytes


def choose_plan(memory: MemoryModel, free: FreeMemory, tiling: Tiling) -> DecodePlan:
    """The fastest plan that fits, and of two that are as fast the smaller one; raises InputError when nothing fits.

    When the whole frame is asked for, the host's own schedule comes first.
    """
    _require_tiling(memory, tiling)
    plans = [
        _plan(memory, free, method)
        for method in _methods(memory, free)
        if tiling.rows in (0, method.rows) and tiling.columns in (0, method.columns)
    ]
    fitting = [plan for plan in plans if _fits(plan, free)]
    if not fitting:
        raise _refusal(memory, plans, free)
    exact_first = tiling.rows == tiling.columns == 1
    best = min(
        fitting,
        key=lambda plan: (
            exact_first and plan.method.one_frame,
            decodes_taken(memory, free, plan.method),
            plan.total_bytes,
        ),
    )
    return replace(best, why=_reason(memory, best, free, asked=tiling != AUTO))


def _methods(memory: MemoryModel, free: FreeMemory) -> Iterator[DecodeMethod]:
    """Every one, the host's schedule first."""
    yield from (HOST_SCHEDULE, ONE_FRAME)
    if not free.device_is_ram:
        yield PARKED_CACHE
    sides = [range(1, min(MOST_TILES_EACH_WAY, side) + 1) for side in (memory.height, memory.width)]
    for rows, columns, segment_latents in product(*sides, SEGMENTS_LATENTS):
        method = replace(PARKED_CACHE, rows=rows, columns=columns)
        if method.is_tiled:
            yield replace(method, segment_latents=min(segment_latents, memory.latent_frames))


def _plan(memory: MemoryModel, free: FreeMemory, method: DecodeMethod) -> DecodePlan:
    parked_bytes = memory.parked_bytes(method, pinned=not free.device_is_ram)
    return DecodePlan(method, memory.peak_bytes(method) + memory.workspace_bytes(method), parked_bytes)


def _fits(plan: DecodePlan, free: FreeMemory) -> bool:
    on_device = plan.total_bytes if free.device_is_ram else plan.needed_bytes
    fits_device = free.device_bytes is None or on_device <= free.device_bytes
    return fits_device and (free.device_is_ram or free.ram_bytes is None or plan.parked_bytes <= free.ram_bytes)


def decodes_taken(memory: MemoryModel, free: FreeMemory, method: DecodeMethod) -> float:
    """How long a clip takes, in decodes of the whole frame in the host's schedule."""
    pace = RAM_PACE if free.device_is_ram else GPU_PACES[memory.params.kind]
    if not method.one_frame:
        return 1.0
    if not method.is_tiled:
        return pace.one_frame + MOVES_OF_PARKED_CACHE * pace.cache_move * method.cache_in_ram
    moves = MOVES_OF_TILE_CACHE * pace.cache_move / method.segment_latents
    return memory.decoded_share(method) * (pace.one_frame + moves)


# Words


def _require_tiling(memory: MemoryModel, tiling: Tiling) -> None:
    for name, given, side in (("rows", tiling.rows, memory.height), ("columns", tiling.columns, memory.width)):
        most = min(MOST_TILES_EACH_WAY, side)
        if not 0 <= given <= most:
            raise InputError(
                name,
                found=given,
                wanted=f"1 to {most} for a latent of {memory.height} x {memory.width} (height x width)",
                fix="Choose fewer tiles, or auto.",
            )


def _name(method: DecodeMethod) -> str:
    if method.is_tiled:
        return f"{method.rows} x {method.columns} tiles (rows x columns), {method.segment_latents} latent frames a turn"
    if method.cache_in_ram:
        return "Whole frame, one frame at a time, causal caches in RAM"
    return "Whole frame, one frame at a time" if method.one_frame else "Whole frame, the host's own schedule"


def _reason(memory: MemoryModel, best: DecodePlan, free: FreeMemory, *, asked: bool) -> str:
    text = f"{_name(best.method)}: needs {_sizes(best)}"
    if free.device_bytes is not None:
        text += f" of {free.device_bytes / GIB:.1f} GiB free"
    if best.method.is_tiled:
        text += f", decodes {memory.decoded_share(best.method):.2f} times the picture because tiles overlap"
    if asked:
        return f"{text}; as asked for."
    if not best.method.one_frame:
        return f"{text}."
    return f"{text}; the host's own schedule needs {_sizes(_plan(memory, free, HOST_SCHEDULE))}."


def _sizes(plan: DecodePlan) -> str:
    reserve = plan.needed_bytes - plan.peak_bytes
    return f"{plan.peak_bytes / GIB:.1f} GiB and {reserve / GIB:.1f} GiB in reserve"


def _nearest(plans: Sequence[DecodePlan], free: FreeMemory) -> DecodePlan:
    """Of plans that do not fit the one to name: with the least in RAM if the device has room, else the smallest."""
    if free.device_is_ram:
        return min(plans, key=lambda plan: plan.total_bytes)
    on_device = [plan for plan in plans if free.device_bytes is None or plan.needed_bytes <= free.device_bytes]
    if on_device:
        return min(on_device, key=lambda plan: plan.parked_bytes)
    return min(plans, key=lambda plan: plan.needed_bytes)


def _refusal(memory: MemoryModel, plans: Sequence[DecodePlan], free: FreeMemory) -> InputError:
    smallest, scale = _nearest(plans, free), memory.params.spatial_scale
    needed, parked = smallest.needed_bytes, smallest.parked_bytes
    ram = f" and {parked / GIB:.1f} GiB of RAM for its caches" if parked else ""
    limits = [] if free.device_bytes is None else [f"{free.device_bytes} bytes ({free.device_bytes / GIB:.1f} GiB)"]
    limits += [] if free.ram_bytes is None else [f"{free.ram_bytes / GIB:.1f} GiB of RAM"]
    return InputError(
        "samples",
        found=f"{memory.width * scale} x {memory.height * scale} pixels; the smallest plan needs {needed} bytes "
        f"({needed / GIB:.1f} GiB){ram}",
        wanted=f"at most the {' and '.join(limits)} that are free",
        fix="Free memory, leave the tiles to the node, or decode a smaller picture.",
    )
