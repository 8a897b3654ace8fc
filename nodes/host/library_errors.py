"""What can go wrong with the library, in words that hold no path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import Timeout

from ...wan_core.errors import InputError, quoted
from ...wan_core.identity.character_json import CharacterFileError
from ...wan_core.media.files import DISK_FULL
from .private_files import NoPlainFileError

IN_LIBRARY = "Delete it, and import an exported copy or save the character again."


class UnknownCharacter(InputError):
    """There is no such character in the library."""


class NameTaken(InputError):
    """Another character has that name."""


class RevisionConflict(InputError):
    """The character was changed since it was looked at."""


@contextmanager
def errors_in_words(input_name: str, *, advice: str = IN_LIBRARY) -> Iterator[None]:
    """Says what went wrong with a file or the folder without a path; raises InputError.

    ``advice``: what to do about a file that cannot be used.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise unknown_character(input_name) from error
    except (CharacterFileError, NoPlainFileError) as error:
        found, wanted = f"a file that cannot be used: {error}", "a whole file of a character"
        raise InputError(input_name, found=found, wanted=wanted, fix=advice) from error
    except Timeout as error:
        found, fix = "a library that another process is changing", "Try again."
        raise InputError(input_name, found=found, wanted="one that is free", fix=fix) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            found, wanted = "no room left on the disk of the library", "room for the whole character"
            raise InputError(input_name, found=found, wanted=wanted, fix="Free space there.") from error
        raise InputError(
            input_name,
            found=f"a library that cannot be used ({reason(error)})",
            wanted="the folder __wancast/characters in the user folder of ComfyUI, to read and to write",
            fix="Make it a folder with your permissions, or start ComfyUI with another --user-directory.",
        ) from error


def reason(error: Exception) -> str:
    """Why a file cannot be used, without its path."""
    return quoted(error.strerror) if isinstance(error, OSError) and error.strerror else str(error)


def unknown_character(input_name: str) -> UnknownCharacter:
    return UnknownCharacter(
        input_name,
        found="a character that is not in the library",
        wanted="one of the library",
        fix="Pick another one, or import its file.",
    )
