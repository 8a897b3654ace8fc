"""The identity record that travels between nodes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError

IDENTITY_D = 512  # numbers in an identity vector
CROP_PX = 112  # side of an aligned face crop
REFERENCE_CROP_PX = 256  # side of the wider crop that Lynx reads
PORTRAIT_PX = 512  # side of the picture that Stand-In reads
UNIT_NORM_TOLERANCE = 1e-4
OLDEST_YEARS = 120  # that an age may be, whatever a network guesses


@dataclass(frozen=True, slots=True)
class Space:
    """The recogniser that an embedding belongs to; vectors of two spaces cannot be compared."""

    name: str  # the weight file, as the user selected it
    sha256: str  # of that file's bytes, hexadecimal
    family: str  # of the network: "IR-SE", "IR" or "iResNet"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What was measured on one reference; None where nothing measured it."""

    age_years: int | None
    sex: str | None  # "female" or "male", as a network guesses it
    yaw_deg: float | None  # 0: to the camera; which side is positive depends on what measured it
    pitch_deg: float | None  # 0: to the camera; up or down by sign, as yaw
    roll_deg: float | None  # positive: it is turned clockwise in the picture
    detection_score: float | None  # 0..1
    face_px: float  # side of the square of the picture that became the aligned crop
    quality: float  # 0..1: frontal, sharp, large and surely found


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """One person, as vectors and as the pictures that they came from; raises InputError when the parts do not fit.

    Its repr holds nothing of the person: the host keeps the repr of what a failing node was given.
    """

    z: Tensor | None = field(repr=False)  # 512, fp32, unit norm; None: pictures alone, for adapters without vectors
    references: Tensor = field(repr=False)  # k 512, fp32, one unit vector for each kept reference
    embeddings: Tensor = field(repr=False)  # m 512, fp32, unit vectors for a resampler: z alone, or all references
    crops: Tensor = field(repr=False)  # k 112 112 3, the aligned faces, in [0, 1]
    reference_crop: Tensor | None = field(repr=False)  # 256 256 3 in [0, 1], Lynx's; None of an aligned crop
    portrait: Tensor | None = field(repr=False)  # 512 512 3 in [0, 1], Stand-In's picture
    attributes: tuple[Attributes, ...] = field(repr=False)  # one for each kept reference
    space: Space | None  # None exactly where z is None

    def __post_init__(self) -> None:
        count = len(self.references)
        _require_shape("crops", self.crops, (count, CROP_PX, CROP_PX, 3))
        if len(self.attributes) != count:
            raise _unsound(f"{len(self.attributes)} attributes for {count} references", "one for each")
        for part, picture, side_px in (
            ("reference_crop", self.reference_crop, REFERENCE_CROP_PX),
            ("portrait", self.portrait, PORTRAIT_PX),
        ):
            if picture is not None:
                _require_shape(part, picture, (side_px, side_px, 3))
        if self.z is None:
            self._require_pictures_only()
            return
        _require_shape("z", self.z, (IDENTITY_D,))
        _require_shape("references", self.references, (max(count, 1), IDENTITY_D))
        _require_shape("embeddings", self.embeddings, (max(len(self.embeddings), 1), IDENTITY_D))
        for part, vectors in (("z", self.z), ("references", self.references), ("embeddings", self.embeddings)):
            _require_unit(part, vectors)
        if self.space is None:
            raise _unsound("vectors without a space", "the recogniser that made them")

    def _require_pictures_only(self) -> None:
        _require_shape("references", self.references, (0, IDENTITY_D))
        _require_shape("embeddings", self.embeddings, (0, IDENTITY_D))
        if self.space is not None:
            raise _unsound(f"the space {self.space.name} without vectors", "no space")
        if self.portrait is None:
            raise _unsound("neither vectors nor a portrait", "at least one of them")

    @property
    def content_sha256(self) -> str:
        """The SHA-256 of all that an adapter reads: embeddings, reference crop and portrait; the same in every run."""
        digest = hashlib.sha256()
        parts = {"embeddings": self.embeddings, "reference_crop": self.reference_crop, "portrait": self.portrait}
        for name, tensor in parts.items():
            digest.update(f"{name} {None if tensor is None else tuple(tensor.shape)}\n".encode())
            if tensor is not None:
                digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()


def _require_shape(part: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise _unsound(f"{part} of shape {tuple(tensor.shape)}", str(shape))


def _require_unit(part: str, vectors: Tensor) -> None:
    if vectors.dtype != torch.float32:
        raise _unsound(f"{part} in {vectors.dtype}", "torch.float32")
    for norm in torch.atleast_1d(vectors.norm(dim=-1)).tolist():
        if not abs(norm - 1.0) <= UNIT_NORM_TOLERANCE:
            raise _unsound(f"{part} of length {norm:.4g}", "finite vectors of length 1")


def _unsound(found: str, wanted: str) -> InputError:
    return InputError("identity", found=found, wanted=wanted, fix="Make the identity with IdentityEncode.")
