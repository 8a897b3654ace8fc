"""Who is who: cosines of faces and their means, and the assignment of the greatest total."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of two vectors d of any length, in 64 bits; 0 where one of them is zero."""
    return functional.cosine_similarity(one.double(), other.double(), dim=0).item()


def direction(vectors: Sequence[Tensor]) -> Tensor:
    """The normalised mean of unit vectors d, summed in 64 bits and given in fp32."""
    return functional.normalize(torch.stack(list(vectors)).double().sum(dim=0), dim=0).float()


def mean_of(values: Sequence[float]) -> float | None:
    """The mean, summed in 64 bits; None of nothing."""
    return math.fsum(values) / len(values) if values else None


def match(scores: Sequence[Sequence[float]]) -> tuple[tuple[int, int], ...]:
    """The pairs (row, column) of the greatest total score, ascending by row; as many as rows or columns, if fewer.

    ``scores``: a rectangle of finite numbers.
    """
    rows, columns = linear_sum_assignment(np.atleast_2d(np.array(scores, dtype=np.float64)), maximize=True)
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))


def match_above(scores: Sequence[Sequence[float]], least: float) -> tuple[tuple[int, int], ...]:
    """Pairs (row, column) of the greatest total of what scores are above ``least``; none of what is not above it."""
    if not scores or not scores[0]:
        return ()
    above = [[max(score - least, 0.0) for score in row] for row in scores]
    return tuple((row, column) for row, column in match(above) if above[row][column] > 0)
