"""Files of one folder that nobody else may read: opened only as what they are, replaced at once or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import BinaryIO

from ...wan_core.errors import quoted
from ...wan_core.media.files import remove, sync_folder

# A link, and a pipe that would never answer, are no files of ours; Windows knows neither flag, and needs the third.
AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
OWNER_ONLY = 0o600
OWNER_ONLY_FOLDER = 0o700

log = getLogger(__name__)


class NoPlainFileError(OSError):
    """A link, a folder or a device in place of a file."""


class LinkedFolderError(OSError):
    """A link in place of a folder."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What changes when a file gets another content."""

    modified_ns: int
    changed_ns: int  # which nobody can set; on Windows when it was made
    size_bytes: int
    inode: int


@contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, FileState]]:
    """A file to read, and its state; raises OSError, also where it is a link or no file."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise NoPlainFileError("it is a link, a folder or a device, and no file")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | AS_IT_IS)) as file:
        found = os.fstat(file.fileno())
        yield file, FileState(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def replace_file(path: str, content: bytes, *, unfinished: str) -> None:
    """Gives a file another content, which is on the disk before it has the name; raises OSError and leaves nothing.

    ``unfinished``: the path, in the same folder, that the content has until then.
    """
    try:
        with open(unfinished, "xb", opener=lambda name, flags: os.open(name, flags | AS_IT_IS, OWNER_ONLY)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:  # where it has the name, nothing is there any more
        remove(unfinished)
    sync_folder(os.path.dirname(path))


def remove_file(path: str) -> None:
    """Removes a file or a link, which may be gone already; raises OSError."""
    if os.path.lexists(path):
        os.remove(path)


def make_private_folder(path: str) -> None:
    """Makes a folder with all above it, and closes it to others; raises OSError, also for a link (``require_no_link``).

    Where the disk has no such rights, that is logged.
    """
    require_no_link(path)
    os.makedirs(path, mode=OWNER_ONLY_FOLDER, exist_ok=True)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & ~OWNER_ONLY_FOLDER:
        try:
            os.chmod(path, mode & OWNER_ONLY_FOLDER)
        except OSError as error:
            log.warning("The folder of the characters cannot be closed to others: %s", quoted(error.strerror))


def require_no_link(path: str) -> None:
    """Raises OSError where a link stands for a folder or for the one above it."""
    if os.path.islink(path) or os.path.islink(os.path.dirname(path)):
        raise LinkedFolderError("it is a link to another folder")
