"""The views of a noise level agree with each other, with the published boundaries and with the host."""

from __future__ import annotations

import math

import pytest

from wan_core.moe.noise_level import (
    shifted,
    sigma_of_snr_db,
    sigma_of_timestep,
    snr_db_of,
    timestep_of,
    unshifted,
)

SHIFTS = [0.1, 0.5, 1.0, 3.0, 5.0, 8.0, 12.0, 31.6, 100.0]
SIGMAS = [0.0, 1e-12, 1e-6, 0.01, 0.25, 0.5, 0.875, 0.9, 0.947, 0.999, 1 - 1e-9, 1 - 2**-53, 1.0]


@pytest.mark.parametrize(("sigma", "snr_db"), [(0.875, -16.90), (0.900, -19.08), (0.5, 0.0)])
def test_the_boundaries_have_the_published_levels(sigma: float, snr_db: float) -> None:
    assert snr_db_of(sigma) == pytest.approx(snr_db, abs=5e-3)


def test_a_timestep_is_a_thousandth_of_sigma() -> None:
    assert sigma_of_timestep(875) == 0.875
    assert timestep_of(0.875) == 875.0


@pytest.mark.parametrize("sigma", SIGMAS)
def test_decibels_are_of_the_power_ratio_and_lead_back_to_the_same_sigma(sigma: float) -> None:
    assert sigma_of_snr_db(snr_db_of(sigma)) == pytest.approx(sigma, abs=1e-14)
    assert sigma_of_timestep(timestep_of(sigma)) == pytest.approx(sigma, abs=1e-14)
    if 0.0 < sigma < 1.0:
        assert snr_db_of(sigma) == pytest.approx(10.0 * math.log10(((1.0 - sigma) / sigma) ** 2), abs=1e-9)


def test_the_ends_are_infinite_and_nothing_overflows() -> None:
    assert (snr_db_of(1.0), snr_db_of(0.0)) == (snr_db_of(1.0 + 1e-7), snr_db_of(-1e-7)) == (-math.inf, math.inf)
    for level_db in (1e4, 1e300, math.inf):
        assert sigma_of_snr_db(level_db) == pytest.approx(0.0, abs=1e-200)
        assert sigma_of_snr_db(-level_db) == 1.0
    for sigma in (5e-324, 1e-300, 1e-160):
        assert sigma_of_snr_db(snr_db_of(sigma)) == pytest.approx(sigma, abs=1e-300, rel=1e-9)


# Shift


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_and_back_is_the_same_sigma_and_its_ends_are_exact(shift: float) -> None:
    for sigma in [*SIGMAS, *(i / 500 for i in range(501))]:
        assert shifted(unshifted(sigma, shift), shift) == pytest.approx(sigma, abs=1e-13)
        assert unshifted(shifted(sigma, shift), shift) == pytest.approx(sigma, abs=1e-13)
    assert (shifted(0.0, shift), shifted(1.0, shift)) == (unshifted(0.0, shift), unshifted(1.0, shift)) == (0.0, 1.0)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_lowers_the_level_by_its_square(shift: float) -> None:
    for u in (1e-6, 0.05, 0.3, 0.7, 0.95, 1 - 1e-6):
        assert snr_db_of(shifted(u, shift)) == pytest.approx(snr_db_of(u) - 20.0 * math.log10(shift), abs=1e-6)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_that_of_the_hosts_flow_models(shift: float) -> None:
    for u in (0.0, 1e-9, 0.1, 0.5, 0.875, 1 - 1e-9, 1.0):
        assert shifted(u, shift) == pytest.approx(shift * u / (1 + (shift - 1) * u), abs=1e-13)
