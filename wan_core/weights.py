"""What those who read weight files share: types, what a file's name says, and how it differs from what is wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

KEYS_SHOWN = 8
LEVELS = ("high", "low")
# What stands beside a level in the names of published files: their family, size, precision, LoRA, version or ending.
# Anything else makes it the level of something else: low_vram, high-quality.
BESIDE_A_LEVEL = re.compile(
    r"|wan\w*|(t|i|ti)2v|a?14b|noise|expert|lora|lightning|lightx2v|distill\w*|\d+steps?|stand|in|v?\d+|\d+p"
    r"|(fp|bf|int)\d+|e\dm\d\w*|i?q\d|scaled|safetensors|sft|gguf|ckpt|pth?|bin"
)

StateDict = dict[str, Tensor]
Factory = Any  # device=, dtype=


class Operations(Protocol):
    """The layers that a network is made of: ``torch.nn``, or the operations of the host."""

    Linear: type[Any]
    Conv2d: type[Any]
    Conv3d: type[Any]
    BatchNorm2d: type[Any]
    LayerNorm: type[Any]


def shown(keys: Sequence[str]) -> str:
    """The first keys of a list in words, and how many more there are."""
    rest = len(keys) - KEYS_SHOWN
    return ", ".join(keys[:KEYS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def base_name(file: str | None) -> str:
    """A file's name without its folders; empty for None."""
    return re.split(r"[/\\]", file or "")[-1]


def level_in_name(file: str | None) -> str | None:
    """The noise level, "high" or "low", that the name of an expert's file says; None if it says none or both.

    Beside the word noise a level counts always; alone it counts between words of such names.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", base_name(file))  # i2vHigh
    words = re.findall(r"[a-z0-9]+", spaced.lower())
    levels = set(re.findall(r"\b(high|low) ?noise(?![a-z])", " ".join(words))) or {
        word
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False)
        if word in LEVELS and BESIDE_A_LEVEL.fullmatch(before) and BESIDE_A_LEVEL.fullmatch(after)
    }
    return levels.pop() if len(levels) == 1 else None


def difference(found: StateDict, wanted: StateDict) -> str:
    """A file as it differs from the wanted keys and shapes, in words; empty when it does not."""
    shared = wanted.keys() & found.keys()
    problems = {
        "without": sorted(wanted.keys() - found.keys()),
        "with the unknown": sorted(found.keys() - wanted.keys()),
        "with a wrong shape of": sorted(key for key in shared if wanted[key].shape != found[key].shape),
    }
    return " and ".join(f"{problem} {shown(keys)}" for problem, keys in problems.items() if keys)
