"""A safetensors file is refused by its start when it cannot be whole; a whole one never is."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
import torch
from safetensors.torch import save

from wan_core.safetensors_header import LENGTH_BYTES, MOST_HEADER_BYTES, header_bytes, require_bounded_safetensors
from wan_core.weights import MOST_WEIGHTS, WeightFileError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4, dtype=torch.float8_e4m3fn), "c": torch.zeros(0)}
GOOD = save(TENSORS, {"note": 'a text with "data_offsets":[0,999999] in it'})

NULL = (24).to_bytes(8, "little") + b'{"__metadata__": null}  '


def check(content: bytes) -> None:
    """Both checks on a file of this content, as a loader makes them."""
    length = header_bytes(content[:LENGTH_BYTES], len(content))
    require_bounded_safetensors(content[LENGTH_BYTES : LENGTH_BYTES + length], len(content))


@pytest.mark.parametrize("content", [GOOD, save({}), save({}, {"a": "b"}), NULL, save({"one": torch.tensor(1.0)})])
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
    with pytest.raises(WeightFileError) as caught:
        check(content)
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()


# Headers


def file_of(header: str | bytes, data_bytes: int) -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return len(raw).to_bytes(LENGTH_BYTES, "little") + raw + bytes(data_bytes)


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_header_that_promises_more_than_the_file_is_refused() -> None:
    content = file_of(json.dumps({"a": entry(shape=[9], offsets=[0, 36])}, indent=1), 35)
    with pytest.raises(ValueError, match=f"it is cut off: it has {len(content)} of {len(content) + 1} bytes"):
        check(content)
    check(content + b"\0")


UNSOUND, TWICE, METADATA = (
    "its header is no sound JSON",
    "its header names something twice",
    "its metadata is not plain",
)
BYTES, SIZES = "its 'a' has another number of bytes than its shape says", "its 'a' has sizes that are none"
NO_PLACE = "its header does not say type, shape and place of 'a'"
NAMES = (("\udc80", r"'\udc80'"), ("a\n", r"'a\n'"), ("k" * 999, "'kk"))
MANY = {str(number): entry("U8", [0], [8, 8]) for number in range(MOST_WEIGHTS)}
HEADERS: list[tuple[Any, str]] = [  # of files with 8 bytes of data
    ('{"a":', UNSOUND),
    (b'{"\xff":1}', UNSOUND),
    ('{"a":' * 100_000, UNSOUND),
    ('{"a":' + "1" * 5000 + "}", UNSOUND),
    ('{"a":1,"a":1}', TWICE),
    ('{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', TWICE),
    *(({"__metadata__": bad, "a": entry()}, METADATA) for bad in ([], {"a": 1}, {"a": None}, {"a": "\ud800"})),
    *(({"a": bad}, NO_PLACE) for bad in (1, [], {"dtype": "F32"}, entry(dtype=1), entry(shape=2), entry(offsets=[0]))),
    *(({"a": entry(shape=bad)}, SIZES) for bad in ([True], [-2], [2.0], ["2"], [10**19], [[2]])),
    *(({"a": entry(offsets=bad)}, SIZES) for bad in ([-8, 0], [0.0, 8], [0, 10**18 * 9 + 10**18], [None, 8])),
    *(({"a": entry(shape=bad)}, BYTES) for bad in ([3], [], [2, 2], [1] * 9 + [2], [2**62, 2**62])),
    ({"a": entry(offsets=[8, 0])}, BYTES),
    ({"a": entry(dtype="F31\ud800")}, r"its 'a' is of type 'F31\ud800', which no weight has"),
    ({"a": entry(), "b": entry()}, "its tensors overlap"),
    ({"a": entry(shape=[1], offsets=[4, 8])}, "its tensors leave bytes out"),
    ({"a": entry(shape=[1], offsets=[0, 4])}, "it has 4 bytes more than its tensors need"),
    ({"a": entry()} | MANY, f"it lists {MOST_WEIGHTS + 1} tensors, more than {MOST_WEIGHTS}"),
    *(({name: entry()}, f"it calls a weight {found}") for name, found in NAMES),
]


@pytest.mark.parametrize(("header", "reason"), HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_is_not_sound_is_refused_with_a_reason(header: Any, reason: str) -> None:
    check(file_of(json.dumps({"a": entry()}), 8))
    with pytest.raises(WeightFileError) as caught:
        check(file_of(header if isinstance(header, (str, bytes)) else json.dumps(header), 8))
    assert str(caught.value).startswith(reason)
    assert str(caught.value).isprintable()


def test_ten_thousand_mutated_files_are_answered_fast() -> None:
    chance, times_s = random.Random(7), []
    for _ in range(10_000):
        content = bytearray(GOOD)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        begun_s = time.process_time()
        try:
            check(bytes(content[: chance.choice([len(content), chance.randrange(len(content))])]))
        except WeightFileError as error:
            assert str(error).isprintable()
        times_s.append(time.process_time() - begun_s)
    assert sorted(times_s)[9_900] < 0.05
