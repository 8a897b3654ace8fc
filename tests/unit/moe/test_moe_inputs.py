"""Whatever a sampling run cannot use is refused by name."""

from __future__ import annotations

import pytest
import torch

from wan_core.checks import checked_number, require_choice, require_conditioning
from wan_core.errors import InputError
from wan_core.moe.inputs import require_latent, require_sigmas
from wan_core.moe.plan import POLICIES

TEXT_D = 64


@pytest.mark.parametrize(
    ("conditioning", "found"),
    [
        (None, "NoneType"),
        ("text", "str"),
        ([], "0 items"),
        ([[torch.zeros(1, 7, 11), {}]], r"text of shape \[1, 7, 11\]"),
        ([[torch.zeros(7, TEXT_D), {}]], r"text of shape \[7, 64\]"),
        ([[torch.full((1, 7, TEXT_D), torch.nan), {}]], "NaN"),
        ([[torch.zeros(1, 7, TEXT_D), {}], [torch.full((1, 7, TEXT_D), torch.inf), {}]], "NaN or infinite"),
    ],
)
def test_conditioning_that_the_model_cannot_read_is_refused(conditioning: object, found: str) -> None:
    with pytest.raises(InputError, match=f"positive: found {found}"):
        require_conditioning(conditioning, TEXT_D, name="positive")


@pytest.mark.parametrize("entry", [1, [], [torch.zeros(1, 7, TEXT_D)], [None, {}], ["text", {}]])
def test_an_entry_that_is_not_text_with_settings_is_refused(entry: object) -> None:
    with pytest.raises(InputError, match="negative: found an entry that is"):
        require_conditioning([entry], TEXT_D, name="negative")


@pytest.mark.parametrize("text", [torch.zeros(1, 7, TEXT_D), torch.zeros(2, 512, TEXT_D)])
def test_readable_conditioning_passes(text: torch.Tensor) -> None:
    assert require_conditioning([[text, {}]], TEXT_D, name="positive") is None


@pytest.mark.parametrize(
    ("latent", "found"), [(None, "NoneType"), ("latent", "str"), ({"noise": 1}, "dict"), ({"samples": [1]}, "dict")]
)
def test_what_is_no_latent_is_refused(latent: object, found: str) -> None:
    with pytest.raises(InputError, match=f"latent_image: found {found}"):
        require_latent(latent)


@pytest.mark.parametrize(
    ("sigmas", "found"),
    [("simple", "str"), ([1.0, 0.0], "2 items"), (torch.zeros(6, 2), r"a tensor of shape \[6, 2\]")],
)
def test_what_is_no_schedule_is_refused(sigmas: object, found: str) -> None:
    with pytest.raises(InputError, match=f"sigmas: found {found}"):
        require_sigmas(sigmas)


@pytest.mark.parametrize(
    ("sigmas", "found"),
    [([], "0 values"), ([1.0], "1 values"), ([14.6, 0.0], "14.6"), ([1.0, float("nan"), 0.0], "nan"), ([-0.1], "1 v")],
)
def test_a_schedule_without_a_step_or_outside_the_flow_is_refused(sigmas: list[float], found: str) -> None:
    with pytest.raises(InputError, match=f"sigmas: found {found}"):
        require_sigmas(torch.tensor(sigmas))


@pytest.mark.parametrize("sigmas", [[1.0, 0.0], [0.3, 0.7, 1.0], [1.0 + 1e-7, 0.5]])
def test_a_schedule_of_a_flow_passes(sigmas: list[float]) -> None:
    assert require_sigmas(torch.tensor(sigmas)) is None


def test_a_noise_mask_without_height_and_width_is_refused() -> None:
    with pytest.raises(InputError, match=r"latent_image: found a noise mask of shape \[8\]"):
        require_latent({"samples": torch.zeros(1, 16, 1, 8, 8), "noise_mask": torch.ones(8)})


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "half", None])
def test_a_number_outside_its_range_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="switch.sigma: found .*; wanted a number from 0 to 1"):
        checked_number(value, 0.0, 1.0, name="switch.sigma")


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.0])
def test_a_number_in_its_range_is_handed_on(value: float) -> None:
    assert checked_number(value, 0.0, 1.0, name="switch.sigma") == value


@pytest.mark.parametrize("policy", POLICIES)
def test_one_of_the_choices_passes(policy: str) -> None:
    assert require_choice(policy, POLICIES, name="policy") is None


@pytest.mark.parametrize(
    ("value", "found"), [("Strict", "'Strict'"), ("", "''"), (None, "None"), (0, "0"), (["latch"], "['latch']")]
)
def test_what_is_none_of_the_choices_is_refused(value: object, found: str) -> None:
    with pytest.raises(InputError) as caught:
        require_choice(value, POLICIES, name="policy")
    assert str(caught.value) == (f"policy: found {found}; wanted one of strict, latch, per_step. Pick one in the node.")
