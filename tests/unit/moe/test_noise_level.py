"""The views of a noise level agree with each other and with the published boundaries."""

from __future__ import annotations

import math

import pytest

from wan_core.moe.noise_level import sigma_of_snr_db, sigma_of_timestep, snr_db_of


@pytest.mark.parametrize(("sigma", "snr"), [(0.875, 1 / 49), (0.900, 1 / 81), (0.5, 1.0)])
def test_decibels_are_those_of_the_power_ratio(sigma: float, snr: float) -> None:
    assert snr_db_of(sigma) == pytest.approx(10 * math.log10(snr), abs=1e-9)


@pytest.mark.parametrize("sigma", [1e-6, 0.01, 0.25, 0.5, 0.875, 0.9, 0.999, 1 - 1e-9])
def test_decibels_and_back_is_the_same_sigma(sigma: float) -> None:
    assert sigma_of_snr_db(snr_db_of(sigma)) == pytest.approx(sigma, abs=1e-9)


@pytest.mark.parametrize("shift", [0.1, 1.0, 3.0, 5.0, 8.0, 12.0, 100.0])
def test_a_shift_lowers_the_level_by_a_constant_number_of_decibels(shift: float) -> None:
    for u in (0.05, 0.3, 0.7, 0.95):
        shifted = shift * u / (1 + (shift - 1) * u)
        assert snr_db_of(u) - snr_db_of(shifted) == pytest.approx(20 * math.log10(shift), abs=1e-9)


def test_the_ends_are_infinite() -> None:
    assert snr_db_of(1.0) == -math.inf
    assert snr_db_of(0.0) == math.inf


def test_a_timestep_is_a_thousandth_of_sigma() -> None:
    assert sigma_of_timestep(875) == 0.875
