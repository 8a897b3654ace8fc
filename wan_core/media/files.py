"""Names, room and the moment a video file appears in its folder."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import InputError

MIB = 2**20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, over the quota, over the largest file allowed


@dataclass(frozen=True, slots=True)
class NumberedFile:
    """A file's name in its folder, kept free by its partial."""

    folder: str
    stem: str
    counter: int
    extension: str

    @property
    def name(self) -> str:
        return f"{self.stem}_{self.counter:05}_.{self.extension}"

    @property
    def final(self) -> str:
        """The finished file."""
        return os.path.join(self.folder, self.name)

    @property
    def partial(self) -> str:
        """The recording; it is there from the first moment, so that nobody else takes the name."""
        return os.path.join(self.folder, f".{self.name}.partial")

    @property
    def copy(self) -> str:
        """The finished file before it gets its name."""
        return os.path.join(self.folder, f".{self.name}.copy.partial")

    def next(self) -> NumberedFile:
        return NumberedFile(self.folder, self.stem, self.counter + 1, self.extension)


def require_place(folder: str, stem: str) -> None:
    """Raises InputError for a folder that is not there or a name that would lead out of it."""
    if not os.path.isdir(folder):
        raise InputError("folder", found=repr(folder), wanted="a folder that exists", fix="Create it first.")
    if not stem or os.path.basename(stem) != stem or "\0" in stem:
        raise InputError("name", found=repr(stem), wanted="a file name without folders", fix="Change the name.")


def reserve(place: NumberedFile) -> tuple[NumberedFile, BinaryIO]:
    """The first free place from this one on, and its partial, newly made and open; safe between processes."""
    while True:
        try:
            file = open_new(place.partial)
        except FileExistsError:
            place = place.next()
            continue
        except PermissionError as error:
            found = f"{place.folder!r}, where no file can be made ({error.strerror})"
            fix = "Choose another folder, or change its permissions."
            raise InputError("folder", found=found, wanted="a folder that can be written to", fix=fix) from error
        if not os.path.exists(place.final):
            return place, file
        file.close()
        os.remove(place.partial)
        place = place.next()


def open_new(path: str) -> BinaryIO:
    """An empty file to write to; raises FileExistsError where there is one."""
    return open(path, "xb")


def publish(path: str, place: NumberedFile) -> str:
    """Gives a complete file its name, at once and never over another file; returns where it is now."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    while True:
        try:
            _move_new(path, place.final)
        except FileExistsError:  # somebody who does not know our partials took the name meanwhile
            place = place.next()
            continue
        _sync_folder(place.folder)
        return place.final


def _move_new(path: str, target: str) -> None:
    """Renames a file; raises FileExistsError where the target exists."""
    if os.name == "nt":
        os.rename(path, target)  # refuses an existing target there
        return
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        with open(target, "xb"):
            os.replace(path, target)
    else:
        os.remove(path)


def _sync_folder(folder: str) -> None:
    """Waits until the names in a folder lie on the disk; Windows has no way to say so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Removes a file that may be gone already."""
    if os.path.lexists(path):
        os.remove(path)


def size_bytes(path: str) -> int:
    return os.path.getsize(path)


# Room


def free_bytes(folder: str) -> int:
    return shutil.disk_usage(folder).free


def require_room(folder: str, needed_bytes: int) -> None:
    """Raises InputError when the folder's disk has not that much free."""
    free = free_bytes(folder)
    if free < needed_bytes:
        raise disk_full(f"{free / MIB:.0f} MiB free", f"about {needed_bytes / MIB:.0f} MiB for the rest of the video")


def disk_full(found: str, wanted: str) -> InputError:
    fix = "Free space there, choose another folder, or lower the quality; the unfinished file is removed."
    return InputError("disk", found=found, wanted=wanted, fix=fix)
