"""The start of a file of torch.save, checked before anything is unpickled.

Formats: a zip archive that holds a pickle beside the bytes of the weights, never compressed; or, until torch 1.6, five
pickles in a row and then the bytes. The restricted unpickler of torch runs no foreign code, but makes whatever size of
object it is told to.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from io import BytesIO
from typing import BinaryIO

from .weights import MOST_WEIGHTS, WeightFileError

ZIP_START = b"PK\x03\x04"
PICKLES_OF_OLD_FORMAT = 5
MOST_PICKLE_BYTES = 500 * MOST_WEIGHTS
MOST_OPCODES = 40 * MOST_WEIGHTS
MOST_MADE_OF_TEXT = 1 << 20  # letters in all
MORE_THAN_WEIGHTS = "it is damaged, or holds more than plain weights"
TENSORS = r"torch\._utils _rebuild_(?:tensor(?:_v[23])?|parameter|sparse_tensor|qtensor|meta_tensor_no_storage)"
STORAGES = r"torch \w+Storage|torch\.storage UntypedStorage"
TYPES = r"torch (?:b?float\d+\w*|complex\d+|q?u?int\d+|bool|Size|per_\w+)|torch\.serialization _get_layout"
OTHERS = r"collections OrderedDict|pytorch_lightning\.callbacks\.model_checkpoint ModelCheckpoint|torch device"
MADE_OF_TEXT = r"numpy dtype|_codecs encode"  # each as large as its text, which a pickle can hand it again and again
NUMPY = rf"numpy\._?core\.multiarray scalar|numpy\.dtypes Float64DType|{MADE_OF_TEXT}"
PLAIN_GLOBALS = re.compile("|".join((TENSORS, STORAGES, TYPES, OTHERS, NUMPY)))


def require_bounded_torch_file(file: BinaryIO, file_bytes: int) -> None:
    """Raises WeightFileError, or what zipfile and pickletools do, unless unpickling is bounded by the file's size."""
    start = file.read(len(ZIP_START))
    file.seek(0)
    if start != ZIP_START:
        _require_plain(file.read(MOST_PICKLE_BYTES), PICKLES_OF_OLD_FORMAT)
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise WeightFileError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > file_bytes:
            raise WeightFileError("its entries overlap")
        for entry in entries:
            if entry.filename.lower().endswith(".pkl"):
                with archive.open(entry) as pickled:
                    _require_plain(pickled.read(MOST_PICKLE_BYTES), 1)


def _require_plain(start: bytes, pickles: int) -> None:
    """Raises ValueError unless the pickles at the start are complete, short and name nothing but parts of weights."""
    stream, opcodes, texts, longest_text = BytesIO(start), 0, 0, 0
    for _ in range(pickles):
        places: set[object] = set()  # in the pickle's memory, of what makes something of a text
        makes = False  # whether that is what was pushed last
        for opcode, argument, _ in pickletools.genops(stream):
            opcodes += 1
            match opcode.name:
                case "GLOBAL":
                    if not PLAIN_GLOBALS.fullmatch(str(argument)):
                        raise WeightFileError(MORE_THAN_WEIGHTS)
                    makes = bool(re.fullmatch(MADE_OF_TEXT, str(argument)))
                case "BINPUT" | "LONG_BINPUT":
                    places = places | {argument} if makes else places - {argument}
                case "BINGET" | "LONG_BINGET":
                    makes = argument in places
                case _:
                    makes = False
            texts += makes
            longest_text = max(longest_text, len(argument) if isinstance(argument, str) else 0)
            if opcodes > MOST_OPCODES or texts * longest_text > MOST_MADE_OF_TEXT:
                raise WeightFileError(MORE_THAN_WEIGHTS)
