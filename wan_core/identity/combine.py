"""Several references of one person: duplicates count once, strangers are left out, the others become one identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from ..errors import InputError

SAME_IDENTITY_COS = 0.35  # below this two faces are taken for two persons (ArcFace family)
DUPLICATE_COS = 0.98  # above this two faces are taken for one picture
COMBINE_METHODS = ("mean", "best", "tokens")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one reference."""

    kept: bool
    same_as: int | None = None  # the position of the reference that it repeats
    cos: float | None = None  # to that one, or to the mean of the others; None for a single one


@dataclass(frozen=True, slots=True, eq=False)
class Combined:
    """References made into one identity."""

    z: Tensor  # 512, unit
    embeddings: Tensor  # m 512, unit: what a resampler takes
    kept: tuple[int, ...]  # positions of the references that counted
    best: int  # the position of the best of them
    verdicts: tuple[Verdict, ...]  # one for each reference


def agreement(references: Tensor) -> list[float]:
    """Cosine of each unit vector (k 512) to the mean of the others; 1 for a single one."""
    if len(references) == 1:
        return [1.0]
    others = references.sum(dim=0) - references  # k 512
    return functional.cosine_similarity(references, others, dim=-1).tolist()


def find_duplicates(references: Tensor, qualities: Sequence[float]) -> dict[int, tuple[int, float]]:
    """Position -> the better reference that it repeats, and their cosine; the best of each group stands for it."""
    cosines = references @ references.T  # k k
    kept: list[int] = []
    repeats = {}
    for index in sorted(range(len(references)), key=lambda position: -qualities[position]):
        twin = next((other for other in kept if cosines[index, other] > DUPLICATE_COS), None)
        if twin is None:
            kept.append(index)
        else:
            repeats[index] = (twin, cosines[index, twin].item())
    return repeats


def combine(
    references: Tensor, *, method: str, qualities: Sequence[float], weights: Sequence[float], numbers: Sequence[int]
) -> Combined:
    """One identity of unit vectors (k 512); raises InputError, naming ``numbers``, when they show different persons.

    mean: the direction of the weighted sum. best: the reference of the highest quality. tokens: all of them side by
    side, with the mean as z.
    """
    repeats = find_duplicates(references, qualities)
    single = [index for index in range(len(references)) if index not in repeats]
    cosines = dict(zip(single, agreement(references[single]), strict=True))
    kept = tuple(index for index in single if cosines[index] >= SAME_IDENTITY_COS)
    if 2 * len(kept) < len(single) or not kept:
        raise _strangers(cosines, kept, numbers)
    verdicts = tuple(
        Verdict(False, *repeats[index])
        if index in repeats
        else Verdict(index in kept, None, cosines[index] if len(single) > 1 else None)
        for index in range(len(references))
    )
    best = max(kept, key=lambda index: qualities[index])
    weighted = references[list(kept)] * references.new_tensor([weights[index] for index in kept])[:, None]
    z = references[best] if method == "best" else functional.normalize(weighted.sum(dim=0), dim=0)
    return Combined(z, references[list(kept)] if method == "tokens" else z[None], kept, best, verdicts)


def _strangers(cosines: dict[int, float], kept: tuple[int, ...], numbers: Sequence[int]) -> InputError:
    listed = ", ".join(
        f"image {numbers[index]} (cos {cos:.2f})" for index, cos in cosines.items() if cos < SAME_IDENTITY_COS
    )
    return InputError(
        "images",
        found=f"references that show different persons: {listed}",
        wanted=f"a cos of {SAME_IDENTITY_COS} or more to the other references in at least half of {len(cosines)}",
        fix="Encode one person at a time, and leave those images out.",
    )
