"""The sex and the age of a person, of what was measured on all references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Literal

from .record import Attributes

Sex = Literal["female", "male"]
SEXES: Mapping[str, Sex] = {"female": "female", "male": "male"}


@dataclass(frozen=True, slots=True)
class Appearance:
    """What networks guess; None where none did."""

    sex: Sex | None = field(repr=False)
    age_years: int | None = field(repr=False)

    @classmethod
    def of(cls, attributes: Sequence[Attributes]) -> Appearance:
        """What most references say of the sex, None when they are split, and the lower median of their ages."""
        sexes = Counter(SEXES[one.sex] for one in attributes if one.sex)
        ages = [one.age_years for one in attributes if one.age_years is not None]
        leading = [sex for sex, count in sexes.items() if count == max(sexes.values())]
        return cls(leading[0] if len(leading) == 1 else None, median_low(ages) if ages else None)
