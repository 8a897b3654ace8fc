"""Key layouts of adapter files: what each kind's keys look like, and which kind and block a key belongs to.

Sources: bytedance/lynx (ip_layers, ref_layers and resampler are each a file of their own), WeChatCV/Stand-In, and
kijai/ComfyUI-WanVideoWrapper, whose files name the block and may have the host's prefix in front.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import Tensor

from ..weights import StateDict

HOST_PREFIX = "diffusion_model."
NUMBER = r"(?P<number>0|[1-9][0-9]{0,2})"


@dataclass(frozen=True, slots=True)
class FileKind:
    """One kind of adapter file."""

    part: str  # of the network
    slot: str  # the loader's input for it
    noun: str  # in messages
    templates: tuple[str, ...]  # of its keys, one for each layout
    leaves: str  # pattern of what stands for {leaf} in them


RESAMPLER_LEAVES = (
    r"latents|(?:proj_in|proj_out|norm_out)\.(?:weight|bias)|"
    r"layers\.[0-9]{1,2}\.(?:0\.(?:norm[12]\.(?:weight|bias)|to_(?:q|kv|out)\.weight)|"
    r"1\.(?:0\.(?:weight|bias)|[13]\.weight))"
)
IP = FileKind(
    "ip",
    "ip_layers",
    "IP layers of Lynx",
    ("{number}.{leaf}", "blocks.{number}.cross_attn.ip_adapter.{leaf}"),
    r"to_[kv]_ip\.(?:weight|bias)|registers",
)
RESAMPLER = FileKind("resampler", "resampler", "a resampler of Lynx", ("{leaf}",), RESAMPLER_LEAVES)
REF = FileKind(
    "ref",
    "ref_layers",
    "reference layers of Lynx full",
    ("{number}.{leaf}", "blocks.{number}.self_attn.ref_adapter.{leaf}"),
    r"to_[kv]_ref\.(?:weight|bias)",
)
STAND_IN = FileKind(
    "stand_in",
    "stand_in",
    "Stand-In weights",
    ("blocks.{number}.self_attn.{leaf}",),
    r"[qkv]_loras\.(?:down|up)\.weight",
)
KINDS = (IP, RESAMPLER, REF, STAND_IN)
BY_SLOT = {kind.slot: kind for kind in KINDS}

# Files that people pick by mistake: what they are, a key that tells, and where they belong.
FOREIGN = (
    (
        "a LoRA",
        re.compile(r"\.lora_(?:[AB]|up|down|mid)\b|^lora_(?:unet|te)_|\.(?:alpha|dora_scale|diff|diff_b)$"),
        "Load it with LoraLoaderModelOnly.",
    ),
    (
        "a whole diffusion model",
        re.compile(
            r"^(?:model\.diffusion_model\.)?(?:patch_embedding\.|blocks\.\d+\.(?:self|cross)_attn\.[qkvo]\.|head\.head\.)"
        ),
        "Load it with Load Diffusion Model.",
    ),
)


@dataclass(frozen=True, slots=True)
class FileContent:
    """What a file holds of one kind."""

    kind: FileKind
    template: str  # of its keys
    weights: dict[tuple[int, str], Tensor]  # by the number in the key (0 where there is none) and the leaf

    @property
    def numbers(self) -> list[int]:
        """The numbers in the keys, ascending."""
        return sorted({number for number, _ in self.weights})

    @property
    def is_by_block(self) -> bool:
        """Whether the number in a key is the number of a block; otherwise it counts the adapter's own layers."""
        return self.template.startswith("blocks.")

    def key(self, number: int, leaf: str) -> str:
        """The key in the file."""
        return self.template.format(number=number, leaf=leaf)


def without_prefix(state_dict: StateDict) -> StateDict:
    """The same weights without the host's prefix, if every key has it."""
    if not all(key.startswith(HOST_PREFIX) for key in state_dict):
        return state_dict
    return {key.removeprefix(HOST_PREFIX): tensor for key, tensor in state_dict.items()}


def contents_of(state_dict: StateDict) -> tuple[list[FileContent], list[str]]:
    """What a file holds, one entry a kind, and the keys that belong to none; keys of a second layout do not either."""
    found = [content for kind in KINDS if (content := _content(kind, state_dict))]
    known = {content.key(*place) for content in found for place in content.weights}
    return found, sorted(state_dict.keys() - known)


def foreign_kind(state_dict: StateDict) -> tuple[str, str] | None:
    """What a file of another kind is and where it belongs, or None."""
    for noun, pattern, fix in FOREIGN:
        if any(pattern.search(key) for key in state_dict):
            return noun, fix
    return None


def _content(kind: FileKind, state_dict: StateDict) -> FileContent | None:
    for template in kind.templates:
        escaped = re.escape(template).replace(r"\{number\}", NUMBER).replace(r"\{leaf\}", f"(?P<leaf>{kind.leaves})")
        pattern = re.compile(escaped)
        weights = {
            (int(match.groupdict().get("number") or 0), match["leaf"]): tensor
            for key, tensor in state_dict.items()
            if (match := pattern.fullmatch(key))
        }
        if weights:
            return FileContent(kind, template, weights)
    return None
