"""The errors WanCast raises for the person at the canvas; they are data, and the node is put in where it is known."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib import metadata  # noqa: TID251 - it reads versions and imports nothing

import numpy as np

LONGEST_QUOTE = 120  # characters of a foreign text in a message
LONGEST_NUMBER = 128  # bits of a whole number in a message
LONGEST_TEXT = 2000  # characters of a message


def quoted(value: object) -> str:
    """A foreign value as a message may hold it: text in quotes, escaped and cut; a number; else what kind it is."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, str):
        cut = len(value) - LONGEST_QUOTE
        return repr(value[:LONGEST_QUOTE]) + (f" and {cut} characters more" if cut > 0 else "")
    if isinstance(value, Fraction):
        return "/".join(map(quoted, value.as_integer_ratio()))
    if isinstance(value, int) and value.bit_length() > LONGEST_NUMBER:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"


def printable(text: str) -> str:
    """A message in one line without what is not for printing: controls, line ends, surrogates, marks of direction."""
    cut = len(text) - LONGEST_TEXT
    text = text[:LONGEST_TEXT] + (f" and {cut} characters more" if cut > 0 else "")
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class UserError(Exception):
    """Something that the user can put right."""

    node: str | None = None  # the node that it happened in; None outside of a graph

    def __init_subclass__(cls) -> None:
        cls.__module__ = "WanCast"  # the page shows it before the class; the host names a pack's modules by their path

    def __init__(self, text: str) -> None:
        self.text = printable(text)
        super().__init__(self.text)

    def __str__(self) -> str:
        return f"{self.node}: {self.text}" if self.node else self.text


class InputError(UserError, ValueError):
    """An input that cannot be used: which one, what was found, what is wanted, and what to do about it."""

    def __init__(self, input_name: str, *, found: object, wanted: str, fix: str) -> None:
        super().__init__(f"{input_name}: found {found}; wanted {wanted}. {fix}")
        self.input_name = input_name
        self.found = found
        self.wanted = wanted
        self.fix = fix


class MissingDependencyError(UserError, RuntimeError):
    """An optional Python package that this input needs and that is not installed, or cannot be used as it is."""

    def __init__(self, package: str, *, needed_for: str, cause: BaseException | None = None) -> None:
        """``cause``: what the package raised; None when it is not there."""
        words, pip = "", f"Install it with: pip install {distribution_of(package)}"
        if cause is not None:
            names = (distribution_of(package), package)
            versions = [found.version for name in names for found in metadata.distributions(name=name)]
            version = versions[0] if versions else "of an unknown version"
            words = f", which is installed ({version}) but unusable ({type(cause).__name__}: {quoted(str(cause))})"
            pip = f"Repair it with: pip install --force-reinstall --no-deps {distribution_of(package)}"
        super().__init__(f"{needed_for} needs the Python package {package!r}{words}. {pip}")
        self.package = package
        self.needed_for = needed_for


def distribution_of(package: str) -> str:
    """What pip is to install for a package on this computer, as requirements.txt says it."""
    has_gpu_build = (platform.system(), platform.machine()) in (("Linux", "x86_64"), ("Windows", "AMD64"))
    return "onnxruntime-gpu" if package == "onnxruntime" and has_gpu_build else package


@contextmanager
def optional_package(package: str, *, needed_for: str) -> Iterator[None]:
    """A block that imports a package: whatever that raises becomes a MissingDependencyError."""
    try:
        yield
    except (Exception, SystemExit) as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == package
        raise MissingDependencyError(package, needed_for=needed_for, cause=None if is_absent else error) from error


def require_parts(package: object, *names: str) -> None:
    """Raises AttributeError where a package, an old one for example, lacks one of these parts."""
    for name in names:
        getattr(package, name)


@contextmanager
def inputs_renamed(**names: str) -> Iterator[None]:
    """Errors about inputs of these names leave the block as errors about those that a node has in their place."""
    try:
        yield
    except InputError as error:
        if error.input_name not in names:
            raise
        name = names[error.input_name]
        raise InputError(name, found=error.found, wanted=error.wanted, fix=error.fix) from error


@contextmanager
def errors_of(node: str) -> Iterator[None]:
    """Puts a node's name into the errors that are raised in the block, unless a node in it has put in its own.

    They leave without the error of a library that caused them, whose text may hold anything of a file.
    """
    try:
        yield
    except UserError as error:
        error.node = error.node or node
        raise error from None
