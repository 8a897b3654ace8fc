"""One identity in a model: what acts, on which rows and tokens of a forward pass, and how strongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from .kv_cache import KeysValues, stored_as
from .lynx import IpTerm, RefTerm, term_sources
from .passes import PassContext
from .settings import AUTO, FP8, POSITIVE
from .stand_in import StandInTerm, portrait_rows
from .tokens import Keyframes

SIGMA_TOLERANCE = 1e-6
FP8_TYPE = torch.float8_e4m3fn

Term = IpTerm | RefTerm | StandInTerm
Pair = tuple[Tensor, Tensor]  # keys and values


@dataclass(frozen=True, slots=True, eq=False)
class Lock:
    """One identity, the parts of an adapter that put it in, and where they act."""

    # of adapter, identity, and what is read of it: equal ones give equal keys and values
    content: tuple[str, ...] = field(repr=False)
    ip: IpTerm | None
    ref: RefTerm | None
    stand_in: StandInTerm | None
    strength: float  # of ip and stand_in, above 0; 1 is what they were trained with
    ref_strength: float  # of ref
    blocks: frozenset[int]  # of the Wan model
    start_percent: float  # of the model's schedule, 0 is pure noise
    end_percent: float
    apply_to: str  # one of APPLY_TO; auto: stand_in on both prompts, the others with the null identity on the negative
    mask: Tensor | None = field(repr=False)  # f|1 h w in [0, 1], where in the picture; None: everywhere
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

    def keys_values(self, term: Term | None, context: PassContext) -> KeysValues:
        """What a term gives in a pass, from the cache if it is there; nothing for no term."""
        if term is None:
            return {}
        key, build = (*term.key(context), self.content), partial(term.keys_values, context)
        if self.kept_as == FP8:
            return context.recall((*key, FP8), lambda: stored_as(build(), FP8_TYPE))
        return context.recall(key, build)


@dataclass(frozen=True, slots=True, eq=False)
class ActiveLock:
    """A lock as it acts in one forward pass."""

    strength: float
    ref_strength: float
    blocks: frozenset[int]
    sources: tuple[int | None, ...]  # of ip and ref, for each row
    rows: frozenset[int]  # that stand_in acts on
    token_weights: Tensor | None = field(repr=False)  # of each video token; None where all are 1
    ip: KeysValues = field(repr=False)
    ref: KeysValues = field(repr=False)
    stand_in: KeysValues = field(repr=False)

    @classmethod
    def of(cls, lock: Lock, context: PassContext) -> ActiveLock:
        """The lock in a pass, with all keys and values that it needs."""
        return cls(
            strength=lock.strength,
            ref_strength=lock.ref_strength,
            blocks=lock.blocks,
            sources=term_sources(lock.apply_to, context.is_negative),
            rows=portrait_rows(lock.apply_to, context.is_negative),
            token_weights=context.token_weights,
            ip=lock.keys_values(lock.ip, context),
            ref=lock.keys_values(lock.ref, context),
            stand_in=lock.keys_values(lock.stand_in, context),
        )

    def in_block(self, part: KeysValues, block: int) -> Pair | None:
        """Keys and values of a part in a block; None where it does not act."""
        return part.get(block) if block in self.blocks else None

    @property
    def is_plain(self) -> bool:
        """Whether Stand-In acts as it was trained: with strength 1, on every token."""
        return self.strength == 1 and self.token_weights is None
