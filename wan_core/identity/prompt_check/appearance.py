"""What is known of the person, to hold against a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..record import Attributes, usual_age_years, usual_sex
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
        """What the references of an identity say together."""
        return cls(SEXES.get(usual_sex(attributes) or ""), usual_age_years(attributes))

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
