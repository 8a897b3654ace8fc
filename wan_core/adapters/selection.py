"""What the user chose on IDLock, checked against the adapter and the model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..errors import InputError

EVERY_BLOCK = "all"
TRAINED_FAMILY = "IR-SE"  # of recognisers; every Lynx is trained with facexlib's IR-SE50
RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


def parse_blocks(text: str, *, adapter_blocks: Sequence[int], model_blocks: int) -> frozenset[int]:
    """The blocks of "all" or "0-19, 25": a range takes the adapter's blocks in it, a single number must be one of them.

    Raises InputError for anything else, for an empty text, and for an adapter made for a deeper model.
    """
    if max(adapter_blocks) >= model_blocks:
        raise InputError(
            "adapter",
            found=f"weights for block {max(adapter_blocks)}",
            wanted=f"an adapter for this model of {model_blocks} blocks",
            fix="Use the adapter with the model that it was trained for.",
        )
    if text.strip() == EVERY_BLOCK:
        return frozenset(adapter_blocks)
    chosen: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        chosen |= _parse_part(part, adapter_blocks, model_blocks)
    if not chosen:
        raise _bad_blocks("no blocks", f'"{EVERY_BLOCK}", or numbers and ranges like "0-19, 25"')
    return frozenset(chosen)


def _parse_part(part: str, adapter_blocks: Sequence[int], model_blocks: int) -> set[int]:
    match = RANGE.fullmatch(part)
    if not match:
        raise _bad_blocks(repr(part), f'"{EVERY_BLOCK}", or numbers and ranges like "0-19, 25"')
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise _bad_blocks(repr(part), "a range that counts upwards")
    if last >= model_blocks:
        raise _bad_blocks(repr(part), f"blocks from 0 to {model_blocks - 1}, as this model has")
    inside = {block for block in adapter_blocks if first <= block <= last}
    if not inside:
        listed = ", ".join(str(block) for block in adapter_blocks)
        raise _bad_blocks(repr(part), f"blocks that the adapter has weights for: {listed}")
    return inside


def _bad_blocks(found: str, wanted: str) -> InputError:
    return InputError("blocks", found=found, wanted=wanted, fix=f'Write "{EVERY_BLOCK}" if in doubt.')


def require_strength(strength: float) -> None:
    """Raises InputError unless ``strength`` is a finite number of 0 or more."""
    if not (math.isfinite(strength) and strength >= 0):
        raise InputError(
            "strength", found=strength, wanted="a finite number of 0 or more", fix="Adapters are trained with 1."
        )


def require_percents(start: float, end: float) -> None:
    """Raises InputError unless 0 <= start <= end <= 1."""
    if not 0 <= start <= end <= 1:
        raise InputError(
            "start_percent",
            found=f"{start:g} with end_percent {end:g}",
            wanted="0 <= start_percent <= end_percent <= 1",
            fix="Swap or correct the two values.",
        )


def require_width(adapter_d: int, model_d: int) -> None:
    """Raises InputError unless the adapter was made for a model of this width."""
    if adapter_d != model_d:
        raise InputError(
            "adapter",
            found=f"an adapter for a model of width {adapter_d}",
            wanted=f"one for this model's width {model_d}",
            fix="Wan2.2 A14B is 5120 wide, TI2V-5B 3072, Wan2.1 1.3B 1536: use the adapter of the same model.",
        )


def require_space(trained_sha256: str | None, *, family: str, name: str, sha256: str) -> None:
    """Raises InputError unless an identity's recogniser (family, file name, hash) is the one that the adapter expects.

    An adapter that does not say which file it was trained with takes every recogniser of its family.
    """
    if family != TRAINED_FAMILY:
        raise _other_space(f"{name} (family {family})", f"a recogniser of the family {TRAINED_FAMILY}")
    if trained_sha256 not in (None, sha256):
        raise _other_space(
            f"{name} (SHA-256 {sha256[:12]})", f"the recogniser that the adapter names, SHA-256 {trained_sha256[:12]}"
        )


def _other_space(found: str, wanted: str) -> InputError:
    return InputError(
        "identity",
        found=f"an identity of the recogniser {found}",
        wanted=wanted,
        fix="Encode the pictures again with the recogniser that the adapter was trained with.",
    )
