"""A file of torch.save is refused before it is unpickled when it could become more than its size."""

from __future__ import annotations

import zipfile
from io import BytesIO

import numpy as np
import pytest
import torch

from wan_core.torch_file import MORE_THAN_WEIGHTS, MOST_OPCODES, require_bounded_torch_file
from wan_core.weights import WeightFileError

WEIGHTS = {
    "a": torch.ones(4),
    "b": torch.nn.Parameter(torch.ones(2).half()),
    "c": torch.ones(3).to(torch.float8_e4m3fn),
    "d": torch.tensor(7),
}


def saved(content: object, *, old: bool = False) -> bytes:
    stream = BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def archive(pickled: bytes, *, name: str = "a/data.pkl", deflated: bool = False, copies: int = 0) -> bytes:
    """An archive of one pickle, which its directory may list several times."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as file:
        file.writestr(name, pickled)
        file.filelist.extend(file.filelist * copies)
    return stream.getvalue()


def check(content: bytes) -> None:
    require_bounded_torch_file(BytesIO(content), len(content))


@pytest.mark.parametrize("old", [False, True])
def test_what_torch_saves_passes(old: bool) -> None:
    check(saved(WEIGHTS, old=old))
    beside = {"epoch": 3, "best": np.float64(0.5), "last": [np.float64(0.25)] * 9, "on": torch.device("cpu")}
    check(saved(beside | {"state_dict": torch.nn.Linear(2, 2).state_dict()}, old=old))
    check(saved({f"blocks.{number}.weight": torch.ones(1) for number in range(5000)}, old=old))


EMPTY = b"\x80\x02}."
HALF_A_GIGABYTE = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x20\x85R."
CODE = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R."
LONG_TEXT = b"X" + (1 << 16).to_bytes(4, "little") + bytes(1 << 16)
MANY_TEXTS = b"\x80\x02(%sq\x00c_codecs\nencode\nq\x01" % LONG_TEXT + b"h\x01h\x00\x85R" * 50 + b"l."
MANY_DICTS = b"\x80\x02" + b"}" * MOST_OPCODES + b"."
SAME_TUPLES = b"\x80\x02}K\x01" + b"q\x00h\x00\x86" * 59 + b"K\x01s."  # 2**59 numbers, as a key
COMPRESSED, OVERLAP = "its entries are compressed, which torch.save never does", "its entries overlap"
LACKS, OLD = "it lacks bytes of its weights", saved(WEIGHTS, old=True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (archive(EMPTY + bytes(1 << 20), deflated=True), COMPRESSED),
        (archive(EMPTY + bytes(1 << 20), copies=2), OVERLAP),
        (archive(zipfile.ZipFile(BytesIO(saved(WEIGHTS))).read("archive/data.pkl")), LACKS),
        (OLD.replace(b"K\x04N", b"M\x04\x40N"), LACKS),  # more numbers than there are bytes
        (OLD[: OLD.rindex(b"\x80\x02]")] + b"\x80\x02].", LACKS),  # a list of no storages
        *(
            (made, MORE_THAN_WEIGHTS)
            for pickled in (HALF_A_GIGABYTE, CODE, MANY_DICTS, MANY_TEXTS, SAME_TUPLES)
            for made in (archive(pickled), archive(pickled, name="a/DATA.PKL"), EMPTY + pickled + EMPTY * 3)
        ),
    ],
)
def test_what_would_become_more_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(WeightFileError) as caught:
        check(content)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", EMPTY * 4, archive(EMPTY[:-1]), saved(WEIGHTS)[:-30], b"\xff" * 99]
)
def test_what_is_damaged_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        check(content)
