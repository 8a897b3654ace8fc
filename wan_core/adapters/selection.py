"""What the user chose on IDLock, checked against the adapter and the model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..errors import InputError

EVERY_BLOCK = "all"
RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


def parse_blocks(text: str, *, adapter_blocks: Sequence[int], model_blocks: int) -> frozenset[int]:
    """The blocks of "all" or "0-19, 25": a range takes the adapter's blocks in it, a single number must be one of them.

    An empty text gives an empty set. Raises InputError for anything else, and for an adapter made for a deeper model.
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
