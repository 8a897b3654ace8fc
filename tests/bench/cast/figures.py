"""What is computed of measured numbers: intervals by resampling, distances between sets of vectors, slopes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
K = TypeVar("K", bound=Hashable)

DRAWS = 2000  # of a bootstrap
AXES = 16  # of vectors in a Frechet distance: some hundred vectors say nothing about 512
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to keep."""

    side: str  # "most" or "least"
    limit: float

    def verdict(self, found: Interval) -> str:
        """Kept where the whole interval keeps it, missed where none of it does."""
        ends = [end <= self.limit if self.side == "most" else end >= self.limit for end in (found.low, found.high)]
        word = "kept" if all(ends) else "not decided" if any(ends) else "**missed**"
        return f"at {self.side} {self.limit:g}: {word}"


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], count: int) -> Interval:
    """A statistic of ``count`` units, which it is given by their numbers, and its percentiles over resampled units."""
    generator = np.random.default_rng(0)
    drawn = [statistic(generator.integers(count, size=count)) for _ in range(DRAWS)]
    low, high = np.nanpercentile(drawn, PERCENTILES)
    return Interval(statistic(np.arange(count)), float(low), float(high))


def mean_of(values: Array) -> Interval:
    """The mean over the units of the first axis, of values that may be NaN."""
    return bootstrap(lambda units: float(np.nanmean(values[units])), len(values))


def ratio_of(above: Array, below: Array) -> Interval:
    """The ratio of two means over the same units."""
    return bootstrap(lambda units: float(np.nanmean(above[units]) / np.nanmean(below[units])), len(above))


def slope_of(rows: Array) -> Interval:
    """The least-squares slope along the second axis of units x places, resampled over the units; NaN is left out."""

    def slope(units: NDArray[np.int64]) -> float:
        places = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        is_known = np.isfinite(rows[units])
        return float(np.polyfit(places[is_known], rows[units][is_known], 1)[0])

    return bootstrap(slope, len(rows))


def cross_mean(clips: list[Array]) -> float:
    """The mean cosine of unit vectors of two different clips (each f d), every pair of clips alike."""
    means = np.stack([clip.mean(axis=0) for clip in clips])  # k d; their products are the means of all products
    products = means @ means.T
    return float(products[np.triu_indices(len(clips), 1)].mean())


def frechet_distance(one: Array, other: Array) -> float:
    """The squared Frechet distance of the Gaussians through two sets of vectors n d (arXiv 1706.08500).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), where the eigenvalues of S1 S2 are those of A S2 A with A = S1^(1/2).
    """
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ covariances[1] @ root).clip(0)).sum()
    shift = one.mean(axis=0) - other.mean(axis=0)
    return float(shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * shared)


def frechet_distances(truth: Array, sets: Mapping[K, Array]) -> dict[K, float]:
    """The Frechet distance of each set of vectors n d to the true ones, comparable with each other.

    It is taken of as many of each, evenly, and along the AXES in which the true ones differ most.
    """
    count = min(map(len, (truth, *sets.values())))
    axes = np.linalg.svd(truth - truth.mean(axis=0), full_matrices=False)[2][:AXES]

    def seen(vectors: Array) -> Array:
        return vectors[np.linspace(0, len(vectors) - 1, count).round().astype(int)] @ axes.T

    return {name: frechet_distance(seen(truth), seen(vectors)) for name, vectors in sets.items()}
