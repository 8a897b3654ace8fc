"""The known words of a prompt, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .ages import OF
from .lexicon import Match

FARTHEST = 4  # words, known or not, or Chinese letters, from one word to another that it has to do with
UNIT = re.compile(r"[^\W\u2e80-\uffff]+|[\u2e80-\uffff]")
PAUSE = re.compile(r"[.,;:!?()\n\u3001\u3002\uff0c\uff1b\uff1a\uff01\uff1f\u2026]")
FULL_STOP = re.compile(r"[.;!?\n\u3002\uff1b\uff01\uff1f]")
POSSESSIVE = re.compile(r"['\u2019]s?(?![A-Za-z])")
SAID_OF = re.compile(  # between a person and an age that is said of it: "she is very old", "a woman, old and frail"
    r"(?:\s+(?:is|are|was|were|looks|seems))?(?:\s+(?:very|quite|rather|too|so))?\s+|\s*[,\uff0c]\s*|[\u5f88\u592a]",
    re.IGNORECASE,
)
END_OF_CLAUSE = re.compile(rf"\s*(?:$|{PAUSE.pattern}|(?:and|but)(?![A-Za-z]))", re.IGNORECASE)
COMMAS = ",\u3001\uff0c "
AGES = ("age", "number_before", "number")
ADJECTIVES = (*AGES, "face", "look", "part")


@dataclass(frozen=True, slots=True)
class Sentence:
    """The known words of a prompt in their order; a word is named by its index."""

    prompt: str
    words: tuple[Match, ...]

    def role(self, index: int) -> str:
        """The role of a word; none before the first and after the last."""
        return self.words[index].term.role if 0 <= index < len(self.words) else ""

    def gap(self, index: int) -> str:
        """What stands between a word and the next known one."""
        return self.prompt[self.words[index].end : self.words[index + 1].start]

    def is_near(self, index: int, farthest: int = FARTHEST) -> bool:
        """Whether a word and the next one can belong together; an age may have a comma behind it."""
        gap = self.gap(index).lstrip(COMMAS if self.role(index) == "age" else None)
        return len(UNIT.findall(gap)) <= farthest and not PAUSE.search(gap)

    def is_next(self, index: int) -> bool:
        """Whether nothing stands between a word and the next known one, of which there is one."""
        return 0 <= index < len(self.words) - 1 and not self.gap(index).strip(" -")

    def is_denied(self, index: int) -> bool:
        """Whether a word before it denies it; what a Chinese noun lacks ends with the clause before the noun."""
        has_clause_end = False
        for before in range(index - 1, max(index - FARTHEST, 0) - 1, -1):
            if not self.is_near(before) or self.role(before) == "joint":
                return False
            has_clause_end |= OF in self.gap(before)
            if self.role(before) in ("void", "lack"):
                return self.role(before) == "void" or not has_clause_end
        return False

    def people(self) -> Iterator[range]:
        """The runs of nouns that each name somebody who is in the picture: "woman doctor"."""
        start = 0
        for index in range(len(self.words)):
            if self.role(index) != "person":
                start = index + 1
            elif not self._goes_on(index):
                if self._is_seen(range(start, index + 1)):
                    yield range(start, index + 1)
                start = index + 1

    def _goes_on(self, index: int) -> bool:
        """Whether the next noun names the same person."""
        if not self.is_next(index) or self.role(index + 1) != "person":
            return False
        sexes = {self.words[index].term.sex, self.words[index + 1].term.sex}
        return not {"female", "male"} <= sexes

    def _is_seen(self, run: range) -> bool:
        """Whether a run of nouns is neither denied, nor a name for a thing, nor the owner of something."""
        last = run[-1]
        if self.is_denied(run[0]) or (self.is_next(last) and self.role(last + 1) == "thing"):
            return False
        if not POSSESSIVE.match(self.prompt, self.words[last].end):
            return True
        owned = next((i for i in range(last + 1, last + FARTHEST) if self.role(i) in ("body", "part")), last)
        return owned > last and all(map(self.is_near, range(last, owned)))

    def ages_before(self, index: int) -> list[Match]:
        """The words of age that a noun has before it, the nearest first."""
        found = []
        while self.role(index - 1) in ADJECTIVES and self.is_near(index - 1):
            index -= 1
            found += [self.words[index]] if self.role(index) in AGES else []
        return found

    def is_said_of_person(self, index: int) -> bool:
        """Whether an age is said of the person before it: "is very old.", ", old and ...", but no thing's."""
        before = index - 1 if self.role(index - 1) != "joint" else index - 2
        if self.role(before) not in ("person", "pronoun") or not END_OF_CLAUSE.match(
            self.prompt, self.words[index].end
        ):
            return False
        return bool(SAID_OF.fullmatch(self.prompt, self.words[before].end, self.words[index].start))

    def descriptions(self) -> Iterator[tuple[Match, ...]]:
        """The words that describe a face; of a part of it, with its look."""
        for index, word in enumerate(self.words):
            if word.term.role not in ("face", "part") or self.is_denied(index):
                continue
            if word.term.role == "face":
                yield (word,)
            elif (look := self._look_of(index)) is not None:
                yield tuple(self.words[i] for i in sorted((look, index)))

    def _look_of(self, part: int) -> int | None:
        """Where the look of a part of the face stands: before it, or behind it with "is" or nothing between."""
        has_verb = part + 1 < len(self.words) and self.words[part + 1].text.lower() in ("is", "are")
        for look in (part - 1, part + 2 if has_verb else part + 1):
            first, last = sorted((look, part))
            if self.role(look) == "look" and all(self.is_near(index, 1) for index in range(first, last)):
                return look
        return None
