"""From aligned faces to one unit vector that stands for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .encoder import IrBackbone

SAME_PERSON_COS = 0.35  # below this two faces are taken for two persons (ArcFace family)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The recogniser's answer for a batch of faces."""

    unit: Tensor  # k 512, fp32, length 1
    norms: tuple[float, ...]  # lengths before normalisation; a blurred face gives a short vector


def embed(
    network: IrBackbone, crops: Tensor, device: torch.device, on_face: Callable[[int], None] = lambda done: None
) -> Embeddings:
    """Embeds aligned faces, k 112 112 3 RGB in [0, 1], one at a time so that a face never depends on its batch."""
    raw = []
    for index, crop in enumerate(crops):
        bgr = crop.flip(-1).movedim(-1, 0)[None].to(device, torch.float32) * 2 - 1  # 1 3 112 112
        raw.append(network(bgr)[0].float())  # 512
        on_face(index + 1)
    vectors = torch.stack(raw)  # k 512
    norms = tuple(vectors.norm(dim=-1).tolist())
    for number, norm in enumerate(norms, start=1):
        if not 0 < norm < float("inf"):
            raise InputError(
                "encoder",
                found=f"an embedding of length {norm:g} for image {number}",
                wanted="finite embeddings",
                fix="The weight file is damaged, or not a recogniser: pick another one.",
            )
    return Embeddings(unit=functional.normalize(vectors, dim=-1), norms=norms)


def agreement(references: Tensor) -> list[float]:
    """Cosine of each unit vector (k 512) to the mean of the others; 1 for a single one."""
    if len(references) == 1:
        return [1.0]
    others = references.sum(dim=0) - references  # k 512
    return functional.cosine_similarity(references, others, dim=-1).tolist()


def merge(references: Tensor) -> Tensor:
    """The direction of the sum of unit vectors (k 512), as a unit vector (512); raises InputError for two persons."""
    strangers = [(number, cos) for number, cos in enumerate(agreement(references), start=1) if cos < SAME_PERSON_COS]
    if strangers:
        listed = ", ".join(f"image {number} (cos {cos:.2f})" for number, cos in strangers)
        raise InputError(
            "images",
            found=f"references that show different persons: {listed}",
            wanted=f"a cos of {SAME_PERSON_COS} or more to the other references",
            fix="Encode one person at a time, and leave those images out.",
        )
    return functional.normalize(references.sum(dim=0), dim=0)
