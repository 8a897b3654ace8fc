"""What is told about a character of the library, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from ..errors import quoted
from ..notes import Note, note_lines
from .character import Card, Character, Consent, Voice
from .record import Space


def describe_character(character: Character, today: date, *, asked_for: str) -> str:
    """The report of a character that a workflow asked for by this reference, on this day."""
    card, identity = character.card, character.identity
    lines = [
        f"name: {card.name}, revision {card.revision}, created {card.created.date()}",
        f"{_encoder_words(identity.space)}; references: {len(identity.attributes)}",
        f"voice: {_voice_words(character.voice)}",
        f"consent: {_consent_words(card.consent)}",
        *note_lines(character_notes(character, today, asked_for=asked_for)),
    ]
    return "\n".join(lines)


def character_notes(character: Character, today: date, *, asked_for: str) -> tuple[Note, ...]:
    """What is to be thought of before the character is used."""
    return (*_consent_notes(character.card, today), *_content_notes(character, asked_for))


def _consent_notes(card: Card, today: date) -> Iterator[Note]:
    consent = card.consent
    if not consent.by:
        yield Note("consent_not_recorded", "nobody is recorded who consents; write down who allowed what, until when.")
    if consent.until is not None and consent.until < today:
        yield Note("consent_ended", f"the consent ended on {consent.until}; ask again, or delete the character.")


def _content_notes(character: Character, asked_for: str) -> Iterator[Note]:
    _, _, pinned = asked_for.partition("@")
    if pinned and asked_for != character.reference:
        text = f"it was changed after the workflow picked it: {character.reference} is there now; pick it again."
        yield Note("content_changed", text)


def _encoder_words(space: Space | None) -> str:
    if space is None:
        return "no recogniser: the character has no vectors, and Stand-In can use it"
    return f"encoder: {space.name} ({space.family}), sha256 {space.sha256[:12]}"


def _voice_words(voice: Voice | None) -> str:
    if voice is None:
        return "none"
    transcript = "with its transcript" if voice.transcript else "without a transcript"
    return f"{voice.waveform.shape[1] / voice.rate_hz:.1f} s at {voice.rate_hz} Hz, {transcript}"


def _consent_words(consent: Consent) -> str:
    parts = {"by": consent.by, "for": consent.scope and quoted(consent.scope), "until": consent.until}
    return ", ".join(f"{word} {part}" for word, part in parts.items() if part) or "not recorded"
