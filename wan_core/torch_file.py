"""The start of a file of torch.save, checked before anything is unpickled.

Formats: a zip archive that holds a pickle beside the bytes of the weights, never compressed; or, until torch 1.6, five
pickles in a row and then the bytes. The restricted unpickler of torch runs no foreign code, but makes whatever size of
object it is told to: so every pickle is followed first, with nothing in the place of what it makes.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO

from .weights import MOST_WEIGHTS, WeightFileError

ZIP_START = b"PK\x03\x04"
PICKLES_OF_OLD_FORMAT = 5  # the last lists the storages whose bytes follow
MOST_PICKLE_BYTES = 500 * MOST_WEIGHTS
MOST_OPCODES = 40 * MOST_WEIGHTS
MOST_HANDED = 40 * MOST_WEIGHTS  # letters and entries that all calls are handed: they make as much of them
MOST_IN_A_TUPLE = 100  # with all that is in those within, as often as they are
MORE_THAN_WEIGHTS = "it is damaged, or holds more than plain weights"

TENSORS = r"torch\._utils _rebuild_(?:tensor(?:_v[23])?|parameter|sparse_tensor|qtensor|meta_tensor_no_storage)"
CONTAINERS = r"collections OrderedDict|torch Size|pytorch_lightning\.callbacks\.model_checkpoint ModelCheckpoint"
NUMPY = r"numpy\._?core\.multiarray scalar|numpy dtype|numpy\.dtypes Float64DType|_codecs encode"
CALLED = re.compile("|".join((TENSORS, CONTAINERS, NUMPY, r"torch device|torch\.serialization _get_layout")))
STORAGES = r"torch \w+Storage|torch\.storage UntypedStorage"
TYPES = r"torch (?:b?float\d+\w*|complex\d+|q?u?int\d+|bool|per_\w+)"
PLAIN_GLOBALS = re.compile("|".join((CALLED.pattern, STORAGES, TYPES)))
PLAIN_DTYPE = re.compile(r"[<>=|]?[bifuc]\d{1,2}")  # numpy makes a type of any size of other texts
ITEM_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}  # others: 1 or more


def require_bounded_torch_file(file: BinaryIO, file_bytes: int) -> None:
    """Raises WeightFileError, or what zipfile and pickletools do, unless unpickling is bounded by the file's size."""
    start = file.read(len(ZIP_START))
    file.seek(0)
    if start == ZIP_START:
        with zipfile.ZipFile(file) as archive:
            _require_bounded_archive(archive, file_bytes)
    else:
        _require_bounded_pickles(BytesIO(file.read(MOST_PICKLE_BYTES)), file_bytes)


def _require_bounded_archive(archive: zipfile.ZipFile, file_bytes: int) -> None:
    entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightFileError("its entries are compressed, which torch.save never does")
    if sum(entry.file_size for entry in entries) > file_bytes:
        raise WeightFileError("its entries overlap")
    sizes = {entry.filename.partition("/")[2]: entry.file_size for entry in entries}
    for entry in entries:
        if entry.filename.lower().endswith(".pkl"):
            with archive.open(entry) as pickled:
                storages = _followed(BytesIO(pickled.read(MOST_PICKLE_BYTES))).storages
            if any(needed_bytes > sizes.get(f"data/{key}", 0) for key, needed_bytes in storages.items()):
                raise WeightFileError("it lacks bytes of its weights")


def _require_bounded_pickles(stream: BinaryIO, file_bytes: int) -> None:
    *_, content, listed = [_followed(stream) for _ in range(PICKLES_OF_OLD_FORMAT)]
    keys = listed.stack[-1] if isinstance(listed.stack[-1], list) else []
    if sum(content.storages.values()) > file_bytes or not content.storages.keys() <= set(filter(_is_text, keys)):
        raise WeightFileError("it lacks bytes of its weights")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


# What a pickle does


@dataclass(frozen=True, slots=True)
class Global:
    """A class or a function of a module."""

    name: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A tuple."""

    items: tuple[Any, ...]
    size: int  # of it and all that is in it

    @classmethod
    def of(cls, items: Sequence[Any]) -> Bundle:
        size = 1 + sum(item.size if isinstance(item, Bundle) else 1 for item in items)
        _require(size <= MOST_IN_A_TUPLE)
        return cls(tuple(items), size)


EMPTY = Bundle((), 1)


@dataclass(slots=True)
class PickleRun:
    """An unpickler's memory: texts, whole numbers, lists, bundles and globals; None for all else."""

    stack: list[Any] = field(default_factory=list)
    marked: list[list[Any]] = field(default_factory=list)  # what lay on the stack at each mark
    memo: dict[Any, Any] = field(default_factory=dict)
    storages: dict[str, int] = field(default_factory=dict)  # key -> bytes that its tensors need
    handed: int = 0

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """Takes what lies above the last mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def last(self, count: int) -> list[Any]:
        """Takes so many from the top."""
        _require(len(self.stack) >= count)
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def append(self, items: Iterable[Any]) -> None:
        """Puts items into the list on top."""
        _require(isinstance(self.stack[-1], list))
        self.stack[-1].extend(items)

    def call(self, function: object, arguments: object) -> None:
        """What it returns stands on the stack as None."""
        match function, arguments:
            case Global(name), Bundle(items) if CALLED.fullmatch(name):
                self.handed += sum(len(item) for item in items if isinstance(item, (str, list)))
                is_plain = name != "numpy dtype" or (_is_text(items[0]) and PLAIN_DTYPE.fullmatch(items[0]))
                _require(bool(is_plain) and self.handed <= MOST_HANDED)
                self.push(None)
            case _:
                _require(False)

    def store(self, place: object) -> None:
        """Bytes of the file that tensors take theirs from."""
        match place:
            case Bundle(("storage", Global(kind), str(key), str(), int(numbers), *view)):
                _require(all(part is None or isinstance(part, Bundle) and _is_text(part.items[0]) for part in view))
                name = kind.rpartition(" ")[2].removesuffix("Storage")
                needed_bytes = numbers * ITEM_BYTES.get(name, 1)
                self.storages[key] = max(needed_bytes, self.storages.get(key, 0))
                self.push(None)
            case _:
                _require(False)

    def step(self, opcode: str, argument: Any) -> None:
        """Follows one instruction of those that the unpickler of torch knows."""
        match opcode:
            case "GLOBAL":
                _require(bool(PLAIN_GLOBALS.fullmatch(argument)))
                self.push(Global(argument))
            case "BINUNICODE" | "SHORT_BINSTRING" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                self.push(argument)
            case "NONE" | "NEWFALSE" | "NEWTRUE" | "BINFLOAT" | "EMPTY_DICT":
                self.push(None)
            case "EMPTY_LIST":
                self.push([])
            case "EMPTY_TUPLE":
                self.push(EMPTY)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push(Bundle.of(self.last(int(opcode[-1]))))
            case "TUPLE":
                self.push(Bundle.of(self.since_mark()))
            case "MARK":
                self.marked.append(self.stack)
                self.stack = []
            case "APPEND":
                self.append(self.last(1))
            case "APPENDS":
                self.append(self.since_mark())
            case "SETITEM":
                self.last(2)
            case "SETITEMS":
                self.since_mark()
            case "BUILD":
                self.last(1)
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.push(self.memo[argument])
            case "REDUCE" | "NEWOBJ":
                self.call(*self.last(2))
            case "BINPERSID":
                self.store(*self.last(1))
            case _:
                _require(opcode in ("PROTO", "STOP"))


def _followed(stream: BinaryIO) -> PickleRun:
    """Where a pickle ends; raises ValueError unless it is complete, short, and makes nothing but parts of weights."""
    run = PickleRun()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        _require(count < MOST_OPCODES)
        try:
            run.step(opcode.name, argument)
        except (LookupError, AttributeError):
            raise WeightFileError(MORE_THAN_WEIGHTS) from None
    _require(bool(run.stack))
    return run


def _require(holds: bool) -> None:
    if not holds:
        raise WeightFileError(MORE_THAN_WEIGHTS)
