"""Checks of values that come through sockets and widgets, where a link may bring anything."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from .errors import InputError, quoted

NTSC_TOLERANCE_FPS = 0.0005  # half a step of an fps widget: 23.976 is 24000/1001, 23.98 is not
MOST_FPS = 1_000_000  # some films count in their clock's ticks
TEXT_FIX = "Connect a CLIP Text Encode node that uses the UMT5 text encoder of Wan."
CHOICES_SHOWN = 8  # in a message
WHOLE_NUMBERS = (int, np.integer)  # other packs count with numpy
NUMBERS = (*WHOLE_NUMBERS, float, np.floating)
TRUTHS = (bool, np.bool_)
HALF_A_PAIR = re.compile("[\ud800-\udfff]")  # of a letter in UTF-16: nothing can print or save it


def kind_of(value: object) -> str:
    """What a value is, in words."""
    if isinstance(value, Mapping) and (strange := [part for part in value.values() if is_strange(part)]):
        return f"{type(value).__name__} with {kind_of(strange[0])}"
    if is_strange(value):
        return f"a tensor of {value.dtype}, {value.layout}, on {value.device}"
    return f"{len(value)} items" if isinstance(value, (list, tuple)) else type(value).__name__


def is_plain_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether it is a dense tensor of real numbers that torch computes with."""
    return isinstance(value, Tensor) and not is_strange(value)


def is_strange(value: object) -> TypeGuard[Tensor]:
    """Whether it is a tensor that is sparse, nested, without numbers, complex, or of too few bits to compute with."""
    if not isinstance(value, Tensor):
        return False
    if value.layout != torch.strided or value.is_nested or value.is_meta or value.is_quantized or value.is_complex():
        return True
    return value.is_floating_point() and value.itemsize < 2


def is_audio(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is the host's AUDIO by its keys."""
    return (
        isinstance(value, Mapping) and {"waveform", "sample_rate"} <= value.keys() and not is_strange(value["waveform"])
    )


def is_latent(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is the host's LATENT; its samples may be a nested tensor of the host's, which is no Tensor."""
    return (
        isinstance(value, Mapping)
        and hasattr(value.get("samples"), "is_nested")
        and not any(map(is_strange, value.values()))
    )


def require_choice(value: object, choices: Sequence[str], *, name: str) -> None:
    """Raises InputError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        rest = len(choices) - CHOICES_SHOWN
        listed = ", ".join(choices[:CHOICES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
        raise InputError(name, found=quoted(value), wanted=f"one of {listed}", fix="Pick one in the node.")


def require_text(value: object, *, name: str) -> None:
    """Raises InputError unless the value is text that can be printed and saved."""
    if not isinstance(value, str) or HALF_A_PAIR.search(value):
        raise InputError(name, found=quoted(value), wanted="text", fix="Write it in the node.")


def checked_number(value: object, lowest: float, highest: float, *, name: str) -> float:
    """The number between ``lowest`` and ``highest``; raises InputError for anything else."""
    if not isinstance(value, NUMBERS) or isinstance(value, bool) or not lowest <= value <= highest:
        raise InputError(
            name, found=quoted(value), wanted=f"a number from {lowest:g} to {highest:g}", fix="Set it in the node."
        )
    return float(value)


def checked_count(value: object, most: int, *, name: str, least: int = 1) -> int:
    """The whole number from ``least`` to ``most``; raises InputError for anything else."""
    if not isinstance(value, WHOLE_NUMBERS) or isinstance(value, bool) or not least <= value <= most:
        raise InputError(
            name, found=quoted(value), wanted=f"a whole number from {least} to {most}", fix="Set it in the node."
        )
    return int(value)


def checked_fps(fps: object, *, name: str = "fps") -> Fraction:
    """The frame rate as a fraction: n * 1000 / 1001 where it is one, else the nearest with a denominator up to 1001."""
    fix = "Set the frame rate of the video."
    if not isinstance(fps, (*NUMBERS, Fraction)) or not 0 < fps < math.inf:
        raise InputError(name, found=quoted(fps), wanted="a frame rate above 0", fix=fix)
    if fps > MOST_FPS:
        raise InputError(name, found=quoted(fps), wanted=f"at most {MOST_FPS} fps", fix=fix)
    if isinstance(fps, Fraction):
        return fps
    rate = float(fps)
    ntsc = Fraction(round(rate * 1.001) * 1000, 1001)
    is_ntsc = abs(rate - float(ntsc)) < NTSC_TOLERANCE_FPS
    nearest = ntsc if is_ntsc else Fraction(rate).limit_denominator(1001)
    if nearest <= 0:
        raise InputError(name, found=quoted(fps), wanted="at least 0.001 fps", fix=fix)
    return nearest


def require_conditioning(conditioning: object, text_d: int, *, name: str) -> None:
    """Raises InputError unless every entry is text that the model can read: b n ``text_d``, finite."""
    if not isinstance(conditioning, list) or not conditioning:
        raise InputError(name, found=kind_of(conditioning), wanted="CONDITIONING", fix=TEXT_FIX)
    for entry in conditioning:
        text = _text_of(entry, name)  # b n d
        if text.ndim != 3 or text.shape[-1] != text_d:
            raise InputError(
                name,
                found=f"text of shape {list(text.shape)}",
                wanted=f"[batch, tokens, {text_d}] for this model",
                fix=TEXT_FIX,
            )
        if not text.isfinite().all():
            raise InputError(
                name, found="NaN or infinite text values", wanted="finite values", fix="Load the text encoder again."
            )


def _text_of(entry: object, name: str) -> Tensor:
    match entry:
        case [Tensor() as text, dict()]:
            return text
    raise InputError(name, found=f"an entry that is {kind_of(entry)}", wanted="[text, settings] entries", fix=TEXT_FIX)
