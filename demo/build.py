"""Writes the miniature networks into a models folder: ``python -m demo.build --models FOLDER``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from .miniature import files


def main() -> None:
    """Builds what is missing or out of date and says so, one line a file."""
    parser = argparse.ArgumentParser(prog="demo.build", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="the folder that the host gets as its models folder")
    models = parser.parse_args().models
    if files.is_current(models):
        sys.stdout.write(f"{models}: {len(files.FILES)} miniature networks are up to date\n")
        return
    started = time.perf_counter()
    for name, size_bytes in files.build(models):
        sys.stdout.write(f"{models / name}: {size_bytes / 1e6:.2f} MB\n")
    sys.stdout.write(f"built in {time.perf_counter() - started:.1f} s\n")


if __name__ == "__main__":
    main()
