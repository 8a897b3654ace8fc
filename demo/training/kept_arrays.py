"""What is made of clips once, row by row, and lives in files of a job's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap


def array_in(folder: Path, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that lives in a file, of zeros where it is new; raises ValueError for a file of other clips."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npy"
    if not path.is_file():
        return open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    found = open_memmap(path, mode="r+")
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{path} is of other clips: delete it, and they are made again")
    return found
