"""Adapters and locks in words."""

from __future__ import annotations

from torch import nn

from ..errors import printable
from ..notes import note_lines
from .adapter import Adapter, AdapterParams
from .lock import Lock
from .locking import LockResult
from .lynx import LynxIpParams
from .settings import AS_MODEL, BOTH, FP8, POSITIVE
from .wan import picture_grid

NOT_ACTING = "the model stays as it was: no part of the adapter acts (strength 0, or an empty range)"
ITEM_BYTES = {AS_MODEL: 2, FP8: 1}  # of a number of keys and values, in a model that computes in bf16
TYPE_NAMES = {AS_MODEL: "bf16", FP8: "fp8"}
MB = 1_000_000

# Adapters


def label_of(params: AdapterParams, stand_in_expert: str | None) -> str:
    """The kinds of parts and their sizes, in one line."""
    parts = []
    if params.ip and params.resampler:
        parts.append(f"{_version(params.ip)} ({len(params.ip.blocks)} blocks, {params.resampler.tokens} tokens)")
    if params.ref:
        parts.append(f"Lynx reference layers ({len(params.ref.blocks)} blocks)")
    if params.stand_in:
        expert = f", {stand_in_expert} noise" if stand_in_expert else ""
        parts.append(f"Stand-In ({len(params.stand_in.blocks)} blocks, rank {params.stand_in.rank_d}{expert})")
    return " + ".join(parts)


def describe_adapter(adapter: Adapter) -> str:
    """The files, and one line for each part: blocks, sizes, how it is stored."""
    network, params = adapter.network, adapter.network.params
    lines = [f"{adapter.label}: {', '.join(map(printable, adapter.names))}", f"model width {adapter.width_d}"]
    if params.ip:
        registers = f" and {params.ip.registers} registers" if params.ip.registers else ""
        lines.append(
            f"IP layers of {_version(params.ip)}: blocks {shown_blocks(params.ip.blocks)}, "
            f"tokens of {params.ip.token_d} numbers{registers}, {_storage(network.ip)}"
        )
    if params.resampler:
        lines.append(
            f"resampler: {params.resampler.tokens} tokens of {params.resampler.token_d} numbers, "
            f"{params.resampler.depth} layers, {_storage(network.resampler)}"
        )
    if params.ref:
        blocks = shown_blocks(params.ref.blocks)
        lines.append(f"reference layers of Lynx full: blocks {blocks}, {_storage(network.ref)}")
    if params.stand_in:
        expert = adapter.stand_in_expert
        made_for = f"for the {expert}-noise expert" if expert else "whose file names no expert"
        lines.append(
            f"Stand-In {made_for}: blocks {shown_blocks(params.stand_in.blocks)}, rank {params.stand_in.rank_d}, "
            f"{_storage(network.stand_in)}"
        )
    if params.ip:
        hashed = f"the recogniser with SHA-256 {adapter.space_sha256[:12]}" if adapter.space_sha256 else None
        unsaid = "facexlib's IR-SE50; the files do not say which, so it is not checked"
        lines.append(f"expects identities of {hashed or unsaid}")
    return "\n".join(lines)


def _version(ip: LynxIpParams) -> str:
    return "Lynx full" if ip.is_full else "Lynx-lite"


def shown_blocks(blocks: tuple[int, ...]) -> str:
    """Blocks in words, shorter where they are evenly spaced: "0-39", "0, 2, ..., 38"."""
    steps = {later - earlier for earlier, later in zip(blocks, blocks[1:], strict=False)}
    if len(blocks) < 4 or len(steps) > 1:
        return ", ".join(map(str, blocks))
    return f"{blocks[0]}-{blocks[-1]}" if steps == {1} else f"{blocks[0]}, {blocks[1]}, ..., {blocks[-1]}"


def _storage(part: nn.Module | None) -> str:
    """How a part's weights are stored."""
    weights = list(part.parameters()) if part else []
    types = sorted({str(weight.dtype).removeprefix("torch.") for weight in weights})
    return f"{sum(weight.nbytes for weight in weights) / 1e6:.1f} MB of {' and '.join(types)}"


# Locks


def describe_lock(result: LockResult) -> str:
    """What acts, where, on which prompts, the memory that it keeps, and the notes."""
    lock, model = result.lock, result.model
    if lock is None:
        return NOT_ACTING
    acting = [
        f"{name} with strength {strength:g}"
        for name, term, strength in (
            ("identity tokens", lock.ip, lock.strength),
            ("portrait", lock.stand_in, lock.strength),
            ("reference picture", lock.ref, lock.ref_strength),
        )
        if term is not None
    ]
    lines = [
        result.label,
        f"acts by {', '.join(acting)}",
        f"in {len(lock.blocks)} of {model.blocks} blocks, from {lock.start_percent:.0%} to {lock.end_percent:.0%} of "
        "the noise schedule",
        _prompts(lock),
        f"keeps {kept_bytes(lock, model.width_d) / MB:.1f} MB of keys and values in {TYPE_NAMES[lock.kept_as]}",
        *note_lines(result.notes),
    ]
    return "\n".join(lines)


def _prompts(lock: Lock) -> str:
    if lock.apply_to == BOTH:
        return "the person on both prompts"
    if lock.apply_to == POSITIVE:
        return "the person on the positive prompt, nothing on the negative one"
    sides = {
        "the portrait on both prompts": lock.stand_in,
        "the person on the positive prompt, nobody on the negative one": lock.ip or lock.ref,
    }
    return "; ".join(side for side, term in sides.items() if term)


def kept_bytes(lock: Lock, width_d: int) -> int:
    """The bytes of the keys and values that a lock keeps while the model samples."""
    rows = 0
    if lock.ip:
        rows += sum(len(k) * k.shape[1] for k, _ in lock.ip.unnormed.values())
    if lock.ref:
        rows += len(lock.ref.network.blocks) * len(lock.ref.latents) * picture_grid(lock.ref.latents).tokens
    if lock.stand_in:
        rows += len(lock.stand_in.network.blocks) * picture_grid(lock.stand_in.latent).tokens
    return 2 * rows * width_d * ITEM_BYTES[lock.kept_as]
