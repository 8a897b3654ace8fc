"""What the user chose on IDLock, checked against the adapter and the model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..errors import InputError

EVERY_BLOCK = "all"
TRAINED_FAMILY = "IR-SE"  # of recognisers; every Lynx is trained with facexlib's IR-SE50
MASK_TOLERANCE = 0.01
AGAIN = "Encode the pictures again, with the faces found by a detector or by landmarks."
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


def require_strength(name: str, strength: float) -> None:
    """Raises InputError unless ``strength`` is a finite number of 0 or more."""
    if not (math.isfinite(strength) and strength >= 0):
        raise InputError(
            name, found=strength, wanted="a finite number of 0 or more", fix="Adapters are trained with 1."
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


def require_expert(trained_for: str | None, model_name: str | None) -> None:
    """Raises InputError when a Stand-In file and the name of the model's file say different experts."""
    if None not in (trained_for, model_name) and trained_for != model_name:
        raise InputError(
            "adapter",
            found=f"the Stand-In file of the {trained_for}-noise expert on the {model_name}-noise model",
            wanted=f"the one of the {model_name}-noise expert",
            fix="Load one adapter for each expert, with the Stand-In file of that expert.",
        )


def require_pictures(
    *,
    needs_portrait: bool,
    needs_reference: bool,
    has_portrait: bool,
    has_reference: bool,
    has_vae: bool,
    has_text: bool,
) -> None:
    """Raises InputError for what Stand-In (portrait) or reference layers (face crop, text) lack: picture, vae, text."""
    if needs_portrait and not has_portrait:
        raise _lacking("identity", "an identity without a portrait", "one with a portrait, for Stand-In", AGAIN)
    if needs_reference and not has_reference:
        raise _lacking(
            "identity",
            "an identity of crops that were aligned already",
            "one with a wider crop, for the reference layers",
            AGAIN,
        )
    if (needs_portrait or needs_reference) and not has_vae:
        raise _lacking("vae", "nothing", "the model's VAE, for the pictures of the identity", "Connect Load VAE.")
    if needs_reference and not has_text:
        raise _lacking(
            "ref_text", "nothing", "a text for the reference layers", 'Connect CLIP Text Encode with "image of a face".'
        )


def require_vectors(count: int) -> None:
    """Raises InputError for an identity without vectors, which identity tokens are made of."""
    if not count:
        raise _lacking(
            "identity",
            "an identity without vectors",
            "one with vectors, for Lynx",
            "Encode the pictures again with a recogniser, and with the faces found by a detector or by landmarks.",
        )


def require_one_text(texts: Sequence[Sequence[Any]]) -> Tensor:
    """The one embedded text, 1 n d, of a CONDITIONING that was checked; raises InputError for several."""
    (text, *_), *others = texts
    if others or len(text) != 1:
        raise _lacking("ref_text", "several texts", "one", 'Connect one CLIP Text Encode with "image of a face".')
    return text


def _lacking(name: str, found: str, wanted: str, fix: str) -> InputError:
    return InputError(name, found=found, wanted=wanted, fix=fix)


def require_layout(network: str, *, is_plain: bool, needs: Sequence[str]) -> None:
    """Raises InputError when something that acts on places in the video is used with a model that arranges it anew."""
    if needs and not is_plain:
        raise InputError(
            "model",
            found=f"a {network}, which arranges the video's tokens in its own way",
            wanted=f"a plain Wan model for {' and '.join(needs)}",
            fix=f"Use another model, or do without {' and '.join(needs)}.",
        )


def require_guidance(scale: float, *, differs_by_prompt: bool) -> None:
    """Raises InputError unless guidance is off, or a number above 0 with a negative side that lacks the person."""
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


def checked_mask(mask: object) -> Tensor:
    """A mask, frames, height, width, in [0, 1]; raises InputError for anything but finite numbers in that range.

    What resizing and feathering leave beyond it by rounding is cut off.
    """
    if not isinstance(mask, Tensor):
        raise _bad_mask(type(mask).__name__, "a MASK")
    if mask.ndim != 3 or not mask.numel():
        raise _bad_mask(f"a tensor of shape {tuple(mask.shape)}", "masks as frames, height, width")
    if not (mask.isfinite().all() and mask.min() >= -MASK_TOLERANCE and mask.max() <= 1 + MASK_TOLERANCE):
        raise _bad_mask("values outside of 0 to 1", "values from 0 to 1")
    return mask.clamp(0, 1)


def _bad_mask(found: str, wanted: str) -> InputError:
    return InputError("mask", found=found, wanted=wanted, fix="Connect a MASK, for example from Load Image (as Mask).")


def require_space(trained_sha256: str | None, *, family: str, name: str, sha256: str) -> None:
    """Raises InputError unless an identity's recogniser (family, file name, hash) is the one that the adapter expects.

    An adapter that does not say which file it was trained with is a published Lynx: it takes every IR-SE recogniser.
    """
    if trained_sha256 is None and family != TRAINED_FAMILY:
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
