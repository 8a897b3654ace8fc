"""The experts of a run: what is known of each beforehand, how it is asked, and what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Conditions:
    """One entry of a list of conditions of a guider."""

    name: str  # of the list: positive, negative, or another one of its kind
    brought: frozenset[str]  # the host's names of what it holds


@dataclass(frozen=True, slots=True)
class ExpertParams:
    """What is known of an expert before it samples."""

    network: str  # the host's class of it
    input_channels: int
    shift: float  # of its schedule
    cfg: float | None = None  # None when it guides in another way than by one scale
    file: str | None = None  # the path it was loaded from
    level: str | None = None  # "high" or "low", as the name of that file says of weights that it still has
    has_context_windows: bool = False
    portraits_for: frozenset[str] = frozenset()  # experts that its Stand-In files were trained for
    portrait_files: frozenset[str] = frozenset()  # hashes of those files
    reads: frozenset[str] = frozenset()  # the host's names of the conditions beside text that it reads
    conditions: tuple[Conditions, ...] = ()  # of its guider


@dataclass(frozen=True, slots=True)
class Expert:
    """An expert's way to sample, and how its weights come onto the device."""

    name: str
    params: ExpertParams
    sample: Callable[..., Tensor]  # of its guider: goes through the whole set-up and then calls the sampler
    load: Callable[[], None]  # called each time the run switches to this expert
    warm: Callable[[], None]  # called at most once, shortly before the run switches to this expert


@dataclass(frozen=True, slots=True)
class ExpertTally:
    """What one expert did in a run."""

    evaluations: int = 0
    loads: int = 0
    seconds: float = 0.0  # in evaluations
    load_seconds: float = 0.0

    def __add__(self, other: ExpertTally) -> ExpertTally:
        return ExpertTally(
            self.evaluations + other.evaluations,
            self.loads + other.loads,
            self.seconds + other.seconds,
            self.load_seconds + other.load_seconds,
        )
