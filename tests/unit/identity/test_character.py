from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
import torch

from tests.unit.identity.some_characters import CARD, WHOLE, identity, unit
from tests.unit.identity.some_inputs import noise, refused
from tests.unit.identity.test_identity_record import told
from wan_core.identity.character import (
    MOST_PROSE_LETTERS,
    Card,
    Character,
    Consent,
    Voice,
    checked_day,
    name_key,
    reference_of,
)
from wan_core.identity.record import Attributes

UNSEEN = "nothing that can be seen"
PRINTED = "text that can be printed"
LONG = "a" * (MOST_PROSE_LETTERS + 1)
LONG_WORDS = f"{len(LONG)} letters"


@pytest.mark.parametrize(
    ("changes", "input_name", "found", "wanted"),
    [
        ({"name": ""}, "name", UNSEEN, "from 1 to 64 letters"),
        ({"name": " \u3000\n"}, "name", UNSEEN, "from 1 to 64 letters"),
        ({"name": "\u3164\u2800\uffa0\u115f"}, "name", UNSEEN, "from 1 to 64 letters"),
        ({"name": "\u0301\u200d\ufe0f"}, "name", UNSEEN, "from 1 to 64 letters"),
        ({"name": "a" * 65}, "name", "65 letters", "from 1 to 64 letters"),
        ({"name": 7}, "name", "7", "text"),
        ({"name": "a\ud800"}, "name", "'a\\ud800'", "text"),
        ({"name": "a\nb"}, "name", "the letter U+000A", PRINTED),
        ({"name": "a\0b"}, "name", "the letter U+0000", PRINTED),
        ({"name": "gpj\u202e.exe"}, "name", "the letter U+202E", PRINTED),
        ({"name": "a\u200bb"}, "name", "the letter U+200B", PRINTED),
        ({"notes": LONG}, "notes", LONG_WORDS, f"at most {MOST_PROSE_LETTERS} letters"),
        ({"notes": "a\u2066b"}, "notes", "the letter U+2066", PRINTED),
        ({"tags": ("a", "")}, "tags", UNSEEN, "from 1 to 32 letters"),
        ({"tags": tuple(map(str, range(33)))}, "tags", "33 tags", "at most 32"),
        ({"tags": ("a\tb",)}, "tags", "the letter U+0009", PRINTED),
        ({"id": "../../etc"}, "character", "'../../etc'", "a character's id"),
        ({"id": "A" * 32}, "character", f"'{'A' * 32}'", "a character's id"),
        ({"id": "a" * 32 + "\n"}, "character", f"'{'a' * 32}\\n'", "a character's id"),
        ({"revision": 0}, "revision", "0", f"a whole number from 1 to {2**53 - 1}"),
        ({"created": datetime(2026, 1, 1)}, "created", "another time zone", "UTC"),
        ({"created": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "created", "another time zone", "UTC"),
    ],
)
def test_a_card_that_cannot_be_read_cannot_be_made(
    changes: dict[str, Any], input_name: str, found: str, wanted: str
) -> None:
    with refused(input_name, found, wanted):
        replace(CARD, **changes)


def test_consent_is_text_and_a_day() -> None:
    with refused("consent_by", "201 letters", "at most 200 letters"):
        Consent("a" * 201)
    with refused("consent_scope", LONG_WORDS, f"at most {MOST_PROSE_LETTERS} letters"):
        Consent("a", LONG)
    with refused("consent_until", "a datetime", "a day"):
        Consent("a", "b", CARD.created)


@pytest.mark.parametrize(
    "text", ["2026-02-30", "20261231", "2026-W01-1", "31.12.2026", "\u0662026-01-01", "2026-1-1", "2026-01-01\n", 7]
)
def test_a_day_is_one_of_the_calendar(text: object) -> None:
    with pytest.raises(ValueError, match="wanted a day as YYYY-MM-DD, or nothing"):
        checked_day(text, name="consent_until")


def test_a_day_may_be_left_open() -> None:
    assert checked_day("", name="consent_until") is None
    assert checked_day("2028-02-29", name="consent_until") == date(2028, 2, 29)


def test_texts_are_kept_in_one_form() -> None:
    decomposed = unicodedata.normalize("NFD", "\u00c5sa\u3000\uac00")
    card = replace(CARD, name=f" {decomposed} ", notes="a\r\nb\rb\tc\u200dd", tags=("Hero", " hero", "b"))
    assert (card.name, card.notes, card.tags) == ("\u00c5sa\u3000\uac00", "a\nb\nb\tc\u200dd", ("Hero", "b"))


@pytest.mark.parametrize(
    ("first", "second", "are_same"),
    [
        ("Ann", "aNN", True),
        ("Stra\u00dfe", "STRASSE", True),
        ("\u00e9", "e\u0301", True),
        ("\u03b1\u0345\u0301", "\u03b1\u0301\u0345", True),  # marks whose order their lower case would keep
        ("\u0639\u0644\u06cc\u200c\u0631\u0636\u0627", "\u0639\u0644\u06cc\u0631\u0636\u0627", True),  # a joiner
        ("Ann", "Anna", False),
        ("\u5b89", "\u6848", False),
    ],
)
def test_names_are_compared_as_people_do(first: str, second: str, are_same: bool) -> None:
    assert (name_key(first) == name_key(second)) == are_same


SOUND = torch.zeros(1, 16_000)


@pytest.mark.parametrize(
    ("waveform", "rate_hz", "found", "wanted"),
    [
        (SOUND.double(), 16_000, "no waveform of channels and samples in fp32", "one"),
        (SOUND[0], 16_000, "no waveform of channels and samples in fp32", "one"),
        ("sound", 16_000, "no waveform of channels and samples in fp32", "one"),
        (torch.zeros(3, 100), 16_000, "3 channels", "1 to 2"),
        (torch.zeros(0, 100), 16_000, "0 channels", "1 to 2"),
        (torch.zeros(1, 0), 16_000, "0.0 s", "a sample of at most 60 s"),
        (torch.zeros(1, 60 * 8000 + 1), 8000, "60.0 s", "a sample of at most 60 s"),
        (SOUND * float("nan"), 16_000, "NaN or an infinity", "finite numbers"),
        (torch.zeros(2, 60 * 96_000), 96_000, "44 MiB of samples", "at most 24 MiB"),
        (SOUND, 7999, "a rate of 7999 Hz", "8000 to 192000 Hz"),
        (SOUND, 384_000, "a rate of 384000 Hz", "8000 to 192000 Hz"),
        (SOUND, 16_000.0, "a rate of 16000.0 Hz", "8000 to 192000 Hz"),
    ],
)
def test_a_voice_is_a_short_sound(waveform: Any, rate_hz: Any, found: str, wanted: str) -> None:
    with refused("voice", found, wanted):
        Voice(waveform, rate_hz, "")


def test_an_identity_that_cannot_be_kept_makes_no_character() -> None:
    many = identity(pictures=False)
    many = replace(many, embeddings=unit(17, 3))
    for changed, found, wanted in (
        (many, "17 vectors", "at most 16"),
        (replace(identity(), crops=noise(2, 112, 112, 3).half()), "a picture in torch.float16", "torch.float32"),
        (replace(identity(), portrait=noise(512, 512, 3) * 2), "a picture of other numbers", "numbers from 0 to 1"),
        (replace(identity(), portrait=noise(512, 512, 3) / 0), "a picture of other numbers", "numbers from 0 to 1"),
    ):
        with refused("identity", found, wanted):
            Character(CARD, changed)


def test_a_reference_is_the_id_and_the_start_of_the_content_hash() -> None:
    sha256 = WHOLE.identity.content_sha256
    assert WHOLE.reference == f"{CARD.id}@{sha256[:12]}" == reference_of(CARD.id, sha256)


@pytest.mark.parametrize("record", [Card, Consent, Voice, Character])
def test_what_the_host_keeps_of_a_character_holds_nothing_of_a_person(record: type) -> None:
    assert not told(record) & {torch.Tensor, Attributes}
    texts = (CARD.name, "Ann Example", "this film", "second", "hero", "Hello", "2027")
    assert [text for text in texts if text in repr(WHOLE)] == []
