"""How much an ONNX file will become in memory, counted in its bytes before anything parses them.

A file is a protobuf message: fields, each a tag and a number or a length and so many bytes, which may be a message
again (onnx.proto3). Every field of a parsed message takes some fifty bytes and more, however short it was in the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..weights import WeightFileError
from .onnx_graph import MOST_FILE_BYTES

MOST_FIELDS = 500_000  # an iResNet of 100 layers has some twenty thousand
MOST_OPAQUE_BYTES = 1 << 23  # of names and texts, and of what is not looked into
LONGEST_VARINT = 10  # bytes
# The messages that hold others: field -> the message in it.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "function": {7: "node", 12: "value"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
    "dimension": {},
}
FLOATS, SMALL_INTS, LARGE_INTS, RAW, DOUBLES = (("tensor", field) for field in (4, 5, 7, 9, 10))
NUMBERS = {FLOATS: 1, SMALL_INTS: 4, LARGE_INTS: 8, RAW: 1, DOUBLES: 1}  # field -> bytes that one byte may become


def require_bounded_onnx(content: bytes) -> None:
    """Raises WeightFileError, saying why, where a file is no message or would become many times what it is."""
    count, opaque_bytes, number_bytes = 0, 0, 0
    to_read = [("model", 0, len(content))]
    while to_read:
        message, at, end = to_read.pop()
        for number, start, size_bytes in _fields(content, at, end):
            count += 1
            if number in MESSAGES[message]:
                to_read.append((MESSAGES[message][number], start, start + size_bytes))
            elif (message, number) in NUMBERS:
                number_bytes += size_bytes * NUMBERS[message, number]
            else:
                opaque_bytes += size_bytes
            if count > MOST_FIELDS or opaque_bytes > MOST_OPAQUE_BYTES:
                raise WeightFileError("more fields or texts than a network has")
            if number_bytes > MOST_FILE_BYTES:
                raise WeightFileError(f"numbers that may become more than {MOST_FILE_BYTES} bytes")


def _fields(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The number, the start and the bytes of each field of the message between two places."""
    while at < end:
        tag, at = _varint(content, at)
        match tag & 7:
            case 0:  # a number
                start, (_, at) = at, _varint(content, at)
            case 2:  # so many bytes
                size_bytes, start = _varint(content, at)
                at = start + size_bytes
            case 1:  # 64 bits
                start, at = at, at + 8
            case 5:  # 32 bits
                start, at = at, at + 4
            case _:
                raise WeightFileError("a field that is written in no known way")
        if at > end:
            raise WeightFileError("a field that is longer than its message")
        yield tag >> 3, start, at - start


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a byte, seven bits in each, and where it ends."""
    value = 0
    for shift, byte in enumerate(content[at : at + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, at + shift + 1
    raise WeightFileError("a number that does not end")
