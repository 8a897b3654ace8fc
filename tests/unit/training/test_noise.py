"""Noise levels of one expert: where they lie, how dense, and the algebra of the straight path."""

from __future__ import annotations

import pytest
import torch

from wan_core.errors import InputError
from wan_core.training.noise import clean_of, draw_sigmas, noised, range_of

SIDES = [("high", 0.875, 1.0), ("low", 0.0, 0.875), (None, 0.0, 1.0)]


@pytest.mark.parametrize(("level", "lowest", "highest"), SIDES)
@pytest.mark.parametrize("shift", [1.0, 5.0, 12.0])
def test_sigmas_are_those_of_the_whole_schedule_that_lie_on_the_side(
    level: str | None, lowest: float, highest: float, shift: float
) -> None:
    """Against throwing away what a draw of all noise levels puts on the other side."""
    generator = torch.Generator().manual_seed(0)
    drawn = draw_sigmas(range_of(level, 0.875, shift), 4000, generator)
    u = torch.rand(200_000, generator=generator, dtype=torch.float64)
    every = shift * u / (1 + (shift - 1) * u)
    wanted = every[(every >= lowest) & (every <= highest)]
    assert drawn.min() >= lowest and drawn.max() <= highest
    quantiles = torch.linspace(0.01, 0.99, 33, dtype=torch.float64)
    torch.testing.assert_close(drawn.double().quantile(quantiles), wanted.quantile(quantiles), rtol=0, atol=0.006)


def test_a_batch_has_one_sigma_in_each_part_of_the_range() -> None:
    side = range_of("high", 0.875, 12.0)
    first = 0.875 / (12 - 11 * 0.875)  # of the uniform position
    for seed in range(20):
        sigmas = draw_sigmas(side, 16, torch.Generator().manual_seed(seed)).double()
        inside = (sigmas / (12 - 11 * sigmas) - first) / (1 - first) * 16 - torch.arange(16)
        assert inside.min() > -1e-3 and inside.max() < 1 + 1e-3


def test_the_velocity_leads_from_the_noised_latent_to_the_clean_one() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 2, 5, 5, generator=generator)
    sigma = torch.tensor([0.0, 0.3, 1.0])
    x = noised(clean, noise, sigma)
    torch.testing.assert_close(x[0], clean[0])
    torch.testing.assert_close(x[2], noise[2])
    torch.testing.assert_close(clean_of(x, noise - clean, sigma), clean, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("middle", 0.875, 12.0), "level: found 'middle'; wanted high or low"),
        (("high", 1.0, 12.0), "boundary: found 1.0; wanted a sigma between 0 and 1"),
        (("low", 0.0, 12.0), "boundary: found 0.0; wanted a sigma between 0 and 1"),
        (("low", 0.875, 0.0), "shift: found 0.0; wanted a number above 0"),
        (("low", 0.875, float("nan")), "shift: found nan; wanted a number above 0"),
    ],
)
def test_a_side_with_nothing_on_it_is_refused(given: tuple[str, float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        range_of(*given)
