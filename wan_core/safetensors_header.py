"""The start of a safetensors file, checked before anything trusts it.

Format: 8 bytes with the length of the header, little-endian; the header, a JSON object that says of each tensor what
type and shape it has and where its bytes begin and end; then those bytes, without gaps. The reader that the host uses
on GPUs checks none of it.
"""

from __future__ import annotations

import json
import math
from typing import Any

from .checks import HALF_A_PAIR
from .errors import quoted
from .weights import MOST_WEIGHTS, WeightFileError, require_plain_name

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 10_000_000  # the format's own library takes ten times as much, and no adapter needs a tenth
METADATA = "__metadata__"
ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
ITEM_BYTES |= {"I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
MOST_AXES = 8


def header_bytes(length_field: bytes, file_bytes: int) -> int:
    """The length of the header from the file's first 8 bytes; raises WeightFileError when there is no such header."""
    if len(length_field) < LENGTH_BYTES:
        raise WeightFileError(f"it ends after {len(length_field)} bytes")
    length = int.from_bytes(length_field, "little")
    if not 2 <= length <= MOST_HEADER_BYTES:
        raise WeightFileError(f"its first bytes promise a header of {length} bytes, so it is no safetensors file")
    if LENGTH_BYTES + length > file_bytes:
        raise WeightFileError(f"it is cut off: its header alone has {length} bytes, the whole file {file_bytes}")
    return length


def require_bounded_safetensors(header: bytes, file_bytes: int) -> None:
    """Raises WeightFileError unless the header is sound and its tensors fill the file to its last byte."""
    entries = _parsed(header)
    _require_metadata(entries.pop(METADATA, {}))
    if len(entries) > MOST_WEIGHTS:
        raise WeightFileError(f"it lists {len(entries)} tensors, more than {MOST_WEIGHTS}")
    for name in entries:
        require_plain_name(name)
    _require_filled([_place(name, entry) for name, entry in entries.items()], LENGTH_BYTES + len(header), file_bytes)


def _parsed(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise WeightFileError("its header is no JSON object, so it is no safetensors file")
    try:
        return json.loads(header.decode(), object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, WeightFileError) else WeightFileError("its header is no sound JSON") from None


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise WeightFileError("its header names something twice")
    return content


def _require_metadata(metadata: object) -> None:
    match metadata:
        case None:
            return
        case dict() if all(isinstance(value, str) for value in metadata.values()):
            if not any(map(HALF_A_PAIR.search, [*metadata, *metadata.values()])):
                return
    raise WeightFileError("its metadata is not plain text")


def _place(name: str, entry: object) -> tuple[int, int]:
    """Where a tensor's bytes begin and end; raises WeightFileError unless it has as many as its type and shape say."""
    match entry:
        case {"dtype": str() as dtype, "shape": [*shape], "data_offsets": [begin, end]}:
            if not _are_sizes([*shape, begin, end]):
                raise WeightFileError(f"its {quoted(name)} has sizes that are none")
            if dtype not in ITEM_BYTES:
                raise WeightFileError(f"its {quoted(name)} is of type {quoted(dtype)}, which no weight has")
            if len(shape) > MOST_AXES or math.prod(shape) * ITEM_BYTES[dtype] != end - begin:
                raise WeightFileError(f"its {quoted(name)} has another number of bytes than its shape says")
            return begin, end
    raise WeightFileError(f"its header does not say type, shape and place of {quoted(name)}")


def _are_sizes(numbers: list[Any]) -> bool:
    return all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)


def _require_filled(places: list[tuple[int, int]], start: int, file_bytes: int) -> None:
    """The tensors lie one behind the other, from the end of the header to that of the file."""
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise WeightFileError(f"its tensors {'overlap' if begin < reached else 'leave bytes out'}")
        reached = end
    needed_bytes = start + reached
    if needed_bytes > file_bytes:
        raise WeightFileError(f"it is cut off: it has {file_bytes} of {needed_bytes} bytes")
    if needed_bytes < file_bytes:
        raise WeightFileError(f"it has {file_bytes - needed_bytes} bytes more than its tensors need")
