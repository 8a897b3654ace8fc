"""What is known of the person, to hold against a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..record import Attributes
from .ages import band_of
from .lexicon import SEXES, Sex
from .reading import Mention


@dataclass(frozen=True, slots=True)
class Appearance:
    """The sex and the age of a person as networks guess them; None where none did."""

    sex: Sex | None
    age_years: int | None

    @classmethod
    def of(cls, attributes: Sequence[Attributes]) -> Appearance:
        """What most references say of the sex, none when they are split, and the (upper) median of their ages."""
        sexes = Counter(SEXES[one.sex] for one in attributes if one.sex)
        ages = sorted(one.age_years for one in attributes if one.age_years is not None)
        leading = [sex for sex, count in sexes.items() if count == max(sexes.values())]
        return cls(leading[0] if len(leading) == 1 else None, ages[len(ages) // 2] if ages else None)

    def fits(self, mention: Mention) -> bool:
        """Whether this person can be meant; what is not known or not said fits all."""
        if None not in (mention.sex, self.sex) and mention.sex != self.sex:
            return False
        return self.age_years is None or mention.ages.is_near(band_of(self.age_years))

    @property
    def words(self) -> str:
        """For a message."""
        age = None if self.age_years is None else f"about {self.age_years} years ({band_of(self.age_years).words})"
        return ", ".join(part for part in (self.sex, age) if part) or "nothing is known of sex and age"
