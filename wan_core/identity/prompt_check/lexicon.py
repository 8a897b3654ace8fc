"""The words that tell of a person, and where they stand in a prompt.

The words of a language are a text of lines ``role sex ages: word, word``; an indented line goes on with the one before.
``sex`` and ``ages`` may be left out; ``ages`` is a band or two with a hyphen between: ``young``, ``young-old``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from ...errors import quoted
from ..appearance import SEXES, Sex
from ..record import OLDEST_YEARS
from .ages import AGE_IN_NUMBERS, ANY_AGE, AgeSpan, age_in, band_of, span_of_names

SHOWN = 8  # words or people in a message
WORD_START, WORD_END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"


@dataclass(frozen=True, slots=True)
class Term:
    """What a word says."""

    role: str  # as the text of the words explains
    sex: Sex | None = None  # None: it says nothing of it
    ages: AgeSpan = ANY_AGE


@dataclass(frozen=True, slots=True)
class Match:
    """A word in a prompt."""

    term: Term
    text: str
    start: int  # its first character in the prompt, from 0
    end: int  # the character behind it

    @property
    def shown(self) -> str:
        """The word with its first and last character, counted from 1, for a message."""
        return f"{quoted(self.text)} ({self.start + 1}-{self.end})"


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words of all languages."""

    terms: Mapping[str, Term]
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Lexicon:
        """Raises ValueError for a line without a colon or with a mark that is neither a sex nor an age band."""
        terms = {word: term for text in texts for word, term in _terms_of(text)}
        longest_first = sorted(terms, key=len, reverse=True)
        return cls(terms, re.compile("|".join([AGE_IN_NUMBERS, *map(_pattern_of, longest_first)]), re.IGNORECASE))

    def find(self, prompt: str) -> list[Match]:
        """Every known word, in order; at one place the longest."""
        found = []
        for hit in self.pattern.finditer(prompt.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")):
            if hit.lastgroup:
                years = age_in(hit[0])
                term = Term(hit.lastgroup, ages=band_of(years)) if years <= OLDEST_YEARS else Term("harmless")
            else:
                term = self.terms[_spelled(hit[0])]
            found.append(Match(term, prompt[hit.start() : hit.end()], hit.start(), hit.end()))
        return found


def listed(groups: Sequence[tuple[Match, ...]]) -> str:
    """Words that belong together, group by group, for a message: the first of them, and how many more there are."""
    lines = [_first((word.shown for word in group), len(group), " ") for group in groups[:SHOWN]]
    return _first(lines, len(groups), ", ")


def _first(texts: Iterable[str], count: int, between: str) -> str:
    more = [f"and {count - SHOWN} more"] if count > SHOWN else []
    return between.join([*islice(texts, SHOWN), *more])


def _terms_of(text: str) -> Iterator[tuple[str, Term]]:
    for line in re.sub(r"\n +", " ", text).splitlines():
        if line and not line.startswith("#"):
            head, words = line.split(":")
            role, *marks = head.split()
            sex = next((SEXES[mark] for mark in marks if mark in SEXES), None)
            spans = [span_of_names(mark) for mark in marks if mark not in SEXES]
            yield from ((_spelled(word.strip()), Term(role, sex, *spans)) for word in words.split(","))


def _spelled(text: str) -> str:
    """A word as the terms have it: in small letters, with one space for any number of spaces and hyphens."""
    return re.sub(r"[\s-]+", " ", text.lower())


def _pattern_of(word: str) -> str:
    """Where the word stands: one of Latin letters stands alone, and a space in it may be a hyphen."""
    if not word.isascii():
        return re.escape(word)
    spelled = r"[\s-]+".join(map(re.escape, word.split(" ")))
    return f"{WORD_START}{spelled}{WORD_END}"
