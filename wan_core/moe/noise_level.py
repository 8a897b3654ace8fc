"""Views of one number: how noisy a latent is, on the rectified-flow path x = (1 - sigma) * x0 + sigma * noise.

All views are float64 and exact inverses of each other; at the ends of the range they are 0, 1 or infinite, never an
error. A shift moves a position u in [0, 1] (1 is pure noise) to a sigma: the log-SNR falls by 2 * ln(shift) everywhere.
The maths follows Esser et al., "Scaling Rectified Flow Transformers" (arXiv 2403.03206), and Wan-Video/Wan2.2.
"""

from __future__ import annotations

import math

TIMESTEPS = 1000  # a flow timestep is 1000 * sigma
DB_PER_NAT = 10.0 / math.log(10.0)  # a power ratio of e in decibels


# Timestep


def timestep_of(sigma: float) -> float:
    """The timestep in [0, 1000] of ``sigma``."""
    return sigma * TIMESTEPS


def sigma_of_timestep(timestep: float) -> float:
    """The sigma of a timestep in [0, 1000]."""
    return timestep / TIMESTEPS


# Signal-to-noise ratio


def snr_db_of(sigma: float) -> float:
    """The signal-to-noise ratio of powers at ``sigma`` in decibels; +inf at 0 and -inf at 1."""
    if sigma <= 0.0:
        return math.inf
    if sigma >= 1.0:
        return -math.inf
    return DB_PER_NAT * 2.0 * (math.log(1.0 - sigma) - math.log(sigma))


def sigma_of_snr_db(snr_db: float) -> float:
    """The sigma at which the signal-to-noise ratio of powers is ``snr_db`` decibels, or +-inf."""
    small = math.exp(-abs(snr_db / DB_PER_NAT) / 2.0)  # in [0, 1], so that it never overflows
    return small / (1.0 + small) if snr_db > 0.0 else 1.0 / (1.0 + small)


# Position in a shifted schedule


def shifted(u: float, shift: float) -> float:
    """The sigma of a position ``u`` in [0, 1] under ``shift`` > 0: shift * u / (1 + (shift - 1) * u)."""
    return shift * u / (shift * u + (1.0 - u))  # in this form both ends are exact


def unshifted(sigma: float, shift: float) -> float:
    """The position u in [0, 1] that ``shift`` > 0 moves to ``sigma``: sigma / (shift - (shift - 1) * sigma)."""
    return sigma / (sigma + shift * (1.0 - sigma))
