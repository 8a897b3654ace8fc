"""The options of the command that trains an adapter, and what can be told to be wrong with them at once."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from wan_core.errors import InputError, quoted
from wan_core.training import PRECISIONS
from wan_core.weights import LEVELS

from .adapter_clips import ClipForm

BOTH = "both"  # sides


# Values


def whole(text: str) -> int:
    """A whole number of 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def amount(text: str) -> float:
    """A finite number of 0 or more."""
    if not 0 <= (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{number:g} is no finite number of 0 or more")
    return number


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= (number := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{number:g} is not between 0 and 1")
    return number


# Options

FILES = {
    "expert": "the expert to train on, a file as Load Diffusion Model takes it",
    "vae": "the Wan2.1 VAE, which Wan2.2 A14B uses too",
    "text-encoder": "UMT5-XXL, a file as Load CLIP takes it",
    "recogniser": "the IR or IR-SE recogniser whose vectors the adapter takes, as facexlib's IR-SE50",
}
PLACES = {
    "faces": "the folder of an insightface pack, whose detector finds the faces in the clips",
    "clips": "the folder with a folder for each person",
    "out": "the adapter's file, a .safetensors",
}
NUMBERS: dict[str, tuple[Callable[[str], float], float, str]] = {
    "frames": (whole, 81, "of a clip at 16 fps, 1 + 4 n"),
    "steps": (whole, 3000, "updates of the adapter"),
    "batch": (whole, 1, "clips that are computed together"),
    "accumulate": (whole, 8, "batches that make one update"),
    "learning-rate": (amount, 1e-4, "at its highest; take 1e-5 with --start"),
    "warm-up": (whole, 100, "steps in which the rate rises"),
    "ema": (share, 0.999, "decay of the averaged weights, which are those that are written"),
    "face-weight": (amount, 2.0, "of faces in the loss, beside 1 elsewhere"),
    "identity-weight": (amount, 0.1, "of what the supervisor finds, at sigma 0"),
    "identity-below": (share, 0.5, "the sigma below which the supervisor looks"),
    "drop-identity": (share, 0.1, "share of clips without the person"),
    "drop-text": (share, 0.1, "share of clips without the caption"),
    "drop-both": (share, 0.05, "share of clips without both"),
    "tokens": (whole, 16, "that a vector becomes"),
    "token-width": (whole, 2048, "of a token"),
    "resampler-width": (whole, 1280, "of what makes the tokens, a multiple of 64"),
    "resampler-depth": (whole, 4, "its layers"),
    "seed": (int, 0, "of everything that is drawn by chance"),
}


def parser(description: str) -> argparse.ArgumentParser:
    """Every option, each said in a sentence; ``description`` says what the command does."""
    made = argparse.ArgumentParser(
        prog="train_adapter", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, words in (FILES | PLACES).items():
        made.add_argument(f"--{name}", type=Path, required=True, metavar="PATH", help=words)
    add = made.add_argument
    add("--supervisor", type=Path, metavar="PATH", help="another recogniser, which looks at what the expert would make")
    add(
        "--state",
        type=Path,
        metavar="PATH",
        help="folder of state, curve and encoded clips; both experts may share it",
    )
    add("--start", type=Path, nargs="+", metavar="PATH", help="an adapter to go on with: IP layers and resampler")
    add("--side", choices=[*LEVELS, BOTH], help="whose noise levels to train on (as the expert's name says)")
    add("--boundary", type=share, help="the sigma between the experts (0.875 for text, 0.9 for image to video)")
    add("--shift", type=amount, help="of the noise levels (12 for text, 5 for image to video)")
    add("--size", default="832x480", help="width and height that clips are brought to (%(default)s)")
    add("--precision", choices=PRECISIONS, default="bf16", help="of what is computed (%(default)s)")
    add("--keep-activations", action="store_true", help="faster, and much more memory: no block is computed twice")
    for name, (kind, default, words) in NUMBERS.items():
        add(f"--{name}", type=kind, default=default, metavar="N", help=f"{words} (%(default)s)")
    return made


def checked_form(given: argparse.Namespace) -> ClipForm:
    """The form of clips; raises InputError for one that Wan does not have."""
    width, _, height = given.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InputError("size", found=quoted(given.size), wanted="WIDTHxHEIGHT", fix="832x480, for example.")
    return ClipForm(int(width), int(height), given.frames)


def require_files(given: argparse.Namespace) -> None:
    """Raises InputError for a file that is not there."""
    named = [(name, getattr(given, name.replace("-", "_"))) for name in (*FILES, "supervisor")]
    for name, path in [*named, *(("start", path) for path in given.start or ())]:
        if path is not None and not path.is_file():
            raise InputError(name, found=f"no file {quoted(str(path))}", wanted="one", fix="Name the right one.")
