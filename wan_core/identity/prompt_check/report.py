"""What a person is told about a prompt and an identity."""

from __future__ import annotations

from collections.abc import Iterator

from ...notes import note_lines
from .ages import ANY_AGE
from .checking import PromptCheck, in_words
from .lexicon import listed

SHOWN = 20  # people or descriptions in a report


def describe(result: PromptCheck) -> str:
    """The verdict, the words that led to it with their places in the prompt, and the notes."""
    return "\n".join([*_lines(result), *note_lines(result.notes)])


def _lines(result: PromptCheck) -> Iterator[str]:
    if result.verdict == "OFF":
        yield "OFF: nothing was checked"
        return
    if result.conflicts:
        yield f"CONFLICT: nobody in the prompt can be the identity ({in_words(result.appearance)})"
    elif result.descriptions:
        yield "WARN: the prompt describes the face, which the portrait decides"
    else:
        yield f"OK: nothing in the prompt speaks against the identity ({in_words(result.appearance)})"
    for mention in result.conflicts[:SHOWN]:
        claims = (mention.sex, None if mention.ages == ANY_AGE else mention.ages.words)
        yield f"says {listed([mention.words])}: {', '.join(claim for claim in claims if claim)}"
    if result.descriptions:
        yield f'describes the face: {listed(result.descriptions[:SHOWN])}; say only "a man" or "a woman"'
