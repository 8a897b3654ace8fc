"""Views of one number: how noisy a latent is, on the rectified-flow path x = (1 - sigma) * x0 + sigma * noise.

The maths follows Esser et al., "Scaling Rectified Flow Transformers" (arXiv 2403.03206), and Wan-Video/Wan2.2.
"""

from __future__ import annotations

import math

TIMESTEPS = 1000  # a flow timestep is 1000 * sigma


def snr_db_of(sigma: float) -> float:
    """The signal-to-noise ratio at ``sigma`` in decibels; +inf at 0 and -inf at 1."""
    if sigma <= 0.0:
        return math.inf
    if sigma >= 1.0:
        return -math.inf
    return 20.0 * math.log10((1.0 - sigma) / sigma)


def sigma_of_snr_db(snr_db: float) -> float:
    """The sigma in (0, 1) at which the signal-to-noise ratio is ``snr_db`` decibels."""
    return 1.0 / (1.0 + 10.0 ** (snr_db / 20.0))


def sigma_of_timestep(timestep: float) -> float:
    """The sigma of a timestep in [0, 1000]."""
    return timestep / TIMESTEPS
