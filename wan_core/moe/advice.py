"""What the user should know about a run that is allowed but probably not meant, as notes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import quoted
from ..notes import Note
from ..weights import base_name
from .conditions import on_conditions
from .experts import ExpertParams
from .noise_level import timestep_of, unshifted
from .schedule import even_sigmas
from .split import Split, split_schedule

STARTS_AS_NOISE = 0.99  # a schedule from this sigma on starts from noise
ENOUGH_STEPS = 5  # with fewer, the share of an expert says nothing
# The least share of the steps, as a part of what an even schedule gives. The host's schedules for flow models stay
# above: linear_quadratic, which by design dwells at high noise, gives the low expert a sixth of its even share.
LEAST_SHARE = {"high": 1 / 3, "low": 1 / 8}
COARSE = {"high": "motion and layout", "low": "fine detail"}  # what an expert with too few steps gets wrong
OTHER = {"high": "low", "low": "high"}

DISTILLED_STEPS = 8  # at most
DISTILLED_SHIFT = 5.0  # trained timesteps of four steps: 1000, 937.5, 833.3, 625
DISTILLED_TOLERANCE = 0.02  # in sigma


def notes_on_run(
    experts: Sequence[ExpertParams], sigmas: Sequence[float], boundary_sigma: float, discarder: str | None
) -> tuple[Note, ...]:
    """All notes on a run: on each expert beside the one for low noise, which is the last, without repetition.

    ``discarder`` is the sampler, if the host leaves the last sigma but one out of the schedules that it makes for it.
    """
    *firsts, low = experts
    split = split_schedule(sigmas, boundary_sigma)
    found: list[Note] = []
    for high in firsts:
        found += on_files(high, low)
        found += on_shifts(high.shift, low.shift)
        found += on_schedule(sigmas, split, high.shift, discarder)
        found += on_distilled(sigmas, high.cfg, low.cfg, discarder)
        found += on_portraits(high, low)
        found += on_context_windows(high.has_context_windows, low.has_context_windows)
        found += on_conditions(high, low)
    return tuple(dict.fromkeys(found))


# Schedule


def on_schedule(sigmas: Sequence[float], split: Split, shift: float, discarder: str | None) -> list[Note]:
    """Notes on how a schedule under ``shift`` falls into the parts of the experts: one has no step, or hardly any."""
    if split.high_steps == 0 or split.low_steps == 0:
        return [_one_expert(sigmas, split, discarder)]
    steps = split.high_steps + split.low_steps
    if steps < ENOUGH_STEPS or sigmas[0] < STARTS_AS_NOISE:
        return []
    ends_and_boundary = (max(sigmas), split.boundary_sigma, min(sigmas))
    first_u, boundary_u, last_u = (unshifted(sigma, shift) for sigma in ends_and_boundary)
    even_high = (first_u - boundary_u) / (first_u - last_u)  # the share of high steps in an even schedule
    shares = {"high": (split.high_steps, even_high), "low": (split.low_steps, 1.0 - even_high)}
    return [
        _degenerate(name, taken, steps, even * steps, shift)
        for name, (taken, even) in shares.items()
        if taken / steps < LEAST_SHARE[name] * even
    ]


def _degenerate(name: str, taken: int, steps: int, even: float, shift: float) -> Note:
    return Note(
        "degenerate_schedule",
        f"the {name}-noise expert takes {taken} of {steps} steps, an even schedule of shift {shift:g} gives it "
        f"{even:.0f}; {COARSE[name]} will be coarse; unless you want that, set scheduler to simple and let it run to "
        "the end (karras, exponential and kl_optimal are not made for flow models)",
    )


def _one_expert(sigmas: Sequence[float], split: Split, discarder: str | None) -> Note:
    name, side = ("high", "below") if split.low_steps == 0 else ("low", "above")
    starts = sigmas[:-1]
    at = f" (sigma {split.boundary_sigma:.4g})" if 0.0 < split.boundary_sigma < math.inf else ""
    is_short = discarder is not None and split.low_steps == 0 and sigmas[-1] == 0.0
    lost = f"; a schedule that is made for {discarder} lacks its last sigma but one" if is_short else ""
    return Note(
        "one_expert",
        f"all {len(starts)} steps are on the {name}-noise expert, because the boundary{at} lies {side} all of them "
        f"(sigma {max(starts):.4g} to {min(starts):.4g}); the {OTHER[name]}-noise expert is not used; to use both, "
        f"change switch, the range of the steps or their number{lost}",
    )


def on_distilled(
    sigmas: Sequence[float], cfg_high: float | None, cfg_low: float | None, discarder: str | None
) -> list[Note]:
    """Notes on a few-step run without guidance, which is how distilled LoRAs run: is it their schedule?"""
    steps = len(sigmas) - 1
    is_full_run = sigmas[0] >= STARTS_AS_NOISE and sigmas[-1] == 0.0
    is_unguided = all(cfg is not None and math.isclose(cfg, 1.0) for cfg in (cfg_high, cfg_low))
    if steps > DISTILLED_STEPS or not is_full_run or not is_unguided:
        return []
    trained, longer = even_sigmas(steps, DISTILLED_SHIFT), even_sigmas(steps + 1, DISTILLED_SHIFT)
    if _are_near(sigmas, trained):
        return []
    worst = max(range(steps), key=lambda i: abs(sigmas[i] - trained[i]))
    is_cut = discarder is not None and _are_near(sigmas, [*longer[:-2], longer[-1]])
    advice = [] if is_cut else [f"set the shift to {DISTILLED_SHIFT:g} and scheduler to simple"]
    if discarder is not None:
        advice.append(
            f"for {discarder} the host makes a schedule of {steps + 1} steps and leaves its last sigma but one out; "
            "take another sampler, euler for example, or give this one sigmas from Basic Scheduler"
        )
    return [
        Note(
            "discarded_sigma" if is_cut else "distilled_shift",
            f"{steps} steps at cfg 1 look like a distilled (Lightning) LoRA, but step {worst + 1} is at timestep "
            f"{timestep_of(sigmas[worst]):.1f} and such LoRAs are trained at {timestep_of(trained[worst]):.1f}; "
            f"motion and detail will suffer; {'; '.join(advice)}",
        )
    ]


def _are_near(sigmas: Sequence[float], others: Sequence[float]) -> bool:
    return max(abs(sigma - other) for sigma, other in zip(sigmas, others, strict=True)) <= DISTILLED_TOLERANCE


def on_shifts(high_shift: float, low_shift: float) -> list[Note]:
    """Notes on the shifts of the two models."""
    if high_shift == low_shift:
        return []
    return [Note("other_shift", "model_low has another shift; the schedule is that of model_high")]


# Models


def on_files(high: ExpertParams, low: ExpertParams) -> list[Note]:
    """Notes on the files of the two models, by what their names say."""
    says = {"high": high.level, "low": low.level}
    names = {"high": quoted(base_name(high.file)), "low": quoted(base_name(low.file))}
    crossed = [slot for slot in says if says[slot] == OTHER[slot]]
    if not crossed:
        return []
    if high.file == low.file:
        return [
            Note(
                "same_file",
                f"both experts are {names['high']}, whose name says {says['high']} noise; the {crossed[0]}-noise "
                f"steps run on the wrong weights; load the {crossed[0]}-noise file of the pair there",
            )
        ]
    if len(crossed) == 2:
        return [
            Note(
                "experts_swapped",
                f"the files look swapped: the high-noise expert is {names['high']} and the low-noise expert is "
                f"{names['low']}; the video will be broken; exchange the two models",
            )
        ]
    slot = crossed[0]
    return [
        Note(
            "experts_swapped",
            f"the {slot}-noise expert is {names[slot]}, whose name says {says[slot]} noise; the {slot}-noise steps "
            f"may run on the wrong weights; load the {slot}-noise file of the pair there",
        )
    ]


def on_portraits(high: ExpertParams, low: ExpertParams) -> list[Note]:
    """Notes on Stand-In files in each expert: trained for the other expert, by what they say, or the same in both."""
    crossed = [
        Note(
            "other_portrait_file",
            f"the {slot}-noise expert has the Stand-In file of the {OTHER[slot]}-noise expert; load the one for "
            f"{slot} noise there",
        )
        for slot, expert in (("high", high), ("low", low))
        if OTHER[slot] in expert.portraits_for
    ]
    if crossed or not high.portrait_files & low.portrait_files:
        return crossed
    text = "both experts have the same Stand-In file; Wan2.2 has one for each expert"
    return [Note("same_portrait_file", text)]


def on_context_windows(high: bool, low: bool) -> list[Note]:
    """Notes on which experts have context windows."""
    if high == low:
        return []
    with_windows, without = ("high", "low") if high else ("low", "high")
    return [
        Note(
            "context_windows",
            f"only the {with_windows}-noise expert has context windows; the {without}-noise expert runs at full "
            "length and needs far more memory; set context windows on both models",
        )
    ]
