"""A safetensors file is refused by its start when it cannot be whole; a whole one never is."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save

from wan_core.safetensors_header import LENGTH_BYTES, MOST_HEADER_BYTES, header_bytes, require_whole

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4, dtype=torch.float8_e4m3fn), "c": torch.zeros(0)}
GOOD = save(TENSORS, {"note": 'a text with "data_offsets":[0,999999] in it'})


def check(content: bytes) -> None:
    """Both checks on a file of this content, as a loader makes them."""
    length = header_bytes(content[:LENGTH_BYTES], len(content))
    require_whole(content[LENGTH_BYTES : LENGTH_BYTES + length], len(content))


@pytest.mark.parametrize("content", [GOOD, save({}), save({}, {"only": "words"}), save({"one": torch.tensor(1.0)})])
def test_a_whole_file_passes(content: bytes) -> None:
    check(content)


def test_a_file_cut_anywhere_is_refused() -> None:
    for size in range(len(GOOD)):
        with pytest.raises(ValueError, match="cut off|ends after"):
            check(GOOD[:size])


def with_length(length: int) -> bytes:
    return length.to_bytes(LENGTH_BYTES, "little") + GOOD[LENGTH_BYTES:]


BAD = {
    "it ends after 0 bytes": b"",
    "it ends after 7 bytes": b"1234567",
    "its first bytes promise a header of 0 bytes, so it is no safetensors file": with_length(0),
    f"promise a header of {2**64 - 1} bytes": with_length(2**64 - 1),
    f"promise a header of {MOST_HEADER_BYTES + 1} bytes": with_length(MOST_HEADER_BYTES + 1),
    f"it is cut off: its header alone has {MOST_HEADER_BYTES} bytes, the whole file": with_length(MOST_HEADER_BYTES),
    f"its header alone has {len(GOOD)} bytes, the whole file {len(GOOD)}": with_length(len(GOOD)),
    "its header is no JSON object": GOOD[:LENGTH_BYTES] + b"[" + GOOD[LENGTH_BYTES + 1 :],
    "promise a header of": b"PK\x03\x04" + bytes(range(200)),  # a zip, as a .ckpt under another name
}


@pytest.mark.parametrize(("reason", "content"), BAD.items())
def test_what_is_no_whole_file_is_refused_with_a_reason(reason: str, content: bytes) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        check(content)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_more_than_the_file_is_refused() -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}, indent=1).encode()
    content = len(header).to_bytes(LENGTH_BYTES, "little") + header + bytes(35)
    with pytest.raises(ValueError, match=f"it is cut off: it has {len(content)} of {len(content) + 1} bytes"):
        check(content)
    check(content + b"\0")
