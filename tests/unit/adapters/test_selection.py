from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from wan_core.adapters.selection import (
    parse_blocks,
    require_percents,
    require_space,
    require_strength,
    require_width,
)
from wan_core.errors import InputError

LITE = tuple(range(0, 40, 2))


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("all", set(LITE)),
        (" all ", set(LITE)),
        ("0-5", {0, 2, 4}),
        ("0-5, 10,38", {0, 2, 4, 10, 38}),
        ("4 - 6,4", {4, 6}),
    ],
)
def test_a_range_takes_the_blocks_that_the_adapter_has(text: str, blocks: set[int]) -> None:
    assert parse_blocks(text, adapter_blocks=LITE, model_blocks=40) == blocks


BAD_BLOCKS = {
    'blocks: found no blocks; wanted "all", or numbers': "",
    "blocks: found no blocks; wanted": " , ",
    "blocks: found '5-'; wanted \"all\", or numbers": "5-",
    "blocks: found 'first'": "first",
    "blocks: found '-1'": "-1",
    "blocks: found '1.5'": "1.5",
    "blocks: found '9-3'; wanted a range that counts upwards": "9-3",
    "blocks: found '0-40'; wanted blocks from 0 to 39, as this model has": "0-40",
    "blocks: found '3'; wanted blocks that the adapter has weights for: 0, 2, 4": "0,3",
}


@pytest.mark.parametrize(("message", "text"), BAD_BLOCKS.items())
def test_a_bad_block_list_is_named(message: str, text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_blocks(text, adapter_blocks=LITE, model_blocks=40)
    assert message in str(caught.value)


def test_an_adapter_for_a_deeper_model_is_refused() -> None:
    with pytest.raises(InputError, match="adapter: found weights for block 38; wanted an adapter for this model of 30"):
        parse_blocks("all", adapter_blocks=LITE, model_blocks=30)


@pytest.mark.parametrize("strength", [-0.1, math.nan, math.inf])
def test_a_bad_strength_is_named(strength: float) -> None:
    with pytest.raises(InputError, match=f"strength: found {strength}; wanted a finite number of 0 or more"):
        require_strength(strength)


@pytest.mark.parametrize(("start", "end"), [(0.6, 0.5), (-0.1, 1), (0, 1.1), (math.nan, 1)])
def test_a_bad_range_is_named(start: float, end: float) -> None:
    with pytest.raises(InputError, match=f"start_percent: found {start:g} with end_percent {end:g}; wanted 0 <= start"):
        require_percents(start, end)


@pytest.mark.parametrize(
    ("require", "values"),
    [(require_strength, (0,)), (require_strength, (2.0,)), (require_percents, (0.5, 0.5)), (require_width, (96, 96))],
)
def test_sound_values_pass(require: Callable[..., None], values: tuple[float, ...]) -> None:
    assert require(*values) is None


def test_another_models_adapter_is_refused_with_both_widths() -> None:
    with pytest.raises(InputError, match="adapter for a model of width 5120; wanted one for this model's width 3072"):
        require_width(5120, 3072)


def test_an_identity_of_another_recogniser_is_refused() -> None:
    space = {"family": "IR-SE", "name": "mine.pth", "sha256": "ab" * 32}
    require_space("ab" * 32, **space)
    require_space(None, **space)
    with pytest.raises(InputError) as caught:
        require_space("cd" * 32, **space)
    assert "identity: found an identity of the recogniser mine.pth (SHA-256 abababababab); wanted" in str(caught.value)
    assert "SHA-256 cdcdcdcdcdcd" in str(caught.value)


@pytest.mark.parametrize("trained", [None, "ab" * 32])
def test_an_identity_of_another_family_is_refused_whatever_the_adapter_says(trained: str | None) -> None:
    with pytest.raises(InputError, match=r"recogniser mine.pth \(family IR\); wanted .* family IR-SE"):
        require_space(trained, family="IR", name="mine.pth", sha256="ab" * 32)
