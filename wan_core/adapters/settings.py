"""What a user chooses for a lock, and the checks of each value by itself."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..checks import require_choice
from ..errors import InputError

AUTO, BOTH, POSITIVE = APPLY_TO = ("auto", "both", "positive")
AS_MODEL, FP8 = KEPT_AS = ("model's type", "fp8")
EVERY_BLOCK = "all"
MASK_TOLERANCE = 0.01
RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


@dataclass(frozen=True, slots=True, eq=False)
class LockSettings:
    """The choices as they came in, unchecked."""

    strength: float  # of the portrait and of the identity tokens; 1 is what adapters are trained with
    start_percent: float  # of the model's schedule, 0 is pure noise
    end_percent: float
    blocks: str  # of the model: "all", or numbers and ranges
    ref_strength: float = 1.0  # of the reference picture
    apply_to: str = AUTO  # one of APPLY_TO; auto: a portrait on both prompts, the others with the null identity on one
    identity_guidance: float = 0.0  # a guidance scale of the identity alone; 0: none
    frame_weights: str = ""  # by pixel frame, as in "0:1, 40:0.5"; empty: always 1
    mask: object = field(default=None, repr=False)  # f|1 h w in [0, 1], where in the picture; None: everywhere
    ref_text: object = field(default=None, repr=False)  # the CONDITIONING that describes the reference picture
    kept_as: str = AS_MODEL  # one of KEPT_AS: the type in which keys and values wait


def require_settings(settings: LockSettings) -> None:
    """Raises InputError for a value that no adapter and no model could take."""
    for name, strength in (("strength", settings.strength), ("ref_strength", settings.ref_strength)):
        if not (math.isfinite(strength) and strength >= 0):
            raise InputError(
                name, found=strength, wanted="a finite number of 0 or more", fix="Adapters are trained with 1."
            )
    start, end = settings.start_percent, settings.end_percent
    if not 0 <= start <= end <= 1:
        raise InputError(
            "start_percent",
            found=f"{start:g} with end_percent {end:g}",
            wanted="0 <= start_percent <= end_percent <= 1",
            fix="Swap or correct the two values.",
        )
    require_choice(settings.apply_to, APPLY_TO, name="apply_to")
    require_choice(settings.kept_as, KEPT_AS, name="kept_as")


def require_guidance(scale: float, *, differs_by_prompt: bool) -> None:
    """Raises InputError unless guidance is off, or a number above 0 with a negative side that lacks the identity."""
    if not (math.isfinite(scale) and scale >= 0):
        raise InputError(
            "identity_guidance",
            found=scale,
            wanted="a finite number of 0 or more",
            fix="Set it to 0 to turn it off; Lynx was shown with 2.",
        )
    if scale and not differs_by_prompt:
        raise InputError(
            "identity_guidance",
            found=f"{scale:g} with the person on both prompts",
            wanted="a negative prompt without the person",
            fix='Set apply_to to "positive", or identity_guidance to 0.',
        )


# Masks


def checked_mask(mask: object) -> Tensor | None:
    """A mask, frames, height, width, in [0, 1], or None; raises InputError for anything but numbers in that range.

    What resizing and feathering leave beyond it by rounding is cut off.
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise _bad_mask(type(mask).__name__, "a MASK")
    if mask.ndim != 3 or not mask.numel():
        raise _bad_mask(f"a tensor of shape {tuple(mask.shape)}", "masks as frames, height, width")
    if not (mask.isfinite().all() and mask.min() >= -MASK_TOLERANCE and mask.max() <= 1 + MASK_TOLERANCE):
        raise _bad_mask("values outside of 0 to 1", "values from 0 to 1")
    return mask.clamp(0, 1)


def _bad_mask(found: str, wanted: str) -> InputError:
    return InputError("mask", found=found, wanted=wanted, fix="Connect a MASK, for example from Load Image (as Mask).")


# Blocks


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
    selected: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        selected |= _parse_part(part, adapter_blocks, model_blocks)
    if not selected:
        raise _bad_blocks("no blocks", f'"{EVERY_BLOCK}", or numbers and ranges like "0-19, 25"')
    return frozenset(selected)


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
