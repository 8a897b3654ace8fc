"""Arrays that lie in files, for what is made once, row by row, and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap


def rows_in(folder: Path, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """The array ``NAME.npy`` of a folder, of zeros where it is new; raises ValueError for one of other rows."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npy"
    if not path.is_file():
        return open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    found = open_memmap(path, mode="r+")
    if found.shape != shape or found.dtype != dtype:
        raise ValueError(f"{path} is of other rows: delete it, and they are made again")
    return found
