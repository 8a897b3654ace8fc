from __future__ import annotations

import pytest
import torch

from wan_core.errors import InputError
from wan_core.identity.record import Identity, Space

SPACE = Space("encoder.safetensors", "ab" * 32, "IR-SE")
Z = torch.nn.functional.normalize(torch.arange(1.0, 513.0), dim=0)
CROPS = torch.zeros(2, 112, 112, 3)


def test_a_sound_record_is_kept_as_it_is() -> None:
    references = torch.stack((Z, Z))
    identity = Identity(Z, references, CROPS, SPACE)
    assert identity.z is Z
    assert identity.references is references
    assert identity.space == Space("encoder.safetensors", "ab" * 32, "IR-SE")


BAD_RECORDS = {
    "found z of shape (256,); wanted (512,)": (Z[:256], Z[None], CROPS[:1]),
    "found references of shape (2, 256); wanted (2, 512)": (Z, torch.stack((Z, Z))[:, :256], CROPS),
    "found references of shape (0, 512)": (Z, torch.empty(0, 512), CROPS[:0]),
    "found crops of shape (2, 112, 112, 3); wanted (1, 112, 112, 3)": (Z, Z[None], CROPS),
    "found z of length 2; wanted finite vectors of length 1": (Z * 2, Z[None], CROPS[:1]),
    "found z of length 0": (Z * 0, Z[None], CROPS[:1]),
    "found references of length nan": (Z, Z[None] * float("nan"), CROPS[:1]),
    "found z in torch.float16; wanted torch.float32": (Z.half(), Z[None], CROPS[:1]),
}


@pytest.mark.parametrize(("message", "parts"), BAD_RECORDS.items())
def test_an_unsound_record_cannot_be_made(message: str, parts: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(InputError) as caught:
        Identity(*parts, SPACE)
    assert str(caught.value).startswith("identity: ")
    assert message in str(caught.value)
