"""Whether a face was pasted: it is likelier the reference photo itself than the person.

``copy_rate`` is ViStoryBench's (vistorybench/bench/content/cids_evaluator.py), ``copy_paste`` is MultiID-Bench's CP
(WithAnyone, MultiID-Bench/metrics/arcface_metric.py and eval.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

TEMPERATURE = 0.01  # of CopyRate, in cosines
LEAST = 1e-6  # of MultiID-Bench: beside a length, and the least angle in radians between two photos
FENCE = 1.5  # interquartile ranges beyond the quartiles, where outliers begin


def copy_rate(cosines: Sequence[tuple[float, float]]) -> float | None:
    """How far faces are the reference photo rather than its mirror image: 1 copies it, 0.5 is a face of its own.

    ``cosines``: of each face, to the photo and to its mirror image; None without faces.
    """
    if not cosines:
        return None
    margins = [_clipped(photo) - _clipped(mirrored) for photo, mirrored in cosines]
    return math.fsum(1 / (1 + math.exp(-margin / TEMPERATURE)) for margin in margins) / len(margins)


def copy_paste(generated: Tensor, reference: Tensor, target: Tensor) -> float:
    """CP of one face: 1 where it is the reference photo, -1 where it is another photo of the person, the target.

    The vectors d may have any length.
    """
    to_target, to_reference = _angle(generated, target), _angle(generated, reference)
    between = _angle(target, reference)
    return 0.0 if between < LEAST else (to_target - to_reference) / between


def copy_paste_among(generated: Tensor, photos: Sequence[Tensor]) -> float | None:
    """CP of one face against the first photo d, averaged over the others as targets; None for one photo alone."""
    reference, *targets = photos
    if not targets:
        return None
    return math.fsum(copy_paste(generated, reference, target) for target in targets) / len(targets)


def mean_without_outliers(values: Sequence[float]) -> float | None:
    """MultiID-Bench's mean over pictures: without those over 1.5 interquartile ranges outside the quartiles.

    None without values.
    """
    if not values:
        return None
    low, high = np.percentile(values, (25, 75))
    margin = FENCE * (high - low)
    kept = [value for value in values if low - margin <= value <= high + margin]
    return math.fsum(kept) / len(kept)


def _angle(one: Tensor, other: Tensor) -> float:
    a, b = (vector.double() / (vector.double().norm() + LEAST) for vector in (one, other))
    return math.acos(_clipped(float(a @ b)))


def _clipped(cosine: float) -> float:
    return min(max(cosine, -1.0), 1.0)
