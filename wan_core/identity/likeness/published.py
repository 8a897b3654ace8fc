"""A score of a published protocol, and ours beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """One number as the script of a protocol gives it, and the corrected one."""

    protocol: str  # detector, recogniser, sampling, clamp and skip rules: numbers compare only where it is the same
    published: float  # what the script gives
    corrected: float | None  # with what the script leaves out, without what it makes up; None: nothing was measured


@dataclass(frozen=True, slots=True)
class Instruments:
    """The networks that a score was measured with."""

    detector: str
    recognisers: tuple[str, ...]

    def protocol(self, measure: str, rules: str, published: Instruments) -> str:
        """The protocol in words: under the measure's own name only with the networks that it was published with."""
        name = measure if self == published else f"not {measure}, but by its rules with other networks"
        return f"{name}: {rules}; {self.detector}; {', '.join(self.recognisers)}"
