from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from wan_core.adapters.selection import (
    checked_mask,
    parse_blocks,
    require_expert,
    require_guidance,
    require_layout,
    require_one_text,
    require_percents,
    require_pictures,
    require_space,
    require_strength,
    require_vectors,
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
        require_strength("strength", strength)


@pytest.mark.parametrize(("start", "end"), [(0.6, 0.5), (-0.1, 1), (0, 1.1), (math.nan, 1)])
def test_a_bad_range_is_named(start: float, end: float) -> None:
    with pytest.raises(InputError, match=f"start_percent: found {start:g} with end_percent {end:g}; wanted 0 <= start"):
        require_percents(start, end)


@pytest.mark.parametrize(
    ("require", "values"),
    [
        (require_strength, ("strength", 0)),
        (require_strength, ("strength", 2.0)),
        (require_percents, (0.5, 0.5)),
        (require_width, (96, 96)),
    ],
)
def test_sound_values_pass(require: Callable[..., None], values: tuple[object, ...]) -> None:
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


def test_an_adapter_that_names_no_recogniser_takes_only_the_family_of_lynx() -> None:
    with pytest.raises(InputError, match=r"recogniser mine.onnx \(family iResNet\); wanted .* family IR-SE"):
        require_space(None, family="iResNet", name="mine.onnx", sha256="ab" * 32)


def test_an_adapter_that_names_its_recogniser_takes_it_whatever_its_family() -> None:
    require_space("ab" * 32, family="iResNet", name="mine.onnx", sha256="ab" * 32)


# What the parts of an adapter need

EVERYTHING = {
    "needs_portrait": True,
    "needs_reference": True,
    "has_portrait": True,
    "has_reference": True,
    "has_vae": True,
    "has_text": True,
}
LACKING = {
    "identity: found an identity without a portrait; wanted one with a portrait, for Stand-In": {"has_portrait": False},
    "identity: found an identity of crops that were aligned already; wanted one with a wider crop": {
        "has_reference": False
    },
    "vae: found nothing; wanted the model's VAE": {"has_vae": False},
    "ref_text: found nothing; wanted a text for the reference layers": {"has_text": False},
}


@pytest.mark.parametrize(("message", "change"), LACKING.items())
def test_what_pictures_need_is_asked_for(message: str, change: dict[str, bool]) -> None:
    with pytest.raises(InputError) as caught:
        require_pictures(**EVERYTHING | change)
    assert message in str(caught.value)


def test_nothing_is_asked_for_that_is_there_or_not_needed() -> None:
    require_pictures(**EVERYTHING)
    require_pictures(**dict.fromkeys(EVERYTHING, False))


def test_an_identity_without_a_face_is_refused() -> None:
    require_vectors(1)
    with pytest.raises(InputError, match="identity: found an identity without vectors; wanted one with vectors"):
        require_vectors(0)


def test_one_text_is_taken_and_several_are_refused() -> None:
    one, two = torch.ones(1, 7, 64), torch.ones(2, 7, 64)
    assert require_one_text([[one, {}]]) is one
    for several in ([[one, {}], [one, {}]], [[two, {}]]):
        with pytest.raises(InputError, match="ref_text: found several texts; wanted one"):
            require_one_text(several)


@pytest.mark.parametrize(("trained_for", "model_name"), [("high", "high"), ("high", None), (None, "low"), (None, None)])
def test_a_portrait_file_fits_its_expert_and_models_that_do_not_say(
    trained_for: str | None, model_name: str | None
) -> None:
    require_expert(trained_for, model_name)


def test_a_portrait_file_of_the_other_expert_is_refused() -> None:
    with pytest.raises(InputError, match="the Stand-In file of the high-noise expert on the low-noise model; wanted"):
        require_expert("high", "low")


def test_a_model_that_arranges_its_tokens_anew_is_refused_for_places() -> None:
    require_layout("SCAILWanModel", is_plain=False, needs=[])
    require_layout("WanModel", is_plain=True, needs=["masks"])
    with pytest.raises(InputError, match="a SCAILWanModel, .*; wanted a plain Wan model for masks and ref_layers"):
        require_layout("SCAILWanModel", is_plain=False, needs=["masks", "ref_layers"])


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
def test_a_bad_guidance_scale_is_named(scale: float) -> None:
    with pytest.raises(InputError, match=f"identity_guidance: found {scale}; wanted a finite number of 0 or more"):
        require_guidance(scale, differs_by_prompt=True)


def test_guidance_needs_a_negative_side_without_the_person() -> None:
    require_guidance(0.0, differs_by_prompt=False)
    require_guidance(2.0, differs_by_prompt=True)
    with pytest.raises(InputError, match="identity_guidance: found 2 with the person on both prompts; wanted"):
        require_guidance(2.0, differs_by_prompt=False)


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ("text", "str"),
        (torch.ones(4, 4), r"a tensor of shape \(4, 4\)"),
        (torch.ones(0, 4, 4), r"a tensor of shape \(0, 4, 4\)"),
        (torch.full((1, 4, 4), math.nan), "values outside of 0 to 1"),
        (torch.full((1, 4, 4), 1.1), "values outside of 0 to 1"),
        (torch.full((1, 4, 4), -0.1), "values outside of 0 to 1"),
    ],
)
def test_a_bad_mask_is_named(mask: object, found: str) -> None:
    with pytest.raises(InputError, match=f"mask: found {found}"):
        checked_mask(mask)


def test_a_sound_mask_passes_and_rounding_is_cut_off() -> None:
    mask = torch.rand(3, 4, 4)
    assert torch.equal(checked_mask(mask), mask)
    assert torch.equal(checked_mask(torch.full((1, 1, 1), 1.0000002)), torch.ones(1, 1, 1))
