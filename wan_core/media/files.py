"""Names, room, the moment a video file appears in its folder, and what a process that was killed left there."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import BinaryIO

from ..errors import InputError, quoted

if os.name != "nt":
    import fcntl

MIB = 2**20
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room, over the quota, over the largest file allowed
LONGEST_PART_BYTES = 200  # with the number, the ending and the mark of an unfinished file it fits any file system
MOST_PARTS = 16
FORBIDDEN = frozenset('<>:"|?*')  # on Windows; the colon is also that of a drive and of a stream
DEVICES = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$")) | {
    f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789\u00b9\u00b2\u00b3"
}
PARTIAL = re.compile(r"\.(.+_\d{5,}_\.(?:mp4|mov|mkv))(?:\.copy)?\.partial", re.DOTALL)

log = getLogger(__name__)


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


# The user's name for a file


def checked_prefix(prefix: object) -> str:
    """The subfolders and the name that a prefix means, with "/" between them; raises InputError for any other text.

    The rules of Windows hold everywhere: folders are shared between systems.
    """
    text = prefix if isinstance(prefix, str) else ""
    parts = [part for part in re.split(r"[/\\]", text) if part not in ("", ".")]
    if not parts:
        raise _bad_prefix(prefix, "a name", "Write one, like video/shot.")
    if text[0] in "/\\" or len(parts) > MOST_PARTS or not all(map(_is_plain, parts)):
        fix = "Leave out .. and drives, letters that file names cannot have, and dots and spaces at the end."
        raise _bad_prefix(prefix, "a name, with subfolders or none, that every system takes", fix)
    if max(len(part.encode()) for part in parts) > LONGEST_PART_BYTES:
        wanted = f"names of at most {LONGEST_PART_BYTES} bytes"
        raise _bad_prefix(prefix, wanted, "Write a shorter one; a Chinese letter takes 3 bytes.")
    return "/".join(parts)


def _is_plain(part: str) -> bool:
    """Whether a name means itself on every system: no way up, no device, nothing invisible."""
    is_device = part.split(".")[0].rstrip(" ").lower() in DEVICES
    return part.isprintable() and not FORBIDDEN & set(part) and part[-1] not in ". " and not is_device


def _bad_prefix(prefix: object, wanted: str, fix: str) -> InputError:
    return InputError("filename_prefix", found=quoted(prefix), wanted=wanted, fix=fix)


# From the first byte to the name


def require_place(folder: str, stem: str) -> None:
    """Raises InputError for a folder that is not there or a name that would lead out of it."""
    if not os.path.isdir(folder):
        raise InputError("filename_prefix", found="a folder that is gone", wanted="one that exists", fix="Try again.")
    if not stem or os.path.basename(stem) != stem or "\0" in stem:
        raise _bad_prefix(stem, "a file name without folders", "Change the name.")


def reserve(place: NumberedFile) -> tuple[NumberedFile, BinaryIO]:
    """The first free place from this one on, and its partial, newly made and open; safe between processes."""
    while True:
        try:
            file = open(place.partial, "xb")  # noqa: SIM115 - it stays open for the recording
        except FileExistsError:
            place = place.next()
            continue
        if _keep(file, place.partial):
            if not os.path.exists(place.final):
                return place, file
            remove(place.partial)
        file.close()
        place = place.next()


def _keep(file: BinaryIO, path: str) -> bool:
    """Locks a new file until it is closed; False where a sweep took it for a left-over before that."""
    if os.name == "nt":
        return True  # what is open cannot be removed there
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # waits for a sweep that looks at it
    except OSError:  # a drive without locks, where nothing is swept
        return True
    return _is_at(path, file)


def _is_at(path: str, file: BinaryIO) -> bool:
    """Whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


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
        sync_folder(place.folder)
        return place.final


def _move_new(path: str, target: str) -> None:
    """Renames a file; raises FileExistsError where the target exists.

    On a file system without links, but not on Windows, a target that another program makes in that very moment is lost.
    """
    if os.name == "nt":
        os.rename(path, target)  # refuses an existing target there
        return
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(path, target)
    else:
        remove(path)


def sync_folder(folder: str) -> None:
    """Waits until the names in a folder lie on the disk; Windows has no way to say so."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: str) -> None:
    """Removes a file that may be gone already; where the system does not let it, that is logged."""
    try:
        os.remove(path)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s could not be removed: %s", quoted(os.path.basename(path)), error.strerror)


# What killed processes left


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A video that a killed process did not finish."""

    folder: str
    disk_bytes: int  # of its recording and the copy beside it


def left_overs(root: str, *, removed: bool) -> Iterator[LeftOver]:
    """The unfinished videos below a folder that no process writes any more; on the way they are ``removed``.

    One that is empty is always removed, and not told.
    """
    for folder, _, names in os.walk(root):
        for name in sorted({partial[1] for partial in map(PARTIAL.fullmatch, names) if partial}):
            recording, copy = (os.path.join(folder, f".{name}{ending}") for ending in (".partial", ".copy.partial"))
            paths = [path for path in (recording, copy) if os.path.isfile(path) and not os.path.islink(path)]
            with _nobodys(recording) as is_left:
                if not paths or not is_left:
                    continue
                disk_bytes = sum(map(_disk_bytes, paths))
                if disk_bytes:
                    yield LeftOver(folder, disk_bytes)
                for path in paths if removed or not disk_bytes else ():
                    remove(path)


@contextmanager
def _nobodys(path: str) -> Iterator[bool]:
    """Whether no other process has a file, or there is none; in the block nobody takes it."""
    if os.name == "nt" or not os.path.exists(path):
        yield True
        return
    with ExitStack() as held:
        try:  # on network drives only what may be written can be locked
            file = held.enter_context(open(path, "rb+"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield _is_at(path, file)


def _disk_bytes(path: str) -> int:
    """The size of a file that the user may remove meanwhile."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


# Room


def require_room(folder: str, needed_bytes: int) -> None:
    """Raises InputError when the folder's disk has not that much free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise disk_full(f"{free / MIB:.0f} MiB free", f"about {needed_bytes / MIB:.0f} MiB for the rest of the video")


def disk_full(found: str, wanted: str) -> InputError:
    fix = "Free space there, choose another folder, or lower the quality; the unfinished file is removed."
    return InputError("filename_prefix", found=f"{found} in its folder", wanted=wanted, fix=fix)


def not_writable(error: OSError) -> InputError:
    """What the system says when a file cannot be written, without its path."""
    if error.errno in DISK_FULL:
        return disk_full(f"no room left ({quoted(error.strerror)})", "room for the rest of the video")
    found = f"a folder that nothing can be written to ({quoted(error.strerror)})"
    fix = "Choose another folder, or change its permissions."
    return InputError("filename_prefix", found=found, wanted="a folder for new files", fix=fix)
