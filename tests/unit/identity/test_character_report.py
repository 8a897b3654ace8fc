"""What a report says of a character, and what it reminds of."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from tests.unit.identity.some_characters import CARD, LEAST, WHOLE
from wan_core.identity.character import Consent, Voice
from wan_core.identity.character_report import character_notes, describe_character

LAST_DAY = date(2027, 12, 31)
NEXT_DAY = LAST_DAY + timedelta(days=1)


def codes(consent: Consent, today: date, asked_for: str) -> list[str]:
    character = replace(WHOLE, card=replace(CARD, consent=consent))
    return [note.code for note in character_notes(character, today, asked_for=asked_for)]


@pytest.mark.parametrize(
    ("consent", "today", "found"),
    [
        (Consent("Ann", "", LAST_DAY), LAST_DAY, []),
        (Consent("Ann", "", LAST_DAY), NEXT_DAY, ["consent_ended"]),
        (Consent("Ann", "this film", None), NEXT_DAY, []),
        (Consent("", "this film", LAST_DAY), LAST_DAY, ["consent_not_recorded"]),
        (Consent("", "", LAST_DAY), NEXT_DAY, ["consent_not_recorded", "consent_ended"]),
    ],
)
def test_a_consent_lasts_to_the_end_of_its_last_day(consent: Consent, today: date, found: list[str]) -> None:
    assert codes(consent, today, CARD.id) == found


@pytest.mark.parametrize(
    ("asked_for", "found"),
    [(CARD.id, []), (WHOLE.reference, []), (f"{CARD.id}@{'0' * 12}", ["content_changed"])],
)
def test_another_content_than_the_workflow_picked_is_told(asked_for: str, found: list[str]) -> None:
    assert codes(CARD.consent, LAST_DAY, asked_for) == found


def test_the_report_tells_what_there_is_and_what_there_is_not() -> None:
    assert describe_character(WHOLE, LAST_DAY, asked_for=CARD.id).splitlines() == [
        "name: Ann \u5b89, revision 3, created 2026-11-26",
        f"encoder: encoder.safetensors (IR-SE), sha256 {'ab' * 6}; references: 2",
        "voice: 0.1 s at 48000 Hz, with its transcript",
        "consent: by Ann Example, for 'this film', until 2027-12-31",
    ]
    silent = Voice(WHOLE.voice.waveform, 48_000, "")
    assert "without a transcript" in describe_character(replace(WHOLE, voice=silent), LAST_DAY, asked_for=CARD.id)
    assert describe_character(LEAST, LAST_DAY, asked_for=CARD.id).splitlines() == [
        "name: B, revision 1, created 2026-11-26",
        "no recogniser: the character has no vectors, and Stand-In can use it; references: 0",
        "voice: none",
        "consent: not recorded",
        "note: nobody is recorded who consents; write down who allowed what, until when.",
    ]
