"""What an identity does in a model, in words."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .lock import AS_MODEL, BOTH, FP8, POSITIVE, Lock
from .shapes import LITE_BLOCK_STEP

ITEM_BYTES = {AS_MODEL: 2, FP8: 1}  # of a number of keys and values, in a model that computes in bf16
NAMES = {AS_MODEL: "bf16", FP8: "fp8"}
MB = 1_000_000


def lock_lines(lock: Lock, locks: Sequence[Lock], label: str, *, width_d: int, model_blocks: int) -> list[str]:
    """A report of one lock among all ``locks`` of a model; ``label`` names the adapter."""
    terms = {"identity tokens": (lock.ip, lock.strength), "portrait": (lock.stand_in, lock.strength)}
    terms |= {"reference picture": (lock.ref, lock.ref_strength)}
    acting = [f"{name} with strength {strength:g}" for name, (term, strength) in terms.items() if term is not None]
    return [
        label,
        f"acts by {', '.join(acting)}",
        f"in {len(lock.blocks)} of {model_blocks} blocks, from {lock.start_percent:.0%} to {lock.end_percent:.0%} of "
        "the noise schedule",
        _prompts(lock),
        f"keeps {kept_bytes(lock, width_d) / MB:.1f} MB of keys and values in {NAMES[lock.kept_as]}",
        *_notes(lock, locks, model_blocks),
    ]


def kept_bytes(lock: Lock, width_d: int) -> int:
    """The bytes of the keys and values that a lock keeps while the model samples."""
    rows = 0
    if lock.ip:
        rows += sum(len(k) * k.shape[1] for k, _ in lock.ip.keys_values.values())
    if lock.ref:
        rows += len(lock.ref.network.blocks) * _tokens(lock.ref.latents)
    if lock.stand_in:
        rows += len(lock.stand_in.network.blocks) * _tokens(lock.stand_in.latent)
    return 2 * rows * width_d * ITEM_BYTES[lock.kept_as]


def _tokens(latents: Tensor) -> int:
    count, _, _, height, width = latents.shape
    return count * -(-height // 2) * -(-width // 2)


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


def _notes(lock: Lock, locks: Sequence[Lock], model_blocks: int) -> list[str]:
    notes = []
    parts = [(term.network.blocks, model_blocks) for term in (lock.stand_in, lock.ref) if term is not None]
    if lock.ip is not None:
        every = 1 if lock.ip.is_normed_by_model else LITE_BLOCK_STEP
        parts.append((lock.ip.keys_values, -(-model_blocks // every)))
    notes += [
        f"note: the adapter has weights for {len(found)} of the {wanted} blocks of this model in which it acts; the "
        "file may be incomplete, or made for another model"
        for found, wanted in parts
        if len(found) < wanted
    ]
    if len(locks) > 1 and any(each.mask is None for each in locks) and len({each.content[1] for each in locks}) > 1:
        notes.append("note: several persons without a mask for each blend into one another; give every ID Lock a mask")
    return notes
