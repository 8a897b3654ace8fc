"""Notes warn of what is probably not meant, and of nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from wan_core.moe.notes import on_context_windows, on_distilled, on_files, on_portraits, on_schedule, on_shifts
from wan_core.moe.schedule import aligned_sigmas, even_sigmas
from wan_core.moe.split import boundary_after_step, split_schedule
from wan_core.notes import Note

BOUNDARIES = [0.875, 0.9, 0.947]
Schedule = Callable[[int, float], list[float]]  # steps and shift -> sigmas


def codes_of(notes: list[Note]) -> list[str]:
    assert all("\n" not in note.text for note in notes)
    return [note.code for note in notes]


# The host's schedules, written out for a flow model with a table of 1000 sigmas


def shift_of(u: float, shift: float) -> float:
    return shift * u / (1 + (shift - 1) * u)


def simple(n: int, shift: float) -> list[float]:
    return [*(shift_of((1000 - int(i * (1000 / n))) / 1000, shift) for i in range(n)), 0.0]


def ddim_uniform(n: int, shift: float) -> list[float]:
    return [0.0, *(shift_of((i + 1) / 1000, shift) for i in range(1, 1000, 1000 // n))][::-1]


def normal(n: int, shift: float) -> list[float]:
    """Evenly spaced sigmas that the host shifts a second time."""
    return [*(shift_of(sigma, shift) for sigma in np.linspace(1.0, shift_of(0.001, shift), n).tolist()), 0.0]


def sgm_uniform(n: int, shift: float) -> list[float]:
    sigmas = np.linspace(1.0, shift_of(0.001, shift), n + 1).tolist()[:-1]
    return [*(shift_of(sigma, shift) for sigma in sigmas), 0.0]


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


FLOW_SCHEDULES = [simple, sgm_uniform, normal, beta, ddim_uniform, linear_quadratic]
DEGENERATE = {karras: 1, exponential: 1, kl_optimal: 2}  # high steps of 20 with shift 8


# Schedule


@pytest.mark.parametrize("boundary", [0.875, 0.9])
@pytest.mark.parametrize("schedule", DEGENERATE)
def test_a_schedule_that_is_not_for_flow_models_is_noted(schedule: Schedule, boundary: float) -> None:
    sigmas = schedule(20, 8.0)
    split = split_schedule(sigmas, boundary)
    assert split.high_steps == DEGENERATE[schedule]
    assert codes_of(on_schedule(sigmas, split, 8.0)) == ["degenerate_schedule"]


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 12.0])
@pytest.mark.parametrize("schedule", FLOW_SCHEDULES)
def test_a_schedule_for_flow_models_is_not_noted(schedule: Schedule, shift: float) -> None:
    for steps in range(4, 41):
        sigmas = schedule(steps, shift)
        without_penultimate = [*sigmas[:-2], sigmas[-1]]  # as the host does for dpm_2 and uni_pc
        half = sigmas[: steps // 2 + 1]
        second_half = sigmas[steps // 2 :]
        for part in (sigmas, without_penultimate, half, second_half):
            for boundary in BOUNDARIES:
                notes = on_schedule(part, split_schedule(part, boundary), shift)
                assert "degenerate_schedule" not in codes_of(notes), (steps, boundary, notes)


def test_the_note_names_the_expert_the_count_and_the_even_count() -> None:
    sigmas = karras(20, 8.0)
    (note,) = on_schedule(sigmas, split_schedule(sigmas, 0.875), 8.0)
    assert note.text.startswith(
        "the high-noise expert takes 1 of 20 steps, an even schedule of shift 8 gives it 11; motion and layout will"
    )
    assert "set scheduler to simple" in note.text


def test_a_run_that_leaves_one_big_step_to_the_low_expert_is_noted() -> None:
    sigmas = [*simple(40, 8.0)[:23], 0.0]
    (note,) = on_schedule(sigmas, split_schedule(sigmas, 0.875), 8.0)
    assert note.code == "degenerate_schedule"
    assert note.text.startswith("the low-noise expert takes 1 of 23 steps, an even schedule of shift 8 gives it 11")


@pytest.mark.parametrize(("high_steps", "low_steps", "count"), [(2, 9, 0), (2, 10, 1), (16, 1, 0), (17, 1, 1)])
def test_a_note_begins_at_a_third_of_the_high_and_an_eighth_of_the_low_share(
    high_steps: int, low_steps: int, count: int
) -> None:
    sigmas = aligned_sigmas(high_steps, low_steps, 0.875, 8.0)  # even shares 8/15 and 7/15, so from 0.178 and 0.058
    assert len(on_schedule(sigmas, split_schedule(sigmas, 0.875), 8.0)) == count


def test_a_run_that_stops_soon_after_the_switch_is_measured_by_its_own_range() -> None:
    sigmas = even_sigmas(40, 8.0)[:24]
    split = split_schedule(sigmas, 0.875)
    assert (split.high_steps, split.low_steps) == (22, 1)
    assert on_schedule(sigmas, split, 8.0) == []


@pytest.mark.parametrize(("steps", "start", "count"), [(4, 1.0, 0), (5, 1.0, 1), (20, 0.98, 0), (20, 0.99, 1)])
def test_few_steps_or_a_partly_denoised_start_say_nothing(steps: int, start: float, count: int) -> None:
    sigmas = [start, *(0.8 * sigma for sigma in karras(steps, 100.0)[1:])]  # one high step
    assert len(on_schedule(sigmas, split_schedule(sigmas, 0.875), 100.0)) == count


def test_a_run_that_starts_a_little_later_is_measured_by_its_own_range() -> None:
    sigmas = [0.99, 0.95, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    split = split_schedule(sigmas, 0.875)
    assert (split.high_steps, split.low_steps) == (2, 8)  # 0.2 of the steps; a third of 0.587, not of 0.632
    assert on_schedule(sigmas, split, 12.0) == []


@pytest.mark.parametrize("sigmas", [[0.99, 0.95, 0.6, 0.4, 0.2, 0.99], [1.0, 0.2, 0.1, 0.05, 0.9, 1.0]])
def test_a_schedule_that_rises_is_no_error(sigmas: list[float]) -> None:
    assert len(on_schedule(sigmas, split_schedule(sigmas, 0.875), 8.0)) <= 1


@pytest.mark.parametrize(
    ("sigmas", "boundary", "start"),
    [
        (
            [1.0, 0.95, 0.9],
            0.875,
            "all 2 steps are on the high-noise expert, because the boundary (sigma 0.875) lies below all of them "
            "(sigma 1 to 0.95); the low-noise expert is not used; ",
        ),
        (
            [0.8, 0.4, 0.0],
            0.9,
            "all 2 steps are on the low-noise expert, because the boundary (sigma 0.9) lies above all of them "
            "(sigma 0.8 to 0.4); the high-noise expert is not used; ",
        ),
    ],
)
def test_a_run_of_one_expert_is_noted_with_its_reason(sigmas: list[float], boundary: float, start: str) -> None:
    (note,) = on_schedule(sigmas, split_schedule(sigmas, boundary), 8.0)
    assert note.code == "one_expert"
    assert note.text.startswith(start)


@pytest.mark.parametrize(("step", "side"), [(0, "above"), (20, "below")])
def test_a_switch_at_an_end_is_a_run_of_one_expert_and_no_degenerate_schedule(step: int, side: str) -> None:
    sigmas = simple(20, 8.0)
    (note,) = on_schedule(sigmas, split_schedule(sigmas, boundary_after_step(sigmas, step)), 8.0)
    assert note.code == "one_expert"
    assert f"the boundary lies {side} all of them" in note.text


# Distilled LoRAs


@pytest.mark.parametrize("steps", range(1, 9))
@pytest.mark.parametrize("schedule", [even_sigmas, simple])
def test_few_steps_of_shift_five_are_right_for_distilled_loras(schedule: Schedule, steps: int) -> None:
    assert on_distilled(schedule(steps, 5.0), 1.0, 1.0) == []


@pytest.mark.parametrize("shift", [1.0, 3.0, 8.0, 12.0])
@pytest.mark.parametrize("steps", [2, 4, 6, 8])
def test_few_steps_of_another_shift_are_noted(steps: int, shift: float) -> None:
    assert codes_of(on_distilled(simple(steps, shift), 1.0, 1.0)) == ["distilled_shift"]


def test_the_note_names_the_step_that_is_furthest_off() -> None:
    (note,) = on_distilled(even_sigmas(4, 8.0), 1.0, 1.0)
    assert note.text.startswith(
        "4 steps at cfg 1 look like a distilled (Lightning) LoRA, but step 4 is at timestep 727.3 and such LoRAs are "
        "trained at 625.0; "
    )


@pytest.mark.parametrize(("off", "count"), [(0.019, 0), (-0.019, 0), (0.021, 1), (-0.021, 1)])
def test_the_trained_levels_are_met_within_two_hundredths(off: float, count: int) -> None:
    sigmas = even_sigmas(4, 5.0)
    sigmas[2] += off
    assert len(on_distilled(sigmas, 1.0, 1.0)) == count


@pytest.mark.parametrize(
    ("sigmas", "cfg_high", "cfg_low"),
    [
        (simple(9, 8.0), 1.0, 1.0),
        (simple(4, 8.0), 3.5, 1.0),
        (simple(4, 8.0), 1.0, 3.5),
        (simple(4, 8.0)[1:], 1.0, 1.0),
        (simple(4, 8.0)[:-1], 1.0, 1.0),
    ],
    ids=["nine steps", "cfg on high", "cfg on low", "a late start", "noise left"],
)
def test_what_does_not_look_distilled_is_not_noted(sigmas: list[float], cfg_high: float, cfg_low: float) -> None:
    assert on_distilled(sigmas, cfg_high, cfg_low) == []


# Models

HIGH = "models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
LOW = "models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"


@pytest.mark.parametrize(
    ("high", "low"),
    [
        (HIGH, LOW),
        (None, None),
        (HIGH, None),
        (None, LOW),
        ("wan2.1_t2v_14B.safetensors", "wan2.1_t2v_14B.safetensors"),
        ("Wan2.2-HighNoise-Q4_K_M.gguf", "Wan2.2-LowNoise-Q4_K_M.gguf"),
        ("slow_motion.safetensors", "highres_flow.safetensors"),  # neither word is a word of its own
        ("high_low_merge.safetensors", "low_vram_high_noise.safetensors"),  # both words say nothing
        ("low/model.safetensors", "high/model.safetensors"),  # folders are not read
        ("low8bit.safetensors", "wan-high2.safetensors"),
        (r"low\model.safetensors", r"high\model.safetensors"),
    ],
)
def test_files_in_their_slots_or_without_a_level_are_not_noted(high: str | None, low: str | None) -> None:
    assert on_files(high, low) == []


@pytest.mark.parametrize(
    ("high", "low"),
    [(LOW, HIGH), ("Wan2.2-LowNoise-Q4.gguf", "Wan2.2-HighNoise-Q4.gguf"), ("A14B-LOW.gguf", r"D:\m\A14B-HIGH.gguf")],
)
def test_two_files_in_each_others_slots_look_swapped(high: str, low: str) -> None:
    (note,) = on_files(high, low)
    assert note.code == "experts_swapped"
    assert note.text.startswith("the files look swapped: the high-noise expert is ")


@pytest.mark.parametrize(
    ("high", "low", "slot", "name"),
    [
        (LOW, None, "high", LOW),
        (LOW, "wan.safetensors", "high", LOW),
        (LOW, LOW + ".2.low", "high", LOW),
        (None, HIGH, "low", HIGH),
        ("wan.safetensors", HIGH, "low", HIGH),
        ("a/high.gguf", "b/high.gguf", "low", "high.gguf"),
    ],
)
def test_one_file_in_the_wrong_slot_is_named(high: str | None, low: str | None, slot: str, name: str) -> None:
    (note,) = on_files(high, low)
    assert note.code == "experts_swapped"
    assert note.text.startswith(f"the {slot}-noise expert is {name.split('/')[-1]}, whose name says ")
    assert note.text.endswith(f"load the {slot}-noise file of the pair there")


@pytest.mark.parametrize(("file", "says", "wrong"), [(HIGH, "high", "low"), (LOW, "low", "high")])
def test_one_file_for_both_experts_is_noted_if_its_name_says_a_level(file: str, says: str, wrong: str) -> None:
    (note,) = on_files(file, file)
    assert note.code == "same_file"
    assert f"whose name says {says} noise; the {wrong}-noise steps run on the wrong weights" in note.text


@pytest.mark.parametrize(("high", "low", "without"), [(True, False, "low"), (False, True, "high")])
def test_context_windows_on_one_expert_are_noted(high: bool, low: bool, without: str) -> None:
    (note,) = on_context_windows(high, low)
    assert note.code == "context_windows"
    assert f"the {without}-noise expert runs at full length and needs far more memory" in note.text


@pytest.mark.parametrize("both", [True, False])
def test_context_windows_on_both_or_none_are_not_noted(both: bool) -> None:
    assert on_context_windows(both, both) == []


def test_another_shift_is_noted() -> None:
    text = "model_low has another shift; the schedule is that of model_high"
    assert on_shifts(8.0, 5.0) == on_shifts(5.0, 8.0) == [Note("other_shift", text)]
    assert on_shifts(8.0, 8.0) == []


@pytest.mark.parametrize(
    ("of_high", "of_low", "slots"),
    [
        ({"high"}, {"low"}, []),
        (set(), set(), []),
        ({"low"}, {"low"}, ["high"]),
        ({"high"}, {"high"}, ["low"]),
        ({"low"}, {"high"}, ["high", "low"]),
    ],
)
def test_a_portrait_file_of_the_other_expert_is_noted(of_high: set[str], of_low: set[str], slots: list[str]) -> None:
    notes = on_portraits(of_high, of_low, {"one"}, {"two"})
    assert [note.code for note in notes] == ["other_portrait_file"] * len(slots)
    for note, slot in zip(notes, slots, strict=True):
        other = "low" if slot == "high" else "high"
        assert f"the {slot}-noise expert has the Stand-In file of the {other}-noise expert" in note.text


@pytest.mark.parametrize(
    ("of_low", "is_noted"), [({"one"}, True), ({"two", "one"}, True), ({"two"}, False), (set(), False)]
)
def test_one_portrait_file_in_both_experts_is_noted(of_low: set[str], is_noted: bool) -> None:
    notes = on_portraits(set(), set(), {"one"}, of_low)
    assert [note.code for note in notes] == (["same_portrait_file"] if is_noted else [])
