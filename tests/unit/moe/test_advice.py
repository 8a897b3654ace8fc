"""Notes warn of what is probably not meant, and of nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.moe.small_runs import PARAMS, TEXTS
from wan_core.moe import ExpertParams
from wan_core.moe.advice import notes_on_run, on_distilled, on_files, on_schedule
from wan_core.moe.conditions import PICTURE
from wan_core.moe.schedule import aligned_sigmas, even_sigmas
from wan_core.moe.split import split_schedule
from wan_core.notes import Note
from wan_core.weights import level_in_name

Schedule = Callable[[int, float], list[float]]  # steps and shift -> sigmas


def codes_of(notes: Sequence[Note]) -> list[str]:
    assert all("\n" not in note.text for note in notes)
    return [note.code for note in notes]


# Schedules of the host, written out for a flow model with a table of 1000 sigmas


def shift_of(u: float, shift: float) -> float:
    return shift * u / (1 + (shift - 1) * u)


def simple(n: int, shift: float) -> list[float]:
    return [*(shift_of((1000 - int(i * (1000 / n))) / 1000, shift) for i in range(n)), 0.0]


def beta(n: int, shift: float) -> list[float]:
    """Quantiles of the beta distribution of 0.6 and 0.6, integrated over an angle."""
    angle = np.linspace(0.0, math.pi / 2, 20001)
    density = (np.sin(angle) * np.cos(angle)) ** 0.2
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    places = np.interp(1 - np.arange(n) / n, below / below[-1], np.sin(angle) ** 2)
    rows = dict.fromkeys(int(round(place * 999)) for place in places.tolist())
    return [*(shift_of((row + 1) / 1000, shift) for row in rows), 0.0]


def linear_quadratic(n: int, shift: float) -> list[float]:
    slow, fast = n // 2, n - n // 2
    rise = slow - 0.025 * n
    quadratic, linear = rise / (slow * fast**2), 0.025 / slow - 2 * rise / fast**2
    done = [i * 0.025 / slow for i in range(slow)]
    done += [quadratic * i**2 + linear * i + quadratic * slow**2 for i in range(slow, n)]
    return [*(1.0 - part for part in done), 0.0]


def karras(n: int, shift: float) -> list[float]:
    low = shift_of(0.001, shift) ** (1 / 7)
    return [*((1.0 + i / (n - 1) * (low - 1.0)) ** 7 for i in range(n)), 0.0]


def exponential(n: int, shift: float) -> list[float]:
    return [*(shift_of(0.001, shift) ** (i / (n - 1)) for i in range(n)), 0.0]


def kl_optimal(n: int, shift: float) -> list[float]:
    low, high = math.atan(shift_of(0.001, shift)), math.atan(1.0)
    return [*(math.tan(high + i / (n - 1) * (low - high)) for i in range(n)), 0.0]


FLOW_SCHEDULES = [simple, beta, linear_quadratic]
DEGENERATE = {karras: 1, exponential: 1, kl_optimal: 2}  # high steps of 20 with shift 8


# Schedule


def on(
    sigmas: Sequence[float], boundary: float = 0.875, shift: float = 8.0, discarder: str | None = None
) -> list[Note]:
    return on_schedule(sigmas, split_schedule(sigmas, boundary), shift, discarder)


@pytest.mark.parametrize("boundary", [0.875, 0.9])
@pytest.mark.parametrize("schedule", DEGENERATE)
def test_a_schedule_that_is_not_for_flow_models_is_noted(schedule: Schedule, boundary: float) -> None:
    sigmas = schedule(20, 8.0)
    assert split_schedule(sigmas, boundary).high_steps == DEGENERATE[schedule]
    assert codes_of(on(sigmas, boundary)) == ["degenerate_schedule"]


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 12.0])
@pytest.mark.parametrize("schedule", FLOW_SCHEDULES)
def test_a_schedule_for_flow_models_is_not_noted(schedule: Schedule, shift: float) -> None:
    for steps in range(4, 41):
        sigmas = schedule(steps, shift)
        without_penultimate = [*sigmas[:-2], sigmas[-1]]  # as the host does for dpm_2 and uni_pc
        for part in (sigmas, without_penultimate, sigmas[: steps // 2 + 1], sigmas[steps // 2 :]):
            for boundary in (0.875, 0.9, 0.947):
                notes = on(part, boundary, shift)
                assert "degenerate_schedule" not in codes_of(notes), (steps, boundary, notes)


KARRAS = (
    "the high-noise expert takes 1 of 20 steps, an even schedule of shift 8 gives it 11; motion and layout will be "
    "coarse; unless you want that, set scheduler to simple and let it run to the end (karras, exponential and "
    "kl_optimal are not made for flow models)"
)
ONE_BIG_STEP = "the low-noise expert takes 1 of 23 steps, an even schedule of shift 8 gives it 11; fine detail will be "
ALL_HIGH = (
    "all 2 steps are on the high-noise expert, because the boundary (sigma 0.875) lies below all of them (sigma 1 to "
    "0.95); the low-noise expert is not used; to use both, change switch, the range of the steps or their number"
)
ALL_LOW = (
    "all 2 steps are on the low-noise expert, because the boundary (sigma 0.875) lies above all of them (sigma 0.8 to "
    "0.4); the high-noise expert is not used; "
)


@pytest.mark.parametrize(
    ("sigmas", "code", "text"),
    [
        (karras(20, 8.0), "degenerate_schedule", KARRAS),
        ([*simple(40, 8.0)[:23], 0.0], "degenerate_schedule", ONE_BIG_STEP),
        ([1.0, 0.95, 0.9], "one_expert", ALL_HIGH),
        ([0.8, 0.4, 0.0], "one_expert", ALL_LOW),
    ],
)
def test_a_note_on_the_schedule_says_what_is_so_and_what_to_do(sigmas: list[float], code: str, text: str) -> None:
    (note,) = on(sigmas)
    assert note.code == code
    assert note.text.startswith(text)


def test_a_sampler_that_loses_the_only_low_step_is_named() -> None:
    lost = "; a schedule that is made for uni_pc_bh2 lacks its last sigma but one"
    schedules = [1.0, 0.95, 0.0], [1.0, 0.95, 0.9], [0.8, 0.4, 0.0]
    notes = [note for sigmas in schedules for note in on(sigmas, discarder="uni_pc_bh2")]
    assert [note.text.endswith(lost) for note in notes] == [True, False, False]


@pytest.mark.parametrize(("boundary", "side"), [(math.inf, "above"), (0.0, "below")])
def test_a_switch_at_an_end_is_a_run_of_one_expert_without_a_boundary_to_name(boundary: float, side: str) -> None:
    (note,) = on(simple(20, 8.0), boundary)
    assert f"because the boundary lies {side} all of them (sigma 1 to " in note.text


@pytest.mark.parametrize(("high_steps", "low_steps", "count"), [(2, 9, 0), (2, 10, 1), (16, 1, 0), (17, 1, 1)])
def test_a_note_begins_at_a_third_of_the_high_and_an_eighth_of_the_low_share(
    high_steps: int, low_steps: int, count: int
) -> None:
    sigmas = aligned_sigmas(high_steps, low_steps, 0.875, 8.0)  # even shares 8/15 and 7/15, so from 0.178 and 0.058
    assert len(on(sigmas)) == count


STOPS_SOON_AFTER_THE_SWITCH = even_sigmas(40, 8.0)[:24]
STARTS_A_LITTLE_LATER = [0.99, 0.95, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]  # a third of 0.587, not of 0.632


@pytest.mark.parametrize(
    ("sigmas", "shift", "counts"), [(STOPS_SOON_AFTER_THE_SWITCH, 8.0, (22, 1)), (STARTS_A_LITTLE_LATER, 12.0, (2, 8))]
)
def test_a_run_is_measured_by_its_own_range(sigmas: list[float], shift: float, counts: tuple[int, int]) -> None:
    split = split_schedule(sigmas, 0.875)
    assert (split.high_steps, split.low_steps) == counts
    assert on_schedule(sigmas, split, shift, None) == []


@pytest.mark.parametrize(("steps", "start", "count"), [(4, 1.0, 0), (5, 1.0, 1), (20, 0.98, 0), (20, 0.99, 1)])
def test_few_steps_or_a_partly_denoised_start_say_nothing(steps: int, start: float, count: int) -> None:
    sigmas = [start, *(0.8 * sigma for sigma in karras(steps, 100.0)[1:])]  # one high step
    assert len(on(sigmas, shift=100.0)) == count


@pytest.mark.parametrize("sigmas", [[0.99, 0.95, 0.6, 0.4, 0.2, 0.99], [1.0, 0.2, 0.1, 0.05, 0.9, 1.0]])
def test_a_schedule_that_rises_is_no_error(sigmas: list[float]) -> None:
    assert len(on(sigmas)) <= 1


# Distilled LoRAs


@pytest.mark.parametrize("schedule", [even_sigmas, simple])
def test_few_steps_of_shift_five_are_right_for_distilled_loras_and_others_are_noted(schedule: Schedule) -> None:
    for steps in range(2, 9):
        for shift in (1.0, 3.0, 5.0, 8.0, 12.0):
            codes = codes_of(on_distilled(schedule(steps, shift), 1.0, 1.0, None))
            assert codes == ([] if shift == 5.0 else ["distilled_shift"])
            longer = schedule(steps + 1, shift)  # as the host makes a schedule for uni_pc
            codes = codes_of(on_distilled([*longer[:-2], longer[-1]], 1.0, 1.0, "uni_pc"))
            assert codes == (["discarded_sigma"] if shift == 5.0 else ["distilled_shift"])


SET = "; set the shift to 5 and scheduler to simple"
CUT = (
    "; for dpm_2 the host makes a schedule of 5 steps and leaves its last sigma but one out; take another sampler, "
    "euler for example, or give this one sigmas from Basic Scheduler"
)


@pytest.mark.parametrize(
    ("sigmas", "discarder", "timestep", "advice"),
    [
        (even_sigmas(4, 8.0), None, "727.3", SET),
        ([*even_sigmas(5, 5.0)[:-2], 0.0], "dpm_2", "769.2", CUT),
        ([*even_sigmas(5, 8.0)[:-2], 0.0], "dpm_2", "842.1", SET + CUT),
    ],
)
def test_the_note_names_the_furthest_step_and_all_that_is_to_be_changed(
    sigmas: list[float], discarder: str | None, timestep: str, advice: str
) -> None:
    (note,) = on_distilled(sigmas, 1.0, 1.0, discarder)
    assert note.text == (
        f"4 steps at cfg 1 look like a distilled (Lightning) LoRA, but step 4 is at timestep {timestep} and such LoRAs "
        f"are trained at 625.0; motion and detail will suffer{advice}"
    )


@pytest.mark.parametrize(("off", "count"), [(0.019, 0), (-0.019, 0), (0.021, 1), (-0.021, 1)])
def test_the_trained_levels_are_met_within_two_hundredths(off: float, count: int) -> None:
    sigmas = even_sigmas(4, 5.0)
    sigmas[2] += off
    assert len(on_distilled(sigmas, 1.0, 1.0, "uni_pc")) == count


GUIDED = [(3.5, 1.0), (1.0, 3.5), (None, 1.0), (1.0, None)]
NOT_DISTILLED = {
    "nine steps": (simple(9, 8.0), [(1.0, 1.0)]),
    "a late start": (simple(4, 8.0)[1:], [(1.0, 1.0)]),
    "noise left": (simple(4, 8.0)[:-1], [(1.0, 1.0)]),
    "guided, or not known": (simple(4, 8.0), GUIDED),
}


@pytest.mark.parametrize("case", NOT_DISTILLED)
def test_what_does_not_look_distilled_is_not_noted(case: str) -> None:
    sigmas, cfgs = NOT_DISTILLED[case]
    assert [on_distilled(sigmas, *pair, "uni_pc") for pair in cfgs] == [[]] * len(cfgs)


# Files

HIGH_FILE = "models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LOW_FILE = "models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"
IN_THEIR_SLOTS = [
    (HIGH_FILE, LOW_FILE),
    (None, None),
    (HIGH_FILE, None),
    (None, LOW_FILE),
    ("wan2.1_t2v_14B.safetensors", "wan2.1_t2v_14B.safetensors"),
]


def of_file(file: str | None) -> ExpertParams:
    return replace(PARAMS, file=file, level=level_in_name(file))


def test_files_in_their_slots_or_without_a_level_are_not_noted() -> None:
    assert [pair for pair in IN_THEIR_SLOTS if on_files(*map(of_file, pair))] == []


def test_a_file_whose_weights_were_replaced_says_nothing() -> None:
    low = replace(of_file(HIGH_FILE), level=None)
    assert on_files(of_file(HIGH_FILE), low) == on_files(low, low) == []


BOTH_SWAPPED = (
    "the files look swapped: the high-noise expert is {0} and the low-noise expert is {1}; the video will be broken; "
    "exchange the two models"
)
HIGH_SWAPPED = (
    "the high-noise expert is {0}, whose name says low noise; the high-noise steps may run on the wrong weights; load "
    "the high-noise file of the pair there"
)
LOW_SWAPPED = (
    "the low-noise expert is {1}, whose name says high noise; the low-noise steps may run on the wrong weights; load "
    "the low-noise file of the pair there"
)
SAME_FILE = (
    "both experts are {2}, whose name says {0} noise; the {1}-noise steps run on the wrong weights; load the {1}-noise "
    "file of the pair there"
)


@pytest.mark.parametrize(
    ("high", "low", "text"),
    [
        (LOW_FILE, HIGH_FILE, BOTH_SWAPPED),
        (LOW_FILE, None, HIGH_SWAPPED),
        (LOW_FILE, LOW_FILE + ".2.low", HIGH_SWAPPED),
        ("wan.safetensors", HIGH_FILE, LOW_SWAPPED),
        ("a/high.gguf", "b/high.gguf", LOW_SWAPPED),
        (HIGH_FILE, HIGH_FILE, SAME_FILE.format("high", "low", "{0}")),
        (LOW_FILE, LOW_FILE, SAME_FILE.format("low", "high", "{0}")),
    ],
)
def test_files_in_the_wrong_slots_are_named(high: str | None, low: str | None, text: str) -> None:
    names = (repr((file or "").split("/")[-1]) for file in (high, low))
    code = "same_file" if high == low else "experts_swapped"
    assert on_files(of_file(high), of_file(low)) == [Note(code, text.format(*names))]


# All of a run

HIGH, LOW = replace(of_file(HIGH_FILE), cfg=4.0), replace(of_file(LOW_FILE), cfg=3.0)
FEW = even_sigmas(4, 8.0)


def notes(
    high: ExpertParams = HIGH, low: ExpertParams = LOW, sigmas: Sequence[float] = FEW, boundary_sigma: float = 0.875
) -> tuple[Note, ...]:
    return notes_on_run((high, low), sigmas, boundary_sigma, None)


@pytest.mark.parametrize("cfgs", [(None, 1.0), (4.0, 3.0), (1.0, 1.0)])
@pytest.mark.parametrize("sigmas", [even_sigmas(20, 8.0), even_sigmas(4, 5.0)], ids=["full", "distilled"])
def test_a_usual_run_has_no_notes(sigmas: list[float], cfgs: tuple[float | None, float | None]) -> None:
    assert notes(replace(HIGH, cfg=cfgs[0]), replace(LOW, cfg=cfgs[1]), sigmas) == ()


OTHER_PORTRAIT = "the {0}-noise expert has the Stand-In file of the {1}-noise expert; load the one for {0} noise there"
SAME_PORTRAIT = "both experts have the same Stand-In file; Wan2.2 has one for each expert"
OTHER_SHIFT = "model_low has another shift; the schedule is that of model_high"
WINDOWS = (
    "only the {}-noise expert has context windows; the {}-noise expert runs at full length and needs far more memory; "
    "set context windows on both models"
)
FOR_HIGH, FOR_LOW = {"portraits_for": {"high"}}, {"portraits_for": {"low"}}
ONE, TWO = {"portrait_files": {"one"}}, {"portrait_files": {"two"}}
WINDOWED = {"has_context_windows": True}


@pytest.mark.parametrize(
    ("high", "low", "code", "texts"),
    [
        ({}, {}, "", []),
        ({"file": None} | WINDOWED, {"file": None} | WINDOWED, "", []),
        ({}, {"shift": 5.0}, "other_shift", [OTHER_SHIFT]),
        (WINDOWED, {}, "context_windows", [WINDOWS.format("high", "low")]),
        ({}, WINDOWED, "context_windows", [WINDOWS.format("low", "high")]),
        (FOR_HIGH, FOR_LOW, "", []),
        (FOR_LOW, FOR_LOW, "other_portrait_file", [OTHER_PORTRAIT.format("high", "low")]),
        (FOR_HIGH, FOR_HIGH, "other_portrait_file", [OTHER_PORTRAIT.format("low", "high")]),
        (
            FOR_LOW | ONE,
            FOR_HIGH | ONE,
            "other_portrait_file",
            [OTHER_PORTRAIT.format("high", "low"), OTHER_PORTRAIT.format("low", "high")],
        ),
        (ONE, {"portrait_files": {"two", "one"}}, "same_portrait_file", [SAME_PORTRAIT]),
        (ONE, TWO, "", []),
    ],
)
def test_what_differs_between_the_experts_is_noted(
    high: dict[str, object], low: dict[str, object], code: str, texts: list[str]
) -> None:
    assert notes(replace(HIGH, **high), replace(LOW, **low)) == tuple(Note(code, text) for text in texts)


def test_the_share_of_steps_is_measured_by_the_shift_of_the_high_expert() -> None:
    few_high = even_sigmas(20, 1.0)  # 3 high steps of 20; shift 8 would give 11
    assert codes_of(notes(replace(HIGH, shift=1.0), LOW, few_high)) == ["other_shift"]
    assert codes_of(notes(HIGH, replace(LOW, shift=1.0), few_high)) == ["other_shift", "degenerate_schedule"]


def test_a_run_with_everything_wrong_has_every_note_in_order() -> None:
    high = replace(of_file(LOW_FILE), has_context_windows=True, cfg=1.0, conditions=TEXTS, reads=frozenset({PICTURE}))
    low = replace(of_file(HIGH_FILE), shift=5.0, cfg=1.0)
    sigmas = [1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.0]
    wanted = ["experts_swapped", "other_shift", "degenerate_schedule", "distilled_shift", "context_windows"]
    assert codes_of(notes(high, low, sigmas)) == [*wanted, "no_picture"]
    assert codes_of(notes(high, low, sigmas, 0.0))[2] == "one_expert"


def test_a_third_expert_is_compared_with_the_low_one_and_nothing_is_said_twice() -> None:
    start, low = replace(HIGH, has_context_windows=True), replace(LOW, shift=5.0)
    found = notes_on_run((start, HIGH, low), even_sigmas(20, 8.0), 0.875, None)
    assert codes_of(found) == ["other_shift", "context_windows"]
