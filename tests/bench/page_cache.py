"""The pages of a file that the system holds in RAM; Linux only."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import numpy as np

CHUNK_BYTES = 64 << 20


def drop(path: Path) -> None:
    """Takes a file's pages out of RAM, as far as they are written and nobody has them mapped."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fill(path: Path) -> None:
    """Reads a file once from end to end."""
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK_BYTES):
            continue


def share(path: Path) -> float:
    """The share of a file's pages that are in RAM, 0 to 1; raises OSError when the system does not say."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        view = np.frombuffer(pages, dtype=np.uint8)
        seen = np.zeros(-(-view.size // mmap.PAGESIZE), dtype=np.uint8)
        address, size = ctypes.c_void_p(view.ctypes.data), ctypes.c_size_t(view.size)
        failed = ctypes.CDLL(None, use_errno=True).mincore(address, size, ctypes.c_void_p(seen.ctypes.data))
        del view  # an mmap does not close while an array looks at it
    if failed:
        raise OSError(ctypes.get_errno(), "mincore", str(path))
    return float((seen & 1).mean())
