"""The identity record that travels between nodes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError

IDENTITY_D = 512  # numbers in an identity vector
CROP_PX = 112  # side of an aligned face crop
UNIT_NORM_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Space:
    """The recogniser that an embedding belongs to; vectors of two spaces cannot be compared."""

    name: str  # the weight file, as the user picked it
    sha256: str  # of that file's bytes, hexadecimal
    family: str  # of the network: IR or IR-SE


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One person, as a unit vector and the faces that it came from; raises InputError when the parts do not fit."""

    z: Tensor  # 512, fp32, unit norm
    references: Tensor  # k 512, fp32, one unit vector for each face
    crops: Tensor  # k 112 112 3, the aligned faces, in [0, 1]
    space: Space

    def __post_init__(self) -> None:
        _require_shape("z", self.z, (IDENTITY_D,))
        count = len(self.references)
        _require_shape("references", self.references, (max(count, 1), IDENTITY_D))
        _require_shape("crops", self.crops, (count, CROP_PX, CROP_PX, 3))
        _require_unit("z", self.z)
        _require_unit("references", self.references)


def _require_shape(part: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise InputError(
            "identity",
            found=f"{part} of shape {tuple(tensor.shape)}",
            wanted=str(shape),
            fix="Make the identity with IdentityEncode.",
        )


def _require_unit(part: str, vectors: Tensor) -> None:
    if vectors.dtype != torch.float32:
        raise InputError(
            "identity", found=f"{part} in {vectors.dtype}", wanted="torch.float32", fix="Make it with IdentityEncode."
        )
    for norm in torch.atleast_1d(vectors.norm(dim=-1)).tolist():
        if not abs(norm - 1.0) <= UNIT_NORM_TOLERANCE:
            raise InputError(
                "identity",
                found=f"{part} of length {norm:.4g}",
                wanted="finite vectors of length 1",
                fix="Make the identity with IdentityEncode.",
            )
