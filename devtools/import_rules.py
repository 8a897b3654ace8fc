"""Checks the import rules of pyproject.toml with import-linter: ``python -m devtools.import_rules``.

import-linter knows modules by the name of their package, and the folder of this one is called as its user likes. So it
gets a copy of the shipped code in a folder with a name that stays.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .shell import ROOT

PACKAGE = "wancast"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def copy_shipped(folder: Path) -> Path:
    """Copies the rules and the shipped code, as the package that they speak of; returns the place of the package."""
    package = folder / PACKAGE
    for part in ("nodes", "wan_core"):
        shutil.copytree(ROOT / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", package)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return package


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the copy in ``folder``; its exit code is 0 when all rules are kept."""
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        copy_shipped(Path(name))
        result = lint(Path(name))
    sys.stdout.write(result.stdout + result.stderr)
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
