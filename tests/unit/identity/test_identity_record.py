from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.unit.identity.some_inputs import refused
from wan_core.identity.record import Attributes, Identity, Space

SPACE = Space("encoder.safetensors", "ab" * 32, "IR-SE")
Z = torch.nn.functional.normalize(torch.arange(1.0, 513.0), dim=0)
NOTHING = torch.zeros(0, 512)
ABOUT = Attributes(30, "female", 1.0, 2.0, 3.0, 0.9, 200.0, 0.5)


def sound(count: int = 2) -> Identity:
    crops, pictures = torch.zeros(count, 112, 112, 3), (torch.zeros(256, 256, 3), torch.ones(512, 512, 3))
    return Identity(Z, torch.stack([Z] * count), Z[None], crops, *pictures, (ABOUT,) * count, SPACE)


def picture_only() -> Identity:
    return Identity(None, NOTHING, NOTHING, torch.zeros(0, 112, 112, 3), None, torch.ones(512, 512, 3), (), None)


ONE, NO_CROPS = "finite vectors of length 1", torch.zeros(0, 112, 112, 3)
OF_ONE = {"crops": torch.zeros(1, 112, 112, 3), "attributes": (ABOUT,)}


@pytest.mark.parametrize(
    ("changes", "found", "wanted"),
    [
        ({"z": Z[:256]}, "z of shape (256,)", "(512,)"),
        ({"z": torch.cat((Z, Z))}, "z of shape (1024,)", "(512,)"),
        ({"references": torch.zeros(2, 256)}, "references of shape (2, 256)", "(2, 512)"),
        (
            {"references": NOTHING, "crops": NO_CROPS, "attributes": ()},
            "references of shape (0, 512)",
            "(1, 512)",
        ),
        ({"embeddings": NOTHING}, "embeddings of shape (0, 512)", "(1, 512)"),
        ({"crops": OF_ONE["crops"]}, "crops of shape (1, 112, 112, 3)", "(2, 112, 112, 3)"),
        ({"attributes": (ABOUT,)}, "1 attributes for 2 references", "one for each"),
        ({"reference_crop": torch.zeros(112, 112, 3)}, "reference_crop of shape (112, 112, 3)", "(256, 256, 3)"),
        ({"portrait": torch.zeros(512, 512, 4)}, "portrait of shape (512, 512, 4)", "(512, 512, 3)"),
        ({"z": Z * 2}, "z of length 2", ONE),
        ({"z": Z * 0}, "z of length 0", ONE),
        ({"references": torch.stack((Z, Z)) * float("nan")}, "references of length nan", ONE),
        ({"embeddings": Z[None] * 3}, "embeddings of length 3", ONE),
        ({"z": Z.half()}, "z in torch.float16", "torch.float32"),
        ({"space": None}, "vectors without a space", "the recogniser that made them"),
    ],
)
def test_an_unsound_record_cannot_be_made(changes: dict[str, Any], found: str, wanted: str) -> None:
    with refused("identity", found, wanted):
        replace(sound(), **changes)


@pytest.mark.parametrize(
    ("changes", "found", "wanted"),
    [
        ({"space": SPACE}, "the space encoder.safetensors without vectors", "no space"),
        ({"references": Z[None]} | OF_ONE, "references of shape (1, 512)", "(0, 512)"),
        ({"embeddings": Z[None]}, "embeddings of shape (1, 512)", "(0, 512)"),
        ({"portrait": None}, "neither vectors nor a portrait", "at least one of them"),
    ],
)
def test_an_unsound_record_of_pictures_cannot_be_made(changes: dict[str, Any], found: str, wanted: str) -> None:
    with refused("identity", found, wanted):
        replace(picture_only(), **changes)


def test_the_hash_is_of_what_an_adapter_reads_and_of_nothing_else() -> None:
    digest = sound().content_sha256
    assert digest == sound().content_sha256 == sound(3).content_sha256
    assert digest == replace(sound(), z=-Z, attributes=(ABOUT, replace(ABOUT, age_years=9))).content_sha256
    other = torch.zeros(256, 256, 3)
    other[3, 4, 1] = 1e-6
    changed = [
        replace(sound(), embeddings=torch.stack((Z, Z))),
        replace(sound(), embeddings=-Z[None]),
        replace(sound(), reference_crop=other),
        replace(sound(), reference_crop=None),
        replace(sound(), portrait=None),
        picture_only(),
    ]
    assert len({digest, *(identity.content_sha256 for identity in changed)}) == 7


def test_an_identity_written_to_safetensors_and_read_again_is_the_same_to_the_last_bit() -> None:
    draw = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(3, 512, generator=draw), dim=1)
    pictures = [torch.rand(*shape, generator=draw) for shape in ((3, 112, 112, 3), (256, 256, 3), (512, 512, 3))]
    before = Identity(vectors[0], vectors, vectors, *pictures, (ABOUT,) * 3, SPACE)
    names = ("z", "references", "embeddings", "crops", "reference_crop", "portrait")
    read = safetensors.torch.load(safetensors.torch.save({name: getattr(before, name).clone() for name in names}))
    after = replace(before, **read)
    assert all(torch.equal(getattr(after, name), getattr(before, name)) for name in names)
    assert after.content_sha256 == before.content_sha256
    assert replace(after, embeddings=vectors[:1]).content_sha256 != before.content_sha256
