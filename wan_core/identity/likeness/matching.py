"""Who is who: cosines of faces, and the assignment of the greatest total."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional


def cosine(one: Tensor, other: Tensor) -> float:
    """The cosine of two vectors d of any length, in 64 bits; 0 where one of them is zero."""
    return functional.cosine_similarity(one.double(), other.double(), dim=0).item()


def match(scores: Sequence[Sequence[float]]) -> tuple[tuple[int, int], ...]:
    """The pairs (row, column) of the greatest total score, ascending by row; as many as rows or columns, if fewer.

    ``scores``: a rectangle of finite numbers.
    """
    rows, columns = linear_sum_assignment(np.atleast_2d(np.array(scores, dtype=np.float64)), maximize=True)
    return tuple(zip(rows.tolist(), columns.tolist(), strict=True))
