"""What is known of two experts before they sample, and all notes that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..notes import Note
from .notes import on_context_windows, on_distilled, on_files, on_portraits, on_schedule, on_shifts
from .split import Split


@dataclass(frozen=True, slots=True)
class ExpertFacts:
    """What is known of one expert."""

    file: str | None  # the path it was loaded from
    shift: float  # of its schedule
    has_context_windows: bool
    portraits_for: frozenset[str] = frozenset()  # experts that its Stand-In files were trained for
    portrait_files: frozenset[str] = frozenset()  # hashes of those files


def notes_on_run(
    high: ExpertFacts,
    low: ExpertFacts,
    sigmas: Sequence[float],
    split: Split,
    cfgs: tuple[float | None, float | None],
) -> tuple[Note, ...]:
    """What is allowed but probably not meant; ``cfgs`` are those of the high and low expert, None where not known."""
    return (
        *on_files(high.file, low.file),
        *on_shifts(high.shift, low.shift),
        *on_schedule(sigmas, split, high.shift),
        *(on_distilled(sigmas, *cfgs) if None not in cfgs else ()),
        *on_portraits(high.portraits_for, low.portraits_for, high.portrait_files, low.portrait_files),
        *on_context_windows(high.has_context_windows, low.has_context_windows),
    )
