"""The errors WanCast raises for the person at the canvas."""

from __future__ import annotations


class InputError(ValueError):
    """An input that cannot be used: which one, what was found, what is wanted, and what to do about it."""

    def __init__(self, name: str, *, found: object, wanted: str, fix: str) -> None:
        super().__init__(f"{name}: found {found}; wanted {wanted}. {fix}")


class MissingDependencyError(RuntimeError):
    """An optional Python package that this input needs and that is not installed."""

    def __init__(self, package: str, *, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the Python package {package!r}. Install it with: pip install {package}")
