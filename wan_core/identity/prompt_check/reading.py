"""Whom a prompt names, and where it describes a face."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..appearance import Sex
from .ages import ANY_AGE, AgeSpan
from .lexicon import Lexicon, Match
from .sentence import FULL_STOP, Sentence


@dataclass(frozen=True, slots=True)
class Mention:
    """A person whom the prompt names."""

    words: tuple[Match, ...]  # that do it
    sex: Sex | None  # None: the prompt does not say
    ages: AgeSpan

    @classmethod
    def of(cls, nouns: Iterable[Match], ages: Iterable[Match]) -> Mention:
        """The person of these nouns, whose ages give way to those of the words of age."""
        nouns, ages = tuple(nouns), tuple(ages)
        span = ANY_AGE
        for word in (*nouns, *ages):
            span = span.narrowed_by(word.term.ages)
        return cls((*reversed(ages), *nouns), next((noun.term.sex for noun in nouns if noun.term.sex), None), span)


@dataclass(frozen=True, slots=True)
class PromptReading:
    """What a prompt says of people; what it denies is left out."""

    mentions: tuple[Mention, ...]
    descriptions: tuple[tuple[Match, ...], ...]  # of faces


def read(prompt: str, lexicon: Lexicon) -> PromptReading:
    """The people of a prompt, each with sex and ages as far as it says them, and its descriptions of faces."""
    sentence = Sentence(prompt, tuple(lexicon.find(prompt)))
    mentions: list[Mention] = []
    for run in sentence.people():
        mention = Mention.of((sentence.words[i] for i in run), sentence.ages_before(run[0]))
        is_definite = sentence.role(run[0] - 1) == "same" and sentence.is_next(run[0] - 1)
        if not (is_definite and any(mention.sex == earlier.sex for earlier in mentions)):  # "an old man ... the man"
            mentions.append(mention)
    for word in sentence.words:
        if word.term.role == "pronoun":
            _stand_for(mentions, word)
    mentions.sort(key=lambda mention: mention.words[0].start)
    said = {word for mention in mentions for word in mention.words}
    for index, word in enumerate(sentence.words):
        is_of_thing = sentence.role(index - 1) in ("article", "same") and sentence.is_next(index - 1)
        is_age = word.term.role == "number" and not is_of_thing  # "an 80 years old house"
        is_said = word.term.role in ("age", "number_said") and sentence.is_said_of_person(index)
        if word not in said and (is_age or is_said):
            _say_age(mentions, word, sentence)
    return PromptReading(tuple(mentions), tuple(sentence.descriptions()))


def _say_age(mentions: list[Mention], age: Match, sentence: Sentence) -> None:
    """Gives an age behind a noun to the person nearest before it in the sentence, or to somebody without a name."""
    before = [index for index, mention in enumerate(mentions) if mention.words[-1].end <= age.start]
    if before and not FULL_STOP.search(sentence.prompt, mentions[before[-1]].words[-1].end, age.start):
        person = mentions[before[-1]]
        ages = person.ages.narrowed_by(age.term.ages)
        mentions[before[-1]] = replace(person, words=(*person.words, age), ages=ages)
    elif not mentions:
        mentions.append(Mention.of((), (age,)))


def _stand_for(mentions: list[Mention], pronoun: Match) -> None:
    """Gives a pronoun to a person of its sex before it, else to the nearest of unknown sex, else to somebody new."""
    before = [index for index, mention in enumerate(mentions) if mention.words[0].start < pronoun.start]
    if any(mentions[index].sex == pronoun.term.sex for index in before):
        return
    unknown = [index for index in before if mentions[index].sex is None]
    if unknown:
        person = mentions[unknown[-1]]
        mentions[unknown[-1]] = replace(person, words=(*person.words, pronoun), sex=pronoun.term.sex)
    else:
        mentions.append(Mention.of((pronoun,), ()))
