"""What a person is told about a prompt and an identity."""

from __future__ import annotations

from collections.abc import Iterator

from ...notes import note_lines
from .ages import ANY_AGE
from .checking import PromptCheck, in_words
from .lexicon import SHOWN, listed
from .reading import Mention


def describe(result: PromptCheck) -> str:
    """The verdict, the words that led to it with their places in the prompt, and the notes."""
    person = in_words(result.appearance)
    headline = {
        "OFF": "OFF: nothing was checked",
        "CONFLICT": f"CONFLICT: nobody in the prompt can be the identity ({person})",
        "WARN": "WARN: the prompt describes the face, which the portrait decides",
        "OK": f"OK: nothing in the prompt speaks against the identity ({person})",
    }[result.verdict]
    lines = [headline, *_claim_lines(result.conflicts)]
    if result.descriptions:
        lines.append(f'describes the face: {listed(result.descriptions)}; say only "a man" or "a woman"')
    return "\n".join([*lines, *note_lines(result.notes)])


def _claim_lines(mentions: tuple[Mention, ...]) -> Iterator[str]:
    """What a prompt says of the people whom it names."""
    for mention in mentions[:SHOWN]:
        claims = (mention.sex, None if mention.ages == ANY_AGE else mention.ages.words)
        yield f"says {listed([mention.words])}: {', '.join(claim for claim in claims if claim)}"
    if len(mentions) > SHOWN:
        yield f"and {len(mentions) - SHOWN} more people"
