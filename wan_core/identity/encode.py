"""From aligned faces to unit vectors, whatever network does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from .encoder import IrBackbone
from .iresnet import Normalisation

Recogniser = Callable[[Tensor], Tensor]  # one aligned face, 112 112 3 RGB in [0, 1] -> its raw embedding, 512


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The recogniser's answer for a batch of faces."""

    unit: Tensor  # k 512, fp32, length 1
    norms: tuple[float, ...]  # lengths before normalisation; a blurred face gives a short vector


def ir_recogniser(network: IrBackbone, device: torch.device) -> Recogniser:
    """A network of the IR family: it sees BGR in [-1, 1]."""

    def recognise(crop: Tensor) -> Tensor:
        bgr = crop.flip(-1).movedim(-1, 0)[None].to(device, torch.float32) * 2 - 1  # 1 3 112 112
        return network(bgr)[0]

    return recognise


def iresnet_recogniser(run: Callable[[Tensor], Tensor], normalisation: Normalisation) -> Recogniser:
    """An iResNet behind ``run`` (1 3 112 112 fp32 -> 1 512): it sees RGB from 0 to 255, less mean, through std."""

    def recognise(crop: Tensor) -> Tensor:
        rgb = crop.movedim(-1, 0)[None].to("cpu", torch.float32) * 255  # 1 3 112 112
        return run(((rgb - normalisation.mean) / normalisation.std).contiguous())[0]

    return recognise


def embed(recognise: Recogniser, crops: Tensor, on_face: Callable[[int], None] = lambda done: None) -> Embeddings:
    """Embeds aligned faces, k 112 112 3 RGB in [0, 1], one at a time so that a face never depends on its batch."""
    raw = []
    for index, crop in enumerate(crops):
        raw.append(recognise(crop).float())  # 512
        on_face(index + 1)
    vectors = torch.stack(raw)  # k 512
    norms = tuple(vectors.norm(dim=-1).tolist())
    for number, norm in enumerate(norms, start=1):
        if not 0 < norm < float("inf"):
            raise InputError(
                "encoder",
                found=f"an embedding of length {norm:g} for face {number}",
                wanted="finite embeddings",
                fix="The weight file is damaged, or not a recogniser: pick another one.",
            )
    return Embeddings(unit=functional.normalize(vectors, dim=-1), norms=norms)
