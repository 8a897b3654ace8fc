from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest
import torch

from tests.unit.identity.some_inputs import refused
from wan_core.adapters.adapter import Adapter
from wan_core.audio.tracks import TrackSet
from wan_core.identity.record import Attributes, Identity, Space

SPACE = Space("encoder.safetensors", "ab" * 32, "IR-SE")
Z = torch.nn.functional.normalize(torch.arange(1.0, 513.0), dim=0)
NOTHING = torch.zeros(0, 512)
ABOUT = Attributes(30, "female", 1.0, 2.0, 3.0, 0.9, 200.0, 0.5)


def sound(count: int = 2) -> Identity:
    crops, pictures = torch.zeros(count, 112, 112, 3), (torch.zeros(256, 256, 3), torch.ones(512, 512, 3))
    return Identity(Z, torch.stack([Z] * count), Z[None], crops, *pictures, (ABOUT,) * count, SPACE)


SOUND = sound()
PICTURES = Identity(None, NOTHING, NOTHING, torch.zeros(0, 112, 112, 3), None, torch.ones(512, 512, 3), (), None)
ONE = "finite vectors of length 1"
NO_REFERENCES = {"references": NOTHING, "crops": torch.zeros(0, 112, 112, 3), "attributes": ()}
ONE_REFERENCE = {"references": Z[None], "crops": torch.zeros(1, 112, 112, 3), "attributes": (ABOUT,)}


def test_an_unsound_record_cannot_be_made() -> None:
    for record, changes, found, wanted in (
        (SOUND, {"z": Z[:256]}, "z of shape (256,)", "(512,)"),
        (SOUND, {"z": torch.cat((Z, Z))}, "z of shape (1024,)", "(512,)"),
        (SOUND, {"references": torch.zeros(2, 256)}, "references of shape (2, 256)", "(2, 512)"),
        (SOUND, NO_REFERENCES, "references of shape (0, 512)", "(1, 512)"),
        (SOUND, {"embeddings": NOTHING}, "embeddings of shape (0, 512)", "(1, 512)"),
        (SOUND, {"crops": torch.zeros(1, 112, 112, 3)}, "crops of shape (1, 112, 112, 3)", "(2, 112, 112, 3)"),
        (SOUND, {"attributes": (ABOUT,)}, "1 attributes for 2 references", "one for each"),
        (SOUND, {"reference_crop": torch.zeros(9, 9, 3)}, "reference_crop of shape (9, 9, 3)", "(256, 256, 3)"),
        (SOUND, {"portrait": torch.zeros(512, 512, 4)}, "portrait of shape (512, 512, 4)", "(512, 512, 3)"),
        (SOUND, {"z": Z * 2}, "z of length 2", ONE),
        (SOUND, {"z": Z * 0}, "z of length 0", ONE),
        (SOUND, {"references": torch.stack((Z, Z)) * float("nan")}, "references of length nan", ONE),
        (SOUND, {"embeddings": Z[None] * 3}, "embeddings of length 3", ONE),
        (SOUND, {"z": Z.half()}, "z in torch.float16", "torch.float32"),
        (SOUND, {"space": None}, "vectors without a space", "the recogniser that made them"),
        (PICTURES, {"space": SPACE}, "the space encoder.safetensors without vectors", "no space"),
        (PICTURES, ONE_REFERENCE, "references of shape (1, 512)", "(0, 512)"),
        (PICTURES, {"embeddings": Z[None]}, "embeddings of shape (1, 512)", "(0, 512)"),
        (PICTURES, {"portrait": None}, "neither vectors nor a portrait", "at least one of them"),
    ):
        with refused("identity", found, wanted):
            replace(record, **changes)


def told(kind: Any) -> set[type]:
    """The types of all that the repr of a type shows."""
    parts = [kind, *get_args(kind)]
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        parts = [hints[field.name] for field in fields(kind) if field.repr]
    return {kind}.union(*(told(part) for part in parts if part is not kind))


@pytest.mark.parametrize("record", [Identity, Adapter, TrackSet])
def test_what_the_host_keeps_of_a_failing_nodes_inputs_holds_nothing_of_a_person(record: type) -> None:
    assert not told(record) & {torch.Tensor, Attributes}
    assert repr(SOUND) == f"Identity(space={SPACE!r})"


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
        PICTURES,
    ]
    assert len({digest, *(identity.content_sha256 for identity in changed)}) == 7
