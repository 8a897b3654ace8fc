"""What a result does not show by itself: what is allowed but probably not meant, and what was done another way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .errors import printable


@dataclass(frozen=True, slots=True)
class Note:
    """One remark for the user, and for programs."""

    code: str  # what it is about, for programs
    text: str  # what is so, what follows and what to do, in one printable line

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", printable(self.text))


def note_lines(notes: Iterable[Note]) -> list[str]:
    """The notes as lines of a report."""
    return [f"note: {note.text}" for note in notes]
