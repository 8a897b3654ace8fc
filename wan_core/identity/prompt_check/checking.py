"""Whether a prompt and a person agree: sex and age, and whether the prompt describes the face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...checks import require_choice, require_text
from ...errors import InputError
from ...notes import Note
from ..appearance import Appearance
from ..record import Attributes
from .ages import band_of
from .lexicon import Lexicon, Match, listed
from .reading import Mention, read

PromptMode = Literal["warn", "refuse", "off"]
PROMPT_MODES: tuple[PromptMode, ...] = ("warn", "refuse", "off")
Verdict = Literal["OK", "WARN", "CONFLICT", "OFF"]
LONGEST_PROMPT = 10_000  # characters; Wan reads 512 tokens
UNKNOWN = Note(
    "unknown_person",
    "sex and age of the identity are not known, so nothing is said of them; an insightface pack with genderage "
    "measures them when the identity is encoded",
)
UNKNOWN_SEX = Note("unknown_sex", "the sex of the identity is not known or its references differ, so only age counts")
UNKNOWN_AGE = Note("unknown_age", "the age of the identity is not known, so only sex counts")


@dataclass(frozen=True, slots=True)
class PromptCheckRequest:
    """A prompt and what was measured on the references of an identity."""

    prompt: str
    attributes: Sequence[Attributes]
    mode: PromptMode

    def __post_init__(self) -> None:
        require_text(self.prompt, name="prompt")
        require_choice(self.mode, PROMPT_MODES, name="mode")
        if len(self.prompt) > LONGEST_PROMPT:
            raise InputError(
                "prompt",
                found=f"{len(self.prompt)} characters",
                wanted=f"at most {LONGEST_PROMPT}",
                fix="Shorten it: Wan reads the first 512 tokens.",
            )


@dataclass(frozen=True, slots=True)
class PromptCheck:
    """What was found; CONFLICT goes before WARN."""

    verdict: Verdict
    appearance: Appearance
    conflicts: tuple[Mention, ...]  # everybody whom the prompt names, where none of them can be the person
    descriptions: tuple[tuple[Match, ...], ...]  # the words that describe a face
    notes: tuple[Note, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts the person; a description of the face is only a warning."""
        return self.verdict != "CONFLICT"


def check_prompt(request: PromptCheckRequest, lexicon: Lexicon) -> PromptCheck:
    """Compares whom the prompt names with the identity: a conflict is where nobody named can be the person.

    Raises InputError on a conflict in mode "refuse"; in mode "off" nothing is read.
    """
    appearance = Appearance.of(request.attributes)
    if request.mode == "off":
        return PromptCheck("OFF", appearance, (), (), ())
    reading = read(request.prompt, lexicon)
    is_possible = not reading.mentions or any(can_be(appearance, mention) for mention in reading.mentions)
    conflicts = () if is_possible else reading.mentions
    verdict: Verdict = "CONFLICT" if conflicts else "WARN" if reading.descriptions else "OK"
    result = PromptCheck(verdict, appearance, conflicts, reading.descriptions, _notes(appearance))
    if conflicts and request.mode == "refuse":
        raise InputError(
            "prompt",
            found=listed([mention.words for mention in conflicts]),
            wanted=f"words that fit the identity: {in_words(appearance)}",
            fix="Change the words or the identity; mode warn lets it pass.",
        )
    return result


def can_be(appearance: Appearance, mention: Mention) -> bool:
    """Whether the person can be meant; what is not known or not said fits all."""
    if None not in (mention.sex, appearance.sex) and mention.sex != appearance.sex:
        return False
    return appearance.age_years is None or mention.ages.is_near(band_of(appearance.age_years))


def in_words(appearance: Appearance) -> str:
    """What is known of the person, for a message."""
    years = appearance.age_years
    age = None if years is None else f"about {years} years ({band_of(years).words})"
    return ", ".join(part for part in (appearance.sex, age) if part) or "nothing is known of sex and age"


def _notes(appearance: Appearance) -> tuple[Note, ...]:
    """What is not known of the person, where something is not."""
    match appearance.sex, appearance.age_years:
        case None, None:
            return (UNKNOWN,)
        case None, _:
            return (UNKNOWN_SEX,)
        case _, None:
            return (UNKNOWN_AGE,)
    return ()
