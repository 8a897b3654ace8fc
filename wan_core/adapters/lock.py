"""One identity in a model: what acts, on which rows and tokens of a forward pass, and how strongly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import InputError
from .image_stream import Place, reference_keys_values, stand_in_keys_values
from .kv_cache import KeysValues, stored_as
from .lynx import LynxRef, rms_normalise
from .stand_in import StandIn
from .tokens import Keyframes

SIGMA_TOLERANCE = 1e-6
PERSON, NOBODY = 0, 1  # of two identities, the locked one and the null one
AUTO, BOTH, POSITIVE = APPLY_TO = ("auto", "both", "positive")
AS_MODEL, FP8 = KEPT_AS = ("model's type", "fp8")
FP8_TYPE = torch.float8_e4m3fn

# Settings


@dataclass(frozen=True, slots=True, eq=False)
class IpTerm:
    """Identity tokens of Lynx: a term of cross-attention."""

    keys_values: KeysValues  # of the person and of nobody, 2 n d each, keys before their norm
    is_normed_by_model: bool  # by the block's own norm of keys; else by their root mean square


@dataclass(frozen=True, slots=True, eq=False)
class RefTerm:
    """The reference picture of Lynx: a term of self-attention."""

    network: LynxRef
    latents: Tensor  # 2 c 1 h w: of the face crop, and of a grey picture for nobody
    text: Tensor  # 1 n d, the embedded text that describes both


@dataclass(frozen=True, slots=True, eq=False)
class StandInTerm:
    """The portrait of Stand-In: more keys and values of self-attention."""

    network: StandIn
    latent: Tensor  # 1 c 1 h w
    expert: str | None  # "high" or "low", the expert that it was trained for; None where its file does not say


@dataclass(frozen=True, slots=True, eq=False)
class Lock:
    """One identity, the parts of an adapter that put it in, and where they act."""

    content: tuple[str, ...]  # of adapter, identity, and what is read of it: equal ones give equal keys and values
    ip: IpTerm | None
    ref: RefTerm | None
    stand_in: StandInTerm | None
    strength: float  # of ip and stand_in, above 0; 1 is what they were trained with
    ref_strength: float  # of ref
    blocks: frozenset[int]  # of the Wan model
    start_percent: float  # of the model's schedule, 0 is pure noise
    end_percent: float
    apply_to: str  # one of APPLY_TO; auto: stand_in on both prompts, the others with nobody on the negative one
    mask: Tensor | None  # f|1 h w in [0, 1], where in the picture; None: everywhere
    frame_weights: Keyframes  # when; empty: always
    kept_as: str  # one of KEPT_AS: the type in which keys and values wait

    def acts_at(self, sigma: float, sigma_of: Callable[[float], float]) -> bool:
        """Whether a step lies in the range; ``sigma_of`` is the schedule by percent.

        A step on the last sigma belongs to the range after it.
        """
        first_sigma, last_sigma = sigma_of(self.start_percent), sigma_of(self.end_percent)
        return last_sigma + SIGMA_TOLERANCE < sigma <= first_sigma + SIGMA_TOLERANCE

    @property
    def differs_by_prompt(self) -> bool:
        """Whether a negative prompt gets something else than a positive one."""
        return self.apply_to == POSITIVE or (self.apply_to == AUTO and (self.ip is not None or self.ref is not None))


# Rows of a batch


def row_is_negative(uuids: Sequence[object], negative: Collection[object], rows: int) -> list[bool]:
    """For each of ``rows`` batch rows whether its condition is negative; raises InputError for an uneven batch."""
    if not uuids or rows % len(uuids):
        raise InputError(
            "model",
            found=f"a batch of {rows} rows for {len(uuids)} conditionings",
            wanted="as many rows for each conditioning",
            fix="Take away the node that splits the batch of conditionings.",
        )
    return [uuid in negative for uuid in uuids for _ in range(rows // len(uuids))]


def decoupled_sources(apply_to: str, is_negative: Sequence[bool]) -> list[int | None]:
    """For each row whose tokens a term of ip or ref reads: the person's, nobody's, or None for no term at all."""
    of_negative = {AUTO: NOBODY, BOTH: PERSON, POSITIVE: None}[apply_to]
    return [of_negative if negative else PERSON for negative in is_negative]


def joint_rows(apply_to: str, is_negative: Sequence[bool]) -> frozenset[int]:
    """The rows that a Stand-In acts on."""
    return frozenset(row for row, negative in enumerate(is_negative) if apply_to != POSITIVE or not negative)


# Keys and values


Recall = Callable[[Hashable, Callable[[], KeysValues]], KeysValues]  # a cache on the pass's device: key, build -> entry


def _kept(lock: Lock, key: tuple[Hashable, ...], recall: Recall, build: Callable[[], KeysValues]) -> KeysValues:
    """What ``build`` gives for this lock, from the cache if it is there, in the type in which it is kept."""
    if lock.kept_as == FP8:
        return recall((*key, lock.content, FP8), lambda: stored_as(build(), FP8_TYPE))
    return recall((*key, lock.content), build)


def ip_keys_values(lock: Lock, wan: nn.Module, like: Tensor, weights: Hashable, recall: Recall) -> KeysValues:
    """Finished keys and values of the identity tokens, 2 n d, in the type of ``like`` and on its device."""
    term = lock.ip

    def build() -> KeysValues:
        return {
            block: (_normed(term, wan.blocks[block], k.to(like.device)).to(like), v.to(like))
            for block, (k, v) in term.keys_values.items()
        }

    return _kept(lock, ("ip", weights if term.is_normed_by_model else None, like.dtype), recall, build)


def _normed(term: IpTerm, block: nn.Module, k: Tensor) -> Tensor:
    return block.cross_attn.norm_k(k) if term.is_normed_by_model else rms_normalise(k)


def ref_keys_values(lock: Lock, wan: nn.Module, like: Tensor, weights: Hashable, recall: Recall) -> KeysValues:
    """Keys and values of the reference picture, 2 n d: one pass of it through the model."""
    term = lock.ref

    def build() -> KeysValues:
        return reference_keys_values(wan, term.network, term.latents.to(like), term.text.to(like))

    return _kept(lock, ("ref", weights, like.dtype), recall, build)


def stand_in_of(
    lock: Lock, wan: nn.Module, like: Tensor, weights: Hashable, recall: Recall, *, corner: Place, place: int
) -> KeysValues:
    """Keys and values of the portrait, 1 n d; ``corner`` is the first position before the video in time, behind it in
    rows and columns, and ``place`` says how many portraits lie between.
    """
    term = lock.stand_in
    rows, columns = (-(-size // 2) for size in term.latent.shape[-2:])  # of the portrait
    start = corner[0], corner[1] + place * rows, corner[2] + place * columns

    def build() -> KeysValues:
        return stand_in_keys_values(wan, term.network, term.latent.to(like), start)

    return _kept(lock, ("stand-in", weights, like.dtype, start), recall, build)


def places(locks: Sequence[Lock]) -> list[int]:
    """Where each lock's portrait lies: one after another those that act everywhere, those with a mask behind them."""
    everywhere = [lock.stand_in is not None and lock.mask is None for lock in locks]
    return [sum(everywhere[:n]) if everywhere[n] else sum(everywhere) for n in range(len(locks))]


# One forward pass


@dataclass(frozen=True, slots=True, eq=False)
class ActiveLock:
    """A lock as it acts in one forward pass."""

    strength: float
    ref_strength: float
    blocks: frozenset[int]
    sources: list[int | None]  # of ip and ref, for each row
    rows: frozenset[int]  # that stand_in acts on
    weights: Tensor | None  # of each video token; None where all are 1
    ip: KeysValues
    ref: KeysValues
    stand_in: KeysValues

    def of(self, part: KeysValues, block: int) -> tuple[Tensor, Tensor] | None:
        """Keys and values of a part in a block; None where it does not act."""
        return part.get(block) if block in self.blocks else None

    @property
    def is_plain(self) -> bool:
        """Whether Stand-In acts as it was trained: with strength 1, on every token."""
        return self.strength == 1 and self.weights is None


def stacked(pair: tuple[Tensor, Tensor], sources: Sequence[int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's own keys and values, b n d."""
    index = torch.tensor(sources, device=like.device)
    k, v = pair
    return k.to(like)[index], v.to(like)[index]
