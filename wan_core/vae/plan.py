"""What a decode needs on the device, in integers, and which way to decode fits into the memory that is free.

Sizes inside are counted in channel-frames: one channel of one frame at the resolution of the latent. A stage at scale s
takes s x s of them for each of its own channels. Not counted are the weights, and the workspace of kernels and the gaps
of the allocator, for which the reserve is there. The attention is taken to be fused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from math import prod

from ..errors import InputError
from .spec import Stage, VaeSpec
from .tiles import spans

CACHE_FRAMES = 2  # that a causal convolution of three taps remembers
ATTENTION_COPIES = 10  # input, normed, q k v, each of those in order, result, result in the picture's order
SEGMENTS_LATENTS = (8, 4, 2)  # of tiles
MOST_TILES_EACH_WAY = 8
RESERVE_BYTES = 2**29
RESERVE_DIVISOR = 4  # the reserve is one in so many of a plan's bytes more
GIB = 2**30

MOVES_OF_PARKED_CACHE = 6  # per latent frame: read twice and written once for each of its four frames


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take on a kind of device, in decodes of the whole frame in the host's schedule."""

    one_frame: float  # to decode the whole frame one frame at a time
    cache_move: float  # to move all caches once to RAM or back, per latent frame


GPU_PACE = Pace(one_frame=1.05, cache_move=0.25)  # estimated for PCIe 4 x16, never measured
RAM_PACE = Pace(one_frame=1.0, cache_move=0.0)  # tests/bench/RESULTS.md; what lies in RAM already need not move


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to decode a clip; the same frames come out of each, up to rounding."""

    one_frame: bool  # after each temporal upsampling, stages take one frame at a time; else as the host's own loop does
    rows: int  # spatial tiles, one below the other, of the part after the middle block
    columns: int  # the same, side by side; 1 x 1 is the whole frame
    segment_latents: int  # latent frames that a tile decodes before the next tile takes over
    cache_in_ram: bool  # the causal caches that are not in use wait in RAM
    peak_bytes: int  # on the device beside the weights, estimated; 0: not estimated
    why: str  # one line for the user

    @property
    def needed_bytes(self) -> int:
        """What has to be free on the device: the peak and the reserve."""
        return self.peak_bytes + self.peak_bytes // RESERVE_DIVISOR + RESERVE_BYTES


HOST_PLAN = Plan(
    one_frame=False, rows=1, columns=1, segment_latents=1, cache_in_ram=False, peak_bytes=0, why="the host's schedule"
)
ONE_FRAME_PLAN = replace(HOST_PLAN, one_frame=True, why="one frame at a time")


@dataclass(frozen=True, slots=True)
class Work:
    """A clip to decode, and what its decoder is."""

    spec: VaeSpec
    latent_frames: int
    height: int  # of the latent
    width: int
    item_bytes: int
    device_is_ram: bool = False

    @property
    def channel_frame_bytes(self) -> int:
        return self.height * self.width * self.item_bytes


# Plans


def plan_for(
    spec: VaeSpec,
    latent_shape: Sequence[int],
    item_bytes: int,
    free_bytes: int,
    *,
    rows: int = 0,
    columns: int = 0,
    ram_bytes: int | None = None,
    device_is_ram: bool = False,
) -> Plan:
    """The fastest plan that fits, for a latent of shape (... t h w) and modules that compute in items of this size.

    Of two that are as fast it is the smaller one; when the whole frame is asked for, the host's own schedule comes
    first. ``free_bytes`` are the device's beside the weights, ``ram_bytes`` those of the RAM for caches that wait there
    (None: as many as they want). With ``device_is_ram`` the device is a CPU, and they wait in the free bytes too.
    ``rows`` and ``columns`` of tiles may be given; 0 leaves them to this choice. Raises InputError when nothing fits.
    """
    work = Work(spec, *latent_shape[-3:], item_bytes, device_is_ram)
    _check_tiles(work, rows, columns)
    host_plan, *others = _plans(work)
    plans = [plan for plan in (host_plan, *others) if rows in (0, plan.rows) and columns in (0, plan.columns)]
    fitting = [plan for plan in plans if _fits(work, plan, free_bytes, ram_bytes)]
    if not fitting:
        raise _refusal(work, plans, free_bytes, ram_bytes)
    exact_first = rows == columns == 1
    best = min(fitting, key=lambda plan: (exact_first and plan.one_frame, _time(work, plan), _total_bytes(work, plan)))
    return replace(best, why=_reason(work, best, host_plan, free_bytes, asked=bool(rows or columns)))


def cache_bytes(spec: VaeSpec, latent_shape: Sequence[int], item_bytes: int) -> int:
    """The causal caches of a whole frame: two frames of the input of every convolution of three taps in time."""
    work = Work(spec, *latent_shape[-3:], item_bytes)
    return (_entry_cache(spec) + _stages_cache(spec)) * work.channel_frame_bytes


def _plans(work: Work) -> Iterator[Plan]:
    """Every plan, the host's schedule first."""
    whole = [HOST_PLAN, ONE_FRAME_PLAN]
    if not work.device_is_ram:
        whole.append(replace(ONE_FRAME_PLAN, cache_in_ram=True))
    yield from (replace(plan, peak_bytes=peak_bytes(work, plan)) for plan in whole)
    sides = [range(1, min(MOST_TILES_EACH_WAY, side) + 1) for side in (work.height, work.width)]
    for rows, columns, segment in product(*sides, SEGMENTS_LATENTS):
        if rows * columns > 1:
            tiled = Plan(True, rows, columns, min(segment, work.latent_frames), True, 0, "")
            yield replace(tiled, peak_bytes=peak_bytes(work, tiled))


def _fits(work: Work, plan: Plan, free_bytes: int, ram_bytes: int | None) -> bool:
    if work.device_is_ram:
        return _total_bytes(work, plan) <= free_bytes
    return plan.needed_bytes <= free_bytes and (ram_bytes is None or parked_bytes(work, plan) <= ram_bytes)


def _total_bytes(work: Work, plan: Plan) -> int:
    """What has to be free, on the device and in RAM."""
    return plan.needed_bytes + parked_bytes(work, plan)


def parked_bytes(work: Work, plan: Plan) -> int:
    """The most that waits in RAM: the allocator of pinned RAM takes a power of two for each frame of the caches."""
    if not plan.cache_in_ram:
        return 0
    inputs = list(_stages_inputs(work.spec))
    if plan.rows * plan.columns == 1:
        inputs += _entry_inputs(work.spec)
    frames = (prod(sizes) * work.item_bytes for sizes in product(inputs, *_tile_sides(work, plan)))
    return CACHE_FRAMES * sum(size if work.device_is_ram else _power_of_two(size) for size in frames)


def _power_of_two(size: int) -> int:
    """The smallest one that is no less than ``size``."""
    return 1 << (size - 1).bit_length()


def _time(work: Work, plan: Plan) -> float:
    """How long a plan takes, in decodes of the whole frame in the host's schedule."""
    pace = RAM_PACE if work.device_is_ram else GPU_PACE
    if not plan.one_frame:
        return 1.0
    if plan.rows * plan.columns == 1:
        return pace.one_frame + MOVES_OF_PARKED_CACHE * pace.cache_move * plan.cache_in_ram
    frames = _tiled_area(work, plan) / (work.height * work.width)
    return frames * (pace.one_frame + 2 * pace.cache_move / plan.segment_latents)


def _tile_sides(work: Work, plan: Plan) -> tuple[list[int], list[int]]:
    """The heights and the widths that the tiles decode, in latent pixels."""
    sides = spans(work.height, plan.rows), spans(work.width, plan.columns)
    return tuple([span.high - span.low for span in side] for side in sides)


def _tiled_area(work: Work, plan: Plan) -> int:
    """The latent pixels that all tiles decode together."""
    heights, widths = _tile_sides(work, plan)
    return sum(heights) * sum(widths)


def _largest_tile(work: Work, plan: Plan) -> int:
    """The latent pixels of the largest tile."""
    heights, widths = _tile_sides(work, plan)
    return max(heights) * max(widths)


# Peaks


def peak_bytes(work: Work, plan: Plan) -> int:
    """The most that lives on the device at a time beside the weights."""
    spec, frame = work.spec, work.channel_frame_bytes
    entry = _entry_cache(spec) + 2 * spec.latent_channels
    if plan.rows * plan.columns > 1:
        finished = spec.temporal_scale * plan.segment_latents + 1  # and the one that the caller took last
        waiting = _features(spec) * plan.segment_latents + _pictures(spec, finished)
        tile = _stages_cache(spec) + _frame_working(spec) + _pictures(spec, 1) * _copies(spec)
        middle = ATTENTION_COPIES * _features(spec)
        return max(
            (entry + waiting) * frame + tile * _largest_tile(work, plan) * work.item_bytes,
            (entry + waiting + middle) * frame,
        )
    cache = 0 if plan.cache_in_ram else _entry_cache(spec) + _stages_cache(spec)
    if plan.one_frame:
        return (cache + 2 * spec.latent_channels + _frame_working(spec) + _pictures(spec, 1) * _copies(spec)) * frame
    latents = spec.latent_channels * work.latent_frames  # all of them go through the first convolution at once
    finished = _pictures(spec, spec.temporal_scale * spec.chunk_latents) * _copies(spec)
    return max(2 * latents, latents + cache + _host_working(spec) + finished) * frame


def _copies(spec: VaeSpec) -> int:
    """Of a finished picture: a patch is unpacked into a second one."""
    return 2 if spec.patch > 1 else 1


def _pictures(spec: VaeSpec, frames: int) -> int:
    return frames * spec.image_channels * spec.spatial_scale**2


def _features(spec: VaeSpec) -> int:
    """One latent frame after the middle block."""
    return spec.middle.blocks[-1][1]


def _entry_inputs(spec: VaeSpec) -> Iterator[int]:
    """One frame of the input of every causal convolution that works on latent pixels, before the stages."""
    yield spec.latent_channels
    yield from chain(*spec.middle.blocks)


def _stages_inputs(spec: VaeSpec) -> Iterator[int]:
    """The same of the stages and the head."""
    for stage in spec.stages:
        yield from (_area(stage) * channels for channels in chain(*stage.blocks))
        if stage.doubles_time:
            yield _area(stage) * _width(stage)
    yield _area(spec.stages[-1]) * _width(spec.stages[-1])


def _entry_cache(spec: VaeSpec) -> int:
    return CACHE_FRAMES * sum(_entry_inputs(spec))


def _stages_cache(spec: VaeSpec) -> int:
    return CACHE_FRAMES * sum(_stages_inputs(spec))


def _area(stage: Stage) -> int:
    return stage.scale**2


def _width(stage: Stage) -> int:
    """The channels that leave a stage's blocks."""
    return stage.blocks[-1][1]


# One frame at a time


def _frame_working(spec: VaeSpec) -> int:
    """The most that one frame needs beside the caches, from the middle block to the head."""
    most, held = ATTENTION_COPIES * _features(spec), 0
    for stage in spec.stages:
        source = stage.blocks[0][0] if spec.kind == "Wan2.2" and stage.upsampled else 0  # of the shortcut around it
        blocks = max(_frame_block(*block) for block in stage.blocks)
        twins = 3 if stage.doubles_time else 1  # both as they are made, and a copy of the second
        upsampling = (twins + 4) * _width(stage) + 4 * stage.upsampled if stage.upsampled else 0
        most = max(most, held + _area(stage) * (source + max(blocks, upsampling)))
        if stage.doubles_time:  # the second twin waits while the first goes all the way
            held += _area(stage) * (source + _width(stage))
    return most


def _frame_block(c_in: int, c_out: int) -> int:
    """Of a residual block: what goes around it, a convolution's own input, and that after its past or the result."""
    around = c_in if c_in == c_out else c_out
    return around + max(4 * c_in, 3 * c_in + c_out, 4 * c_out)


# The host's schedule


def _host_working(spec: VaeSpec) -> int:
    """The most that the host's own loop holds at a time beside the caches and the finished frames."""
    most, held = 0, 0 if spec.kind == "Wan2.2" else spec.chunk_latents * _features(spec)
    for stage in spec.stages:
        frames = stage.frames if spec.kind == "Wan2.2" else spec.chunk_latents
        source = frames * stage.blocks[0][0] if spec.kind == "Wan2.2" and stage.upsampled else 0
        block = _host22_block if spec.kind == "Wan2.2" else _host21_block
        blocks = max(block(frames, *channels) for channels in stage.blocks)
        most = max(most, held + _area(stage) * (source + max(blocks, _host_upsampling(spec, stage, frames))))
        if spec.kind == "Wan2.1" and stage.doubles_time:  # what is doubled waits while stages take two frames at a time
            held += 4 * _area(stage) * 2 * frames * stage.upsampled
    return most


def _host22_block(frames: int, c_in: int, c_out: int) -> int:
    """Input, a convolution's own input, that after its past, and the result; or the copy for the next call."""
    first = frames * c_in + (2 * frames + CACHE_FRAMES) * c_in + max(CACHE_FRAMES * c_in, frames * c_out)
    second = frames * c_in + (2 * frames + CACHE_FRAMES) * c_out + max(CACHE_FRAMES, frames) * c_out
    return max(first, second)


def _host21_block(frames: int, c_in: int, c_out: int) -> int:
    """The same where a convolution's own input is what stays in the cache."""
    first = frames * c_in + (frames + CACHE_FRAMES) * c_in + frames * max(c_in, c_out)
    return max(first, frames * c_in + (2 * frames + CACHE_FRAMES) * c_out)


def _host_upsampling(spec: VaeSpec, stage: Stage, frames: int) -> int:
    """Input, that with time doubled, and both sides of the spatial convolution; or its result and the shortcut's."""
    if not stage.upsampled:
        return 0
    doubled = 2 * frames if stage.doubles_time else frames
    result = 4 * doubled * stage.upsampled
    convolution = (frames + (doubled - frames) * 2 + 4 * doubled) * _width(stage) + result
    return max(convolution, 3 * result) if spec.kind == "Wan2.2" else convolution


# Words


def _check_tiles(work: Work, rows: int, columns: int) -> None:
    for name, given, side in (("rows", rows, work.height), ("columns", columns, work.width)):
        most = min(MOST_TILES_EACH_WAY, side)
        if not 0 <= given <= most:
            raise InputError(
                name,
                found=given,
                wanted=f"1 to {most} for a latent of {work.height} x {work.width} (height x width)",
                fix="Choose fewer tiles, or auto.",
            )


def _name(plan: Plan) -> str:
    if plan.rows * plan.columns > 1:
        return f"{plan.rows} x {plan.columns} tiles (rows x columns), {plan.segment_latents} latent frames a turn"
    if plan.cache_in_ram:
        return "Whole frame, one frame at a time, causal caches in RAM"
    return "Whole frame, one frame at a time" if plan.one_frame else "Whole frame, the host's own schedule"


def _reason(work: Work, best: Plan, fastest: Plan, free_bytes: int, *, asked: bool) -> str:
    text = f"{_name(best)}: needs {_sizes(best)} of {free_bytes / GIB:.1f} GiB free"
    if best.rows * best.columns > 1:
        waste = _tiled_area(work, best) / (work.height * work.width)
        text += f", decodes {waste:.2f} times the picture because tiles overlap"
    if asked:
        return f"{text}; as asked for."
    return f"{text}; the host's own schedule needs {_sizes(fastest)}." if best.one_frame else f"{text}."


def _sizes(plan: Plan) -> str:
    reserve = plan.needed_bytes - plan.peak_bytes
    return f"{plan.peak_bytes / GIB:.1f} GiB and {reserve / GIB:.1f} GiB in reserve"


def _nearest(work: Work, plans: Sequence[Plan], free_bytes: int) -> Plan:
    """Of plans that do not fit the one to name: with the least in RAM if the device has room, else the smallest."""
    if work.device_is_ram:
        return min(plans, key=lambda plan: _total_bytes(work, plan))
    on_device = [plan for plan in plans if plan.needed_bytes <= free_bytes]
    if on_device:
        return min(on_device, key=lambda plan: parked_bytes(work, plan))
    return min(plans, key=lambda plan: plan.needed_bytes)


def _refusal(work: Work, plans: Sequence[Plan], free_bytes: int, ram_bytes: int | None) -> InputError:
    smallest = _nearest(work, plans, free_bytes)
    width, height = work.width * work.spec.spatial_scale, work.height * work.spec.spatial_scale
    needed, parked = smallest.needed_bytes, parked_bytes(work, smallest)
    ram = f" and {parked / GIB:.1f} GiB of RAM for its caches" if parked else ""
    ram_free = "" if ram_bytes is None else f" and {ram_bytes / GIB:.1f} GiB of RAM"
    return InputError(
        "samples",
        found=f"{width} x {height} pixels; the smallest plan needs {needed} bytes ({needed / GIB:.1f} GiB){ram}",
        wanted=f"at most the {free_bytes} bytes ({free_bytes / GIB:.1f} GiB){ram_free} that are free",
        fix="Free memory, leave the tiles to the node, or decode a smaller picture.",
    )
