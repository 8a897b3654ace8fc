from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from wan_core.errors import InputError
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


def test_a_sound_record_is_kept_as_it_is() -> None:
    identity = sound()
    assert identity.z is Z
    assert identity.references.shape == (2, 512)
    assert identity.space == Space("encoder.safetensors", "ab" * 32, "IR-SE")
    assert picture_only().z is None


BAD_RECORDS: dict[str, Callable[[], Identity]] = {
    "found z of shape (256,); wanted (512,)": lambda: replace(sound(), z=Z[:256]),
    "found z of shape (1024,); wanted (512,)": lambda: replace(sound(), z=torch.cat((Z, Z))),
    "found references of shape (2, 256); wanted (2, 512)": lambda: replace(sound(), references=torch.zeros(2, 256)),
    "found references of shape (0, 512)": lambda: replace(
        sound(), references=NOTHING, crops=torch.zeros(0, 112, 112, 3), attributes=()
    ),
    "found embeddings of shape (0, 512)": lambda: replace(sound(), embeddings=NOTHING),
    "found crops of shape (1, 112, 112, 3); wanted (2, 112, 112, 3)": lambda: replace(
        sound(), crops=torch.zeros(1, 112, 112, 3)
    ),
    "found 1 attributes for 2 references": lambda: replace(sound(), attributes=(ABOUT,)),
    "found reference_crop of shape (112, 112, 3); wanted (256, 256, 3)": lambda: replace(
        sound(), reference_crop=torch.zeros(112, 112, 3)
    ),
    "found portrait of shape (512, 512, 4)": lambda: replace(sound(), portrait=torch.zeros(512, 512, 4)),
    "found z of length 2; wanted finite vectors of length 1": lambda: replace(sound(), z=Z * 2),
    "found z of length 0": lambda: replace(sound(), z=Z * 0),
    "found references of length nan": lambda: replace(sound(), references=torch.stack((Z, Z)) * float("nan")),
    "found embeddings of length 3": lambda: replace(sound(), embeddings=Z[None] * 3),
    "found z in torch.float16; wanted torch.float32": lambda: replace(sound(), z=Z.half()),
    "found vectors without a space": lambda: replace(sound(), space=None),
    "found the space encoder.safetensors without vectors": lambda: replace(picture_only(), space=SPACE),
    "found references of shape (1, 512); wanted (0, 512)": lambda: replace(
        picture_only(), references=Z[None], crops=torch.zeros(1, 112, 112, 3), attributes=(ABOUT,)
    ),
    "found embeddings of shape (1, 512); wanted (0, 512)": lambda: replace(picture_only(), embeddings=Z[None]),
    "found neither vectors nor a portrait": lambda: replace(picture_only(), portrait=None),
}


@pytest.mark.parametrize(("message", "make"), BAD_RECORDS.items())
def test_an_unsound_record_cannot_be_made(message: str, make: Callable[[], Identity]) -> None:
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value).startswith("identity: ")
    assert message in str(caught.value)


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
