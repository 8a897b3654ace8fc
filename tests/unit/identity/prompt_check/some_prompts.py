"""Prompts with the verdicts that were written before the check, and the person that each is held against."""

from __future__ import annotations

import re
from pathlib import Path

from wan_core.identity.prompt_check import Lexicon, PromptCheck, PromptCheckRequest, PromptMode, check_prompt
from wan_core.identity.record import Attributes

HERE = Path(__file__).parent
WORDS = Path(__file__).parents[4] / "wan_core" / "identity" / "prompt_check"
TEXTS = [(WORDS / f"words_{language}.txt").read_text(encoding="utf-8") for language in ("en", "zh")]
LEXICON = Lexicon.of(TEXTS)
Case = tuple[str, str, str]  # verdict, person, prompt


def cases_of(*names: str) -> list[Case]:
    lines = [line for name in names for line in (HERE / name).read_text(encoding="utf-8").splitlines()]
    return [tuple(line.split(" ", 2)) for line in lines if line and not line.startswith("#")]


def person(words: str) -> tuple[Attributes, ...]:
    """The measures of one reference: "f25", "?25", "f?" or "?"."""
    sex, age = re.fullmatch(r"([fm?])(\d*)\??", words).groups()
    sexes = {"f": "female", "m": "male", "?": None}
    return (Attributes(int(age) if age else None, sexes[sex], 0.0, 0.0, 0.0, 0.9, 200.0, 0.9),)


def checked(prompt: str, words: str, mode: PromptMode = "warn") -> PromptCheck:
    return check_prompt(PromptCheckRequest(prompt, person(words), mode), LEXICON)
