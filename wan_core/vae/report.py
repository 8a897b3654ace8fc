"""A decode in words for the user."""

from __future__ import annotations

from ..notes import note_lines
from .decoding import DecodeResult


def describe(result: DecodeResult[object]) -> str:
    """How it was decoded and why so, and the notes: a line each."""
    return "\n".join([result.plan.why, *note_lines(result.notes)])
