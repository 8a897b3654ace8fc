"""Ages in words and numbers, as bands: child under 13, teen to 19, young to 39, middle to 59, old."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

BANDS = ("child", "teen", "young", "middle", "old")
BAND_STARTS_YEARS = (0, 13, 20, 40, 60)
TOLERANCE = 1  # bands: a network guesses an age to several years


@dataclass(frozen=True, slots=True)
class AgeSpan:
    """From one band to another, both in."""

    first: int  # index into BANDS
    last: int

    def is_near(self, other: AgeSpan) -> bool:
        """Whether the two have a band in common, or bands that a guess may take for each other."""
        return self.first - TOLERANCE <= other.last and other.first <= self.last + TOLERANCE

    def narrowed_by(self, other: AgeSpan) -> AgeSpan:
        """What both say; where they contradict each other, what ``other`` says."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return AgeSpan(first, last) if first <= last else other

    @property
    def words(self) -> str:
        """For a message: "young", "young to old"."""
        return " to ".join(dict.fromkeys((BANDS[self.first], BANDS[self.last])))


ANY_AGE = AgeSpan(0, len(BANDS) - 1)


def band_of(age_years: int) -> AgeSpan:
    """The band of an age."""
    band = sum(start <= age_years for start in BAND_STARTS_YEARS) - 1
    return AgeSpan(band, band)


def span_of_names(names: str) -> AgeSpan:
    """The span of ``young`` or ``young-old``; raises ValueError for other names."""
    bands = [BANDS.index(name) for name in names.split("-")]
    return AgeSpan(bands[0], bands[-1])


# Ages in numbers

UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
DECADES = ["twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties"]
CHINESE_DIGITS = "\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"  # one to nine
CHINESE_TWO, TEN, HUNDRED = "\u4e24", "\u5341", "\u767e"
ODD, YEARS_OF_AGE, OF = "[\u591a\u51e0\u6765\u4f59]", "\u5c81", "\u7684"  # odd: thirty and some
VALUES: Mapping[str, int] = {
    **{word: value for value, word in enumerate((*UNITS, *TEENS), start=1)},
    **{word: 10 * value for words in (TENS, DECADES) for value, word in enumerate(words, start=2)},
    **{digit: value for value, digit in enumerate(CHINESE_DIGITS, start=1)},
    CHINESE_TWO: 2,
}

_WORDS = rf"(?:(?:{'|'.join(TENS)})(?:[\s-](?:{'|'.join(UNITS)}))?|{'|'.join((*TEENS, *UNITS))})"
_VALUE = rf"(?<![A-Za-z0-9])(?:\d{{1,3}}|{_WORDS})"
_DECADE = rf"(?:his|her|their|the)\s(?:early\s|mid[\s-]|late\s)?(?:{'|'.join(DECADES)}|[2-9]0'?s)"
_CHINESE = rf"(?:\d{{1,3}}|[{CHINESE_DIGITS}{CHINESE_TWO}{TEN}{HUNDRED}]{{1,4}}){ODD}?{YEARS_OF_AGE}"
# An age that a noun follows, a number that only "is" makes an age, and an age anywhere behind its person:
# "a 30-year-old woman", "she is 30", "a woman on a horse, aged 30".
AGE_IN_NUMBERS = (
    rf"(?P<number_before>{_VALUE}[\s-]?year[\s-]?old(?![a-z])|{_CHINESE}{OF})|"
    r"(?P<number_said>(?<=\bis\s)\d{1,2}(?=[.,;!?]|$|\sand\s))|"
    rf"(?P<number>{_VALUE}\s?(?:years|yrs?)[\s-]old(?![a-z])|{_VALUE}\s?y/?o(?![a-z])|\baged?\s{_VALUE}(?![a-z])"
    rf"|\bin\s{_DECADE}(?![a-z])|{_CHINESE})"
)


def age_in(text: str) -> int:
    """The years that a match of AGE_IN_NUMBERS says: a decade is its first year."""
    if digits := re.search(r"\d+", text):
        return int(digits[0])
    years = sum(VALUES.get(word, 0) for word in re.findall("[a-z]+", text.lower()))
    digit = 0
    for letter in text:
        if letter in (TEN, HUNDRED):
            years, digit = years + (digit or 1) * (10 if letter == TEN else 100), 0
        else:
            digit = VALUES.get(letter, digit)
    return years + digit
