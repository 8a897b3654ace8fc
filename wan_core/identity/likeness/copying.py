"""Whether a face was pasted: it is likelier the reference photo itself than the person.

``copy_rate`` is ViStoryBench's (vistorybench/bench/content/cids_evaluator.py). ``copy_paste`` is MultiID-Bench's CP
(Doby-Xu/WithAnyone, MultiID-Bench/metrics/arcface_metric.py and eval.py), whose target is one photo; here all are, and
each face counts as a picture.
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


def copy_paste(faces: Sequence[Tensor], photos: Sequence[Tensor]) -> float | None:
    """CP of a character's faces d: 1 where they are the first photo d, -1 where they are another photo of the person.

    The mean over the other photos as targets, then over the faces without outliers; None without faces or targets.
    """
    reference, *targets = photos
    if not faces or not targets:
        return None
    of_faces = [math.fsum(_copy_paste(face, reference, t) for t in targets) / len(targets) for face in faces]
    low, high = np.percentile(of_faces, (25, 75))
    margin = FENCE * (high - low)
    kept = [value for value in of_faces if low - margin <= value <= high + margin]
    return math.fsum(kept) / len(kept)


def _copy_paste(generated: Tensor, reference: Tensor, target: Tensor) -> float:
    between = _angle(target, reference)
    return 0.0 if between < LEAST else (_angle(generated, target) - _angle(generated, reference)) / between


def _angle(one: Tensor, other: Tensor) -> float:
    a, b = (vector.double() / (vector.double().norm() + LEAST) for vector in (one, other))
    return math.acos(_clipped(float(a @ b)))


def _clipped(cosine: float) -> float:
    return min(max(cosine, -1.0), 1.0)
