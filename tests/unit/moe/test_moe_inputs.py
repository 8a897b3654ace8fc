"""Whatever a sampling run cannot use is refused by name."""

from __future__ import annotations

import pytest
import torch

from wan_core.errors import InputError
from wan_core.moe.inputs import require_conditioning, require_latent, require_sigmas

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


@pytest.mark.parametrize("text", [torch.zeros(1, 7, TEXT_D), torch.zeros(2, 512, TEXT_D), None])
def test_readable_conditioning_passes(text: torch.Tensor | None) -> None:
    assert require_conditioning([[text, {}]], TEXT_D, name="positive") is None


@pytest.mark.parametrize(("latent", "found"), [(None, "NoneType"), ("latent", "str"), ({"noise": 1}, "dict")])
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
