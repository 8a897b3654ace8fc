"""The characters in the scorer's own space: vectors of two recognisers cannot be compared."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ...errors import InputError
from ..recogniser import Recogniser, embed
from ..record import Identity
from .matching import direction
from .shots import label_of


@dataclass(frozen=True, slots=True, eq=False)
class KnownCharacter:
    """A character as the scorer sees its references."""

    label: str  # what a person calls it
    vector: Tensor = field(repr=False)  # d, unit: what faces are compared with
    references: Tensor = field(repr=False)  # k d, unit: of each reference
    mirrored: Tensor = field(repr=False)  # d, unit: of the mirror image of the first reference, for CopyRate
    crop: Tensor = field(repr=False)  # 112 112 3 in [0, 1], the first reference
    portrait: Tensor | None = field(repr=False)  # 512 512 3 in [0, 1]
    conditioned: bool  # the scorer is the recogniser that the identity was made with


def know(identity: Identity, input_name: str, recogniser: Recogniser) -> KnownCharacter:
    """A character's references in the space of the scorer; raises InputError for an identity without faces."""
    if not len(identity.crops):
        raise InputError(
            input_name,
            found="an identity without an aligned face, made of a whole picture or without a recogniser",
            wanted="one with faces that a recogniser can compare",
            fix="In IdentityEncode choose an encoder and a way in face that finds the face.",
        )
    conditioned = identity.space is not None and identity.space.sha256 == recogniser.space.sha256
    crops = identity.crops.cpu()
    vectors = identity.references.cpu() if conditioned else embed(recogniser, crops).unit  # k d
    vector = identity.z.cpu() if conditioned and identity.z is not None else direction(list(vectors))
    mirrored = embed(recogniser, crops[:1].flip(2)).unit[0]
    portrait = None if identity.portrait is None else identity.portrait.cpu()
    return KnownCharacter(label_of(input_name), vector, vectors, mirrored, crops[0], portrait, conditioned)
