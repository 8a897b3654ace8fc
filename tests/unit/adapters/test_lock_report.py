"""The report of a lock: what acts, on which prompts, and the memory that it keeps at real sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wan_core.adapters.lock import IpTerm, Lock, RefTerm, StandInTerm
from wan_core.adapters.lock_report import kept_bytes, lock_lines

WIDTH_D = 5120
MODEL = {"width_d": WIDTH_D, "model_blocks": 40}


def network(blocks: int) -> Any:
    return SimpleNamespace(blocks=tuple(range(blocks)))


def ip(blocks: int, tokens: int, *, is_normed_by_model: bool = False) -> IpTerm:
    k = torch.empty(2, tokens, WIDTH_D, device="meta")
    return IpTerm(dict.fromkeys(range(blocks), (k, k)), is_normed_by_model=is_normed_by_model)


REF = RefTerm(network(40), torch.empty(2, 16, 1, 32, 32, device="meta"), torch.empty(1, 512, 4096, device="meta"))
STAND_IN = StandInTerm(network(40), torch.empty(1, 16, 1, 64, 64, device="meta"), expert=None)


def lock(person: str = "a person", **changes: Any) -> Lock:
    parts = {"ip": None, "ref": None, "stand_in": None, "strength": 1.0, "ref_strength": 0.6, "mask": None}
    where = {
        "blocks": frozenset(range(40)),
        "start_percent": 0.0,
        "end_percent": 1.0,
        "frame_weights": (),
        "kept_as": "model's type",
    }
    return Lock(**{"content": ("adapter", person), "apply_to": "auto"} | parts | where | changes)


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({"stand_in": STAND_IN}, 838_860_800),  # 40 blocks, keys and values of 1024 tokens
        ({"ip": ip(20, 16)}, 2 * 6_553_600),  # Lynx lite, of the person and of nobody
        ({"ip": ip(40, 32)}, 2 * 26_214_400),  # Lynx full with its registers
        ({"ref": REF}, 2 * 209_715_200),  # 256 tokens in 40 blocks, of the person and of nobody
    ],
)
def test_the_kept_bytes_are_those_of_real_shapes(parts: dict[str, Any], wanted: int) -> None:
    assert kept_bytes(lock(**parts), WIDTH_D) == wanted


def test_fp8_keeps_half_of_it_and_the_report_says_so() -> None:
    found = lock(stand_in=STAND_IN, kept_as="fp8")
    assert kept_bytes(found, WIDTH_D) == 419_430_400
    assert "keeps 419.4 MB of keys and values in fp8" in lock_lines(found, [found], "Stand-In", **MODEL)


def test_the_report_says_what_acts_and_where() -> None:
    found = lock(stand_in=STAND_IN, ref=REF, start_percent=0.2)
    assert lock_lines(found, [found], "Stand-In + Lynx reference layers", **MODEL) == [
        "Stand-In + Lynx reference layers",
        "acts by portrait with strength 1, reference picture with strength 0.6",
        "in 40 of 40 blocks, from 20% to 100% of the noise schedule",
        "the portrait on both prompts; the person on the positive prompt, nobody on the negative one",
        "keeps 1258.3 MB of keys and values in bf16",
    ]


@pytest.mark.parametrize(
    ("apply_to", "line"),
    [
        ("both", "the person on both prompts"),
        ("positive", "the person on the positive prompt, nothing on the negative one"),
    ],
)
def test_the_report_says_which_prompts_get_the_person(apply_to: str, line: str) -> None:
    found = lock(stand_in=STAND_IN, apply_to=apply_to)
    assert line in lock_lines(found, [found], "Stand-In", **MODEL)


@pytest.mark.parametrize(
    ("second", "is_noted"),
    [
        ({"person": "another"}, True),
        ({}, False),  # the same person twice
        ({"person": "another", "mask": torch.ones(1, 4, 4)}, True),  # the first has none
    ],
)
def test_persons_without_masks_are_noted(second: dict[str, Any], is_noted: bool) -> None:
    locks = [lock(stand_in=STAND_IN), lock(stand_in=STAND_IN, **second)]
    lines = lock_lines(locks[1], locks, "Stand-In", **MODEL)
    assert any(line.startswith("note: several persons without a mask") for line in lines) == is_noted


def test_persons_with_a_mask_each_are_not_noted() -> None:
    mask = torch.ones(1, 4, 4)
    locks = [lock(stand_in=STAND_IN, mask=mask), lock("another", stand_in=STAND_IN, mask=mask)]
    assert len(lock_lines(locks[1], locks, "Stand-In", **MODEL)) == 5


FULL, LITE = ip(40, 32, is_normed_by_model=True), ip(20, 16)


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        ({"stand_in": STAND_IN}, "40 of the 48"),
        ({"ref": REF}, "40 of the 48"),
        ({"ip": FULL}, "40 of the 48"),
        ({"ip": LITE}, "20 of the 24"),  # it acts in every second block
    ],
)
def test_an_adapter_for_fewer_blocks_than_the_model_has_is_noted(parts: dict[str, Any], blocks: str) -> None:
    found = lock(**parts)
    (note,) = lock_lines(found, [found], "half", width_d=WIDTH_D, model_blocks=48)[5:]
    assert note.startswith(f"note: the adapter has weights for {blocks} blocks of this model in which it acts; ")
    assert len(lock_lines(found, [found], "whole", **MODEL)) == 5
