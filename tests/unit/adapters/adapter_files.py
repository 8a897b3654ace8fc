"""Adapter files of every published layout, made from the miniatures' tables, and the changes that make others."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from demo.miniature import adapters
from demo.miniature.table import Table, fill
from wan_core.adapters.adapter import Adapter
from wan_core.adapters.adapter_files import AdapterFile, load_adapter

StateDict = dict[str, Tensor]
Selected = dict[str, AdapterFile]  # by input

LITE: dict[str, Callable[[], Table]] = {"ip_layers": adapters.lite_ip_layers, "resampler": adapters.resampler}
FULL: dict[str, Callable[[], Table]] = {"ip_layers": adapters.full_ip_layers, "resampler": adapters.full_resampler}
REF: dict[str, Callable[[], Table]] = {"ref_layers": adapters.ref_layers}
STAND_IN: dict[str, Callable[[], Table]] = {"stand_in": adapters.stand_in}
KINDS = {"lite": LITE, "full": FULL, "ref": REF, "stand-in": STAND_IN}
KINDS |= {"full with ref": FULL | REF, "everything": FULL | REF | STAND_IN}


def weights(table: Callable[[], Table]) -> StateDict:
    """Seeded noise for a table."""
    return fill(table(), table.__name__)


def selected(tables: dict[str, Callable[[], Table]], layout: Callable[[StateDict], StateDict] = dict) -> Selected:
    """The files of some tables, each in a layout, in the inputs that they belong in."""
    return {slot: AdapterFile(f"{slot}.safetensors", layout(weights(table)), {}) for slot, table in tables.items()}


def load(files: Selected) -> Adapter:
    return load_adapter(files, content_sha256="cd" * 32, operations=nn, make_patcher=lambda network: ("loads", network))


# Layouts


def by_block(state_dict: StateDict) -> StateDict:
    """Kijai's keys: the block in front, of Lynx lite every second one."""
    is_full = any("registers" in key or "ref" in key for key in state_dict)
    step = 1 if is_full else 2

    def renamed(key: str) -> str:
        match = re.fullmatch(r"(\d+)\.(.*)", key)
        if not match:
            return key
        place = "self_attn.ref_adapter" if "_ref" in key else "cross_attn.ip_adapter"
        return f"blocks.{int(match[1]) * step}.{place}.{match[2]}"

    return {renamed(key): tensor for key, tensor in state_dict.items()}


def prefixed(state_dict: StateDict) -> StateDict:
    return {f"diffusion_model.{key}": tensor for key, tensor in state_dict.items()}


def prefixed_by_block(state_dict: StateDict) -> StateDict:
    return prefixed(by_block(state_dict))


LAYOUTS = [dict, by_block, prefixed, prefixed_by_block]


# Changes


def meta(table: Table, dtype: torch.dtype = torch.float16) -> StateDict:
    """Weights of a table's shapes without numbers."""
    return {key: torch.empty(entry.shape, dtype=dtype, device="meta") for key, entry in table.items()}


def changed(files: Selected, slot: str, *, without: tuple[str, ...] = (), **added: Any) -> Selected:
    """The same files with keys of one of them gone, or others put in; dots are written as two underscores."""
    kept = {key: tensor for key, tensor in files[slot].state_dict.items() if key not in without}
    new = {key.replace("__", "."): tensor for key, tensor in added.items()}
    return files | {slot: replace(files[slot], state_dict=kept | new)}


def said(files: Selected, slot: str, **metadata: str) -> Selected:
    """The same files, one of them with metadata."""
    return files | {slot: replace(files[slot], metadata=metadata)}


def named(files: Selected, slot: str, name: str) -> Selected:
    """The same files, one of them with another name."""
    return files | {slot: replace(files[slot], name=name)}
