"""The views of a noise level agree with each other, with the published boundaries and with the host."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from wan_core.moe.noise_level import (
    log_snr_of,
    percent_of,
    shifted,
    sigma_of_log_snr,
    sigma_of_percent,
    sigma_of_snr,
    sigma_of_snr_db,
    sigma_of_timestep,
    snr_db_of,
    snr_of,
    timestep_of,
    unshifted,
)

SHIFTS = [0.1, 0.5, 1.0, 3.0, 5.0, 8.0, 12.0, 31.6, 100.0]
SIGMAS = [0.0, 1e-12, 1e-6, 0.01, 0.25, 0.5, 0.875, 0.9, 0.947, 0.999, 1 - 1e-9, 1 - 2**-53, 1.0]
VIEWS = {
    "timestep": (timestep_of, sigma_of_timestep),
    "snr": (snr_of, sigma_of_snr),
    "log_snr": (log_snr_of, sigma_of_log_snr),
    "snr_db": (snr_db_of, sigma_of_snr_db),
}
View = Callable[[float], float]


# Published figures


@pytest.mark.parametrize(
    ("sigma", "snr", "log_snr", "snr_db"),
    [(0.875, 1 / 49, -3.892, -16.90), (0.900, 1 / 81, -4.394, -19.08), (0.5, 1.0, 0.0, 0.0)],
)
def test_the_boundaries_have_the_published_levels(sigma: float, snr: float, log_snr: float, snr_db: float) -> None:
    assert snr_of(sigma) == pytest.approx(snr, abs=1e-12)
    assert log_snr_of(sigma) == pytest.approx(log_snr, abs=5e-4)
    assert snr_db_of(sigma) == pytest.approx(snr_db, abs=5e-3)


@pytest.mark.parametrize(
    ("sigma", "percents"),
    [(0.875, (0.125, 0.300, 0.4167, 0.5333, 0.6316)), (0.900, (0.100, 0.250, 0.3571, 0.4706, 0.5714))],
)
def test_the_boundaries_have_the_published_percents(sigma: float, percents: tuple[float, ...]) -> None:
    found = [percent_of(sigma, shift) for shift in (1.0, 3.0, 5.0, 8.0, 12.0)]
    assert found == pytest.approx(percents, abs=5e-5)


@pytest.mark.parametrize(("sigma", "noisiest"), [(0.875, 49 / 50), (0.900, 81 / 82)])
def test_a_boundary_is_at_half_the_log_level_of_a_noisiest_sigma(sigma: float, noisiest: float) -> None:
    assert sigma_of_log_snr(2.0 * log_snr_of(sigma)) == pytest.approx(noisiest, abs=1e-12)


def test_a_timestep_is_a_thousandth_of_sigma() -> None:
    assert sigma_of_timestep(875) == 0.875
    assert timestep_of(0.875) == 875.0


# Views and their inverses


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_and_back_is_the_same_sigma(view: str, sigma: float) -> None:
    there, back = VIEWS[view]
    assert back(there(sigma)) == pytest.approx(sigma, abs=1e-14)


@pytest.mark.parametrize("sigma", SIGMAS[1:-1])
def test_decibels_nats_and_the_power_ratio_are_one_number(sigma: float) -> None:
    snr = snr_of(sigma)
    assert log_snr_of(sigma) == pytest.approx(math.log(snr), abs=1e-9)
    assert snr_db_of(sigma) == pytest.approx(10.0 * math.log10(snr), abs=1e-9)


@pytest.mark.parametrize(
    ("view", "at_noise", "at_end"),
    [(snr_of, 0.0, math.inf), (log_snr_of, -math.inf, math.inf), (snr_db_of, -math.inf, math.inf)],
)
def test_the_ends_are_infinite_or_zero(view: View, at_noise: float, at_end: float) -> None:
    assert (view(1.0), view(0.0)) == (at_noise, at_end)
    assert (view(1.0 + 1e-7), view(-1e-7)) == (at_noise, at_end)


@pytest.mark.parametrize("back", [sigma_of_log_snr, sigma_of_snr_db])
@pytest.mark.parametrize("level", [1e4, 1e300, math.inf])
def test_an_extreme_level_is_an_end_and_no_overflow(back: View, level: float) -> None:
    assert back(level) == pytest.approx(0.0, abs=1e-200)
    assert back(-level) == 1.0


@pytest.mark.parametrize("sigma", [5e-324, 1e-300, 1e-160])
def test_the_smallest_numbers_overflow_nowhere(sigma: float) -> None:
    assert snr_of(sigma) > 1e300
    assert sigma_of_snr_db(snr_db_of(sigma)) == pytest.approx(sigma, abs=1e-300, rel=1e-9)


@pytest.mark.parametrize("view", [snr_of, log_snr_of, snr_db_of])
def test_more_noise_is_a_lower_level(view: View) -> None:
    levels = [view(i / 1000) for i in range(1001)]
    assert all(noisier < cleaner for cleaner, noisier in zip(levels, levels[1:], strict=False))


# Shift


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_and_back_is_the_same_sigma(shift: float) -> None:
    for sigma in [*SIGMAS, *(i / 500 for i in range(501))]:
        assert shifted(unshifted(sigma, shift), shift) == pytest.approx(sigma, abs=1e-13)
        assert unshifted(shifted(sigma, shift), shift) == pytest.approx(sigma, abs=1e-13)
        assert sigma_of_percent(percent_of(sigma, shift), shift) == pytest.approx(sigma, abs=1e-12)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_lowers_the_log_level_by_two_ln_shift(shift: float) -> None:
    for u in (1e-6, 0.05, 0.3, 0.7, 0.95, 1 - 1e-6):
        assert log_snr_of(shifted(u, shift)) == pytest.approx(log_snr_of(u) - 2.0 * math.log(shift), abs=1e-7)


@pytest.mark.parametrize("second", SHIFTS)
@pytest.mark.parametrize("first", SHIFTS)
def test_two_shifts_are_one_shift_by_their_product(first: float, second: float) -> None:
    for u in (0.0, 0.05, 0.3, 0.7, 0.95, 1.0):
        assert shifted(shifted(u, first), second) == pytest.approx(shifted(u, first * second), abs=1e-12)


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_ends_of_a_shift_are_exact(shift: float) -> None:
    assert (shifted(0.0, shift), shifted(1.0, shift)) == (0.0, 1.0)
    assert (unshifted(0.0, shift), unshifted(1.0, shift)) == (0.0, 1.0)
    assert (percent_of(0.0, shift), percent_of(1.0, shift)) == (1.0, 0.0)


def host_sigma_of_percent(percent: float, shift: float) -> float:
    """What ComfyUI's flow models do with a percent, in its order of operations."""
    if percent <= 0.0:
        return 1.0
    if percent >= 1.0:
        return 0.0
    t = 1.0 - percent
    return shift * t / (1 + (shift - 1) * t)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_percent_is_where_the_host_has_it(shift: float) -> None:
    for percent in (-1.0, 0.0, 1e-9, 0.1, 0.5, 0.875, 1 - 1e-9, 1.0, 2.0):
        assert sigma_of_percent(percent, shift) == pytest.approx(host_sigma_of_percent(percent, shift), abs=1e-13)
