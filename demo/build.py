"""Writes the miniature networks, random and trained: ``python -m demo.build --models FOLDER``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import trained
from .miniature import files


def main() -> None:
    """Builds or copies what is missing or out of date and says so, one line a file."""
    parser = argparse.ArgumentParser(prog="demo.build", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="the folder that the host gets as its models folder")
    models = parser.parse_args().models
    started = time.perf_counter()
    if files.is_current(models):
        sys.stdout.write(f"{models}: {len(files.FILES)} random networks are up to date\n")
    else:
        for name, size_bytes in files.build(models):
            sys.stdout.write(f"{models / name}: {size_bytes / 1e6:.2f} MB\n")
    for name in trained.place(models):
        sys.stdout.write(f"{models / name}: trained\n")
    for name in trained.lacking():
        sys.stdout.write(f"{trained.WEIGHTS / name} is not there; python -m demo.training makes it\n")
    sys.stdout.write(f"done in {time.perf_counter() - started:.1f} s\n")


if __name__ == "__main__":
    main()
