"""The notes of a run are all that its experts, its schedule and its guidance call for, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wan_core.moe.facts import ExpertFacts, notes_on_run
from wan_core.moe.schedule import even_sigmas
from wan_core.moe.split import split_schedule
from wan_core.notes import Note

BOUNDARY = 0.875
HIGH = ExpertFacts("models/wan2.2_t2v_high_noise_14B.safetensors", 8.0, has_context_windows=False)
LOW = ExpertFacts("models/wan2.2_t2v_low_noise_14B.safetensors", 8.0, has_context_windows=False)
SIGMAS = even_sigmas(20, 8.0)
KARRAS = [*((1.0 + i / 19 * (0.008 ** (1 / 7) - 1.0)) ** 7 for i in range(20)), 0.0]
FEW = even_sigmas(4, 8.0)
CFGS = (4.0, 3.0)


def notes(
    high: ExpertFacts = HIGH,
    low: ExpertFacts = LOW,
    sigmas: list[float] = SIGMAS,
    cfgs: tuple[float | None, float | None] = CFGS,
    boundary_sigma: float = BOUNDARY,
) -> tuple[Note, ...]:
    return notes_on_run(high, low, sigmas, split_schedule(sigmas, boundary_sigma), cfgs)


@pytest.mark.parametrize("cfgs", [(None, 1.0), CFGS, (1.0, 1.0)])
@pytest.mark.parametrize("sigmas", [SIGMAS, even_sigmas(4, 5.0)], ids=["full", "distilled"])
def test_a_usual_run_has_no_notes(sigmas: list[float], cfgs: tuple[float | None, float | None]) -> None:
    assert notes(sigmas=sigmas, cfgs=cfgs) == ()


def test_experts_of_unknown_files_with_the_same_patches_have_no_notes() -> None:
    unknown = ExpertFacts(None, 5.0, has_context_windows=True)
    assert notes(unknown, unknown, even_sigmas(20, 5.0)) == ()


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("experts_swapped", notes(replace(HIGH, file=LOW.file), replace(LOW, file=HIGH.file))),
        ("same_file", notes(replace(HIGH, file=LOW.file))),
        ("other_shift", notes(low=replace(LOW, shift=5.0))),
        ("degenerate_schedule", notes(sigmas=KARRAS)),
        ("one_expert", notes(boundary_sigma=0.0)),
        ("distilled_shift", notes(sigmas=FEW, cfgs=(1.0, 1.0))),
        ("context_windows", notes(HIGH, replace(LOW, has_context_windows=True))),
    ],
)
def test_every_kind_of_note_is_collected(code: str, found: tuple[Note, ...]) -> None:
    assert [note.code for note in found] == [code]


@pytest.mark.parametrize("cfgs", [(None, 1.0), (1.0, None), (1.0, 3.0), (4.0, 1.0)])
def test_few_steps_are_measured_by_a_distilled_schedule_only_where_no_guidance_is_known(
    cfgs: tuple[float | None, float | None],
) -> None:
    assert notes(sigmas=FEW, cfgs=cfgs) == ()


def test_the_share_of_steps_is_measured_by_the_shift_of_the_high_expert() -> None:
    few_high = even_sigmas(20, 1.0)  # 3 high steps of 20; shift 8 would give 11
    assert [note.code for note in notes(replace(HIGH, shift=1.0), LOW, few_high)] == ["other_shift"]
    assert [note.code for note in notes(HIGH, replace(LOW, shift=1.0), few_high)] == [
        "other_shift",
        "degenerate_schedule",
    ]


def test_a_run_with_everything_wrong_has_every_note_in_order() -> None:
    found = notes(
        replace(HIGH, file=LOW.file, has_context_windows=True),
        replace(LOW, file=HIGH.file, shift=5.0),
        [1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.0],
        (1.0, 1.0),
    )
    assert [note.code for note in found] == [
        "experts_swapped",
        "other_shift",
        "degenerate_schedule",
        "distilled_shift",
        "context_windows",
    ]
