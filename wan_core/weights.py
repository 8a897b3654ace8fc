"""What those who read weight files share: types, what a file's name says, and how it differs from what is wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .errors import quoted

KEYS_SHOWN = 8
LEVELS = ("high", "low")
# What stands beside a level in the names of published files: their family, size, precision, LoRA, version or ending.
# Anything else makes it the level of something else: low_vram, high-quality.
BESIDE_A_LEVEL = re.compile(
    r"|wan\w*|(t|i|ti)2v|a?14b|fun|inp|vace|control|camera|turbo|noise|expert|lora|lightning|lightx2v|distill\w*"
    r"|stand|in|p|v?\d+|\d+(steps?|p)"
    r"|(v\d+)?(nv|mx)?(fp|bf|int)\d+|e\dm\d\w*|i?q\d|scaled|safetensors|sft|gguf|ckpt|pth?|bin"
)
EXPERT = re.compile(r"\w*(t|i|ti)2v\w*|a?14b")
AMOUNT = re.compile(r"\d+(steps?|p)")  # which may be high or low itself, but behind the name of an expert is not
MOST_WEIGHTS = 20_000  # in a file; no network of this pack has a tenth of it
LONGEST_NAME = 300  # letters
NUMBERS_AT_ONCE = 1 << 22  # of a weight, to check them in little memory
LARGEST_FP32 = torch.finfo(torch.float32).max
FP8 = {torch.float8_e4m3fn, torch.float8_e5m2}
FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16} | FP8
INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
SCALES = {"scaled_fp8", "scale_weight", "scale_input", "weight_scale", "input_scale", "comfy_quant"}  # ends of keys

StateDict = dict[str, Tensor]
Factory = Any  # device=, dtype=


class Operations(Protocol):
    """The layers that a network is made of: ``torch.nn``, or the operations of the host."""

    Linear: type[Any]
    Conv2d: type[Any]
    Conv3d: type[Any]
    BatchNorm2d: type[Any]
    LayerNorm: type[Any]


class WeightFileError(ValueError):
    """Why a weight file cannot be read: what it is or has, in words."""


def require_plain_name(name: object) -> None:
    """Raises WeightFileError unless this can be the name of a weight: printable text of bounded length."""
    if not (
        isinstance(name, str) and name.replace("\N{NO-BREAK SPACE}", " ").isprintable() and len(name) <= LONGEST_NAME
    ):
        raise WeightFileError(f"it calls a weight {quoted(name)}")


def fault_of(weight: object, room_bytes: int) -> str | None:
    """What makes this no weight, in words that follow its name; None for finite numbers in bytes of their own.

    ``room_bytes``: how many can be its own, of the file's; only a weight that fits is looked into.
    """
    if not isinstance(weight, Tensor) or type(weight) not in (Tensor, nn.Parameter):
        return "is no weight"
    if weight.is_meta or weight.layout != torch.strided or weight.is_nested:
        return "is not stored as plain numbers"
    if weight.dtype not in FLOATS | INTEGERS:
        return f"is of type {type_name(weight)}, which no weight has"
    if not weight.numel():
        return "is empty"
    if weight.nbytes > weight.untyped_storage().nbytes():
        return "repeats its bytes"
    if weight.nbytes > room_bytes:
        return "repeats the bytes of others"
    if weight.is_floating_point() and not largest_size(weight) <= LARGEST_FP32:  # nor is NaN
        return "holds NaN or an infinity"
    return None


def largest_size(weight: Tensor) -> float:
    """The largest of the absolute values of floating-point numbers; NaN where there is one."""
    parts = weight.detach().flatten().split(NUMBERS_AT_ONCE)
    if weight.dtype in FP8:  # whose bytes, without the sign, are in the order of the numbers, NaN last
        bits = torch.stack([(part.view(torch.uint8) & 0x7F).amax() for part in parts])
        return float(bits.amax().view(weight.dtype))
    return float(torch.stack([end for part in parts for end in part.aminmax()]).abs().max())


def type_name(weight: Tensor) -> str:
    """The type of a weight's numbers, for a message."""
    return str(weight.dtype).removeprefix("torch.")


def shown(keys: Sequence[str]) -> str:
    """The first keys of a list in words, and how many more there are."""
    rest = len(keys) - KEYS_SHOWN
    return ", ".join(map(quoted, keys[:KEYS_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def base_name(file: str | None) -> str:
    """A file's name without its folders; empty for None."""
    return re.split(r"[/\\]", file or "")[-1]


def level_in_name(file: str | None) -> str | None:
    """The noise level, "high" or "low", that the name of an expert's file says; None if it says none or both.

    Beside the word noise a level counts always, in the name of the file's folder too; alone it counts between words of
    such names.
    """
    *_, folder, name = ("", "", *re.split(r"[/\\]", file or ""))
    words = _words(name)
    levels = _levels_beside_noise(words) or _levels_between_names(words) or _levels_beside_noise(_words(folder))
    return levels.pop() if len(levels) == 1 else None


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=\w)(?=(High|Low)(?![a-z]))", " ", name)  # i2v High, I2V High Noise, In P
    return re.findall(r"[a-z0-9]+", spaced.lower())


def _levels_beside_noise(words: Sequence[str]) -> set[str]:
    return set(re.findall(r"\b(high|low) ?noise(?![a-z])", " ".join(words)))


def _levels_between_names(words: Sequence[str]) -> set[str]:
    """A level counts at the beginning if all words are of such names, before an amount if an expert is before it."""
    are_names = all(word in LEVELS or BESIDE_A_LEVEL.fullmatch(word) for word in words)
    triples = zip(("", *words), words, (*words[1:], ""), strict=False)
    return {
        word
        for before, word, after in triples
        if word in LEVELS
        and (BESIDE_A_LEVEL.fullmatch(before) if before else are_names)
        and BESIDE_A_LEVEL.fullmatch(after)
        and (EXPERT.fullmatch(before) or not AMOUNT.fullmatch(after))
    }


def difference(found: StateDict, wanted: StateDict) -> str:
    """A file as it differs from the wanted keys and shapes, in words; empty when it does not."""
    shared = wanted.keys() & found.keys()
    problems = {
        "without": sorted(wanted.keys() - found.keys()),
        "with the unknown": sorted(found.keys() - wanted.keys()),
        "with a wrong shape of": sorted(key for key in shared if wanted[key].shape != found[key].shape),
        "with whole numbers in": sorted(
            key for key in shared if wanted[key].is_floating_point() and not found[key].is_floating_point()
        ),
    }
    return " and ".join(f"{problem} {shown(keys)}" for problem, keys in problems.items() if keys)
