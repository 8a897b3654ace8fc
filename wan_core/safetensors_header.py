"""The start of a safetensors file, checked before anything trusts it.

Format: 8 bytes with the length of the header, little-endian; the header, a JSON object that says of each tensor where
its bytes begin and end; then those bytes. The reader that the host uses on GPUs checks none of it.
"""

from __future__ import annotations

import re

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000  # the limit of the format's own library
DATA_OFFSETS = re.compile(rb'"data_offsets"\s*:\s*\[\s*\d+\s*,\s*(\d{1,18})\s*\]')


def header_bytes(length_field: bytes, file_bytes: int) -> int:
    """The length of the header from the file's first 8 bytes; raises ValueError when there is no such header."""
    if len(length_field) < LENGTH_BYTES:
        raise ValueError(f"it ends after {len(length_field)} bytes")
    length = int.from_bytes(length_field, "little")
    if not 2 <= length <= MOST_HEADER_BYTES:
        raise ValueError(f"its first bytes promise a header of {length} bytes, so it is no safetensors file")
    if LENGTH_BYTES + length > file_bytes:
        raise ValueError(f"it is cut off: its header alone has {length} bytes, the whole file {file_bytes}")
    return length


def require_whole(header: bytes, file_bytes: int) -> None:
    """Raises ValueError unless the header is an object and the file as long as the tensors in it need."""
    if not header.startswith(b"{"):
        raise ValueError("its header is no JSON object, so it is no safetensors file")
    ends = [int(match[1]) for match in DATA_OFFSETS.finditer(header)]
    needed_bytes = LENGTH_BYTES + len(header) + max(ends, default=0)
    if needed_bytes > file_bytes:
        raise ValueError(f"it is cut off: it has {file_bytes} of {needed_bytes} bytes")
