"""What comes through sockets and widgets is checked, and refused word for word."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from wan_core.checks import (
    TEXT_FIX,
    checked_count,
    checked_number,
    is_audio,
    is_latent,
    is_plain_tensor,
    kind_of,
    require_choice,
    require_conditioning,
    require_text,
)
from wan_core.errors import InputError, quoted

TEXT_D = 64
TEXT = torch.zeros(1, 7, TEXT_D)  # b n d


def refusal_of(check: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        check()
    return str(refused.value)


@pytest.mark.parametrize(("value", "words"), [([], "0 items"), ((1, 2), "2 items"), (None, "NoneType"), ("a", "str")])
def test_a_value_is_said_in_words(value: object, words: str) -> None:
    assert kind_of(value) == words


@pytest.mark.parametrize(
    ("strange", "words"),
    [
        (torch.eye(2).to_sparse(), "torch.float32, torch.sparse_coo, on cpu"),
        (torch.eye(2, device="meta"), "torch.float32, torch.strided, on meta"),
        (torch.eye(2).to(torch.float8_e5m2), "torch.float8_e5m2, torch.strided, on cpu"),
        (torch.eye(2, dtype=torch.complex64), "torch.complex64, torch.strided, on cpu"),
    ],
)
def test_a_tensor_that_nothing_computes_with_is_none_for_a_socket(strange: torch.Tensor, words: str) -> None:
    assert is_plain_tensor(TEXT) and is_latent({"samples": TEXT}) and is_audio({"waveform": TEXT, "sample_rate": 1})
    latents: list[object] = [{"samples": strange}, {"samples": TEXT, "noise_mask": strange}]
    assert not is_plain_tensor(strange) and not any(map(is_latent, latents))
    assert not is_audio({"waveform": strange, "sample_rate": 1})
    assert [kind_of(strange), *map(kind_of, latents)] == [
        f"a tensor of {words}",
        *[f"dict with a tensor of {words}"] * 2,
    ]


@pytest.mark.parametrize("value", ["Strict", "", None, 0, ["latch"], np.array(["latch", "strict"]), "\ud800"])
def test_one_of_the_choices_passes_and_anything_else_is_refused(value: object) -> None:
    require_choice("latch", ("strict", "latch"), name="policy")
    assert refusal_of(lambda: require_choice(value, ("strict", "latch"), name="policy")) == (
        f"policy: found {quoted(value)}; wanted one of strict, latch. Pick one in the node."
    )


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, True, "half", None])
def test_a_number_outside_its_range_is_refused(value: object) -> None:
    assert refusal_of(lambda: checked_number(value, 0.0, 1.0, name="switch.sigma")) == (
        f"switch.sigma: found {quoted(value)}; wanted a number from 0 to 1. Set it in the node."
    )


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, np.float32(1)])
def test_a_number_in_its_range_is_handed_on(value: float) -> None:
    assert checked_number(value, 0.0, 1.0, name="switch.sigma") == value


@pytest.mark.parametrize("value", [0, -1, 9, 1.5, True, "2", None])
def test_a_count_outside_its_range_is_refused(value: object) -> None:
    assert [checked_count(count, 8, name="frames") for count in (1, np.int64(8))] == [1, 8]
    assert refusal_of(lambda: checked_count(value, 8, name="frames")) == (
        f"frames: found {quoted(value)}; wanted a whole number from 1 to 8. Set it in the node."
    )


@pytest.mark.parametrize("value", ["a\udfff", "\ud800", None, 1, ["a"]])
def test_text_that_cannot_be_saved_is_refused(value: object) -> None:
    require_text("two lines\n\U0001f600", name="blocks")
    assert refusal_of(lambda: require_text(value, name="blocks")) == (
        f"blocks: found {quoted(value)}; wanted text. Write it in the node."
    )


FINITE, ENTRIES = "finite values. Load the text encoder again.", f"[text, settings] entries. {TEXT_FIX}"
SHAPED = f"[batch, tokens, 64] for this model. {TEXT_FIX}"


@pytest.mark.parametrize(
    ("conditioning", "found", "wanted"),
    [
        (None, "NoneType", f"CONDITIONING. {TEXT_FIX}"),
        ("text", "str", f"CONDITIONING. {TEXT_FIX}"),
        ([], "0 items", f"CONDITIONING. {TEXT_FIX}"),
        ([[torch.zeros(1, 7, 11), {}]], "text of shape [1, 7, 11]", SHAPED),
        ([[torch.zeros(7, TEXT_D), {}]], "text of shape [7, 64]", SHAPED),
        ([[torch.full((1, 7, TEXT_D), torch.nan), {}]], "NaN or infinite text values", FINITE),
        ([[TEXT, {}], [torch.full((1, 7, TEXT_D), torch.inf), {}]], "NaN or infinite text values", FINITE),
        ([1], "an entry that is int", ENTRIES),
        ([[]], "an entry that is 0 items", ENTRIES),
        ([[TEXT]], "an entry that is 1 items", ENTRIES),
        ([[None, {}]], "an entry that is 2 items", ENTRIES),
        ([["text", {}]], "an entry that is 2 items", ENTRIES),
    ],
)
def test_conditioning_that_the_model_cannot_read_is_refused(conditioning: object, found: str, wanted: str) -> None:
    message = refusal_of(lambda: require_conditioning(conditioning, TEXT_D, name="positive"))
    assert message == f"positive: found {found}; wanted {wanted}"


@pytest.mark.parametrize("text", [TEXT, torch.zeros(2, 512, TEXT_D)])
def test_readable_conditioning_passes(text: torch.Tensor) -> None:
    assert require_conditioning([[text, {}]], TEXT_D, name="positive") is None
