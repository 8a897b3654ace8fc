from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from tests.unit.identity.prompt_check.some_prompts import LEXICON, TEXTS, checked, person
from tests.unit.identity.some_inputs import refused
from wan_core.errors import InputError
from wan_core.identity.prompt_check import Lexicon, PromptCheckRequest, check_prompt, describe
from wan_core.identity.prompt_check.ages import BANDS, band_of
from wan_core.identity.prompt_check.checking import LONGEST_PROMPT
from wan_core.identity.prompt_check.reading import read


def test_the_report_names_the_words_and_their_places() -> None:
    assert describe(checked("At dusk an old man with blue eyes.", "f25")).splitlines() == [
        "CONFLICT: nobody in the prompt can be the identity (female, about 25 years (young))",
        "says 'old' (12-14) 'man' (16-18): male, old",
        "describes the face: 'blue' (25-28) 'eyes' (30-33); say only \"a man\" or \"a woman\"",
    ]
    assert describe(checked("A woman, blonde, waits.", "f25")).splitlines() == [
        "WARN: the prompt describes the face, which the portrait decides",
        'describes the face: \'blonde\' (10-15); say only "a man" or "a woman"',
    ]
    assert describe(checked("A woman waits.", "f25")) == (
        "OK: nothing in the prompt speaks against the identity (female, about 25 years (young))"
    )


@pytest.mark.parametrize(
    ("prompt", "people"),
    [
        ("She has a child on her arm.", ["She: female", "child: None"]),
        ("A child and her mother.", ["child her: female", "mother: female"]),
        ("A man greets a doctor; his coat is wet, she nods.", ["man: male", "doctor she: female"]),
        ("An old man sits. The man smiles at a man.", ["old man: male", "man: male"]),
        ("A female doctor, 60 years old, and a boy.", ["female doctor 60 years old: female", "boy: male"]),
        ("He walks. He smiles.", ["He: male"]),
        ("The woman is 25. A man waits, the score is 70.", ["woman 25: female", "man: male"]),
        ("She is 70 and smiles at a man aged 30.", ["She 70: female", "man aged 30: male"]),
        ("1girl, solo, 2boys in the background", ["1girl: female", "2boys: male"]),
    ],
)
def test_a_pronoun_an_age_and_a_second_name_belong_to_one_person(prompt: str, people: list[str]) -> None:
    mentions = read(prompt, LEXICON).mentions
    assert [f"{' '.join(word.text for word in one.words)}: {one.sex}" for one in mentions] == people


@pytest.mark.parametrize(("about", "code"), [("?", "unknown_person"), ("?25", "unknown_sex"), ("f?", "unknown_age")])
def test_what_is_not_known_is_said_and_nothing_is_claimed_of_it(about: str, code: str) -> None:
    for prompt in ("A man.", "A woman.", "Two girls."):
        result = checked(prompt, about)
        assert [note.code for note in result.notes] == [code]
        assert result.ok == ((about, prompt) != ("f?", "A man."))
        assert describe(result).splitlines()[-1] == f"note: {result.notes[0].text}"
    assert checked("A man.", "f25").notes == ()


def test_a_conflict_stops_the_run_in_one_mode_alone() -> None:
    words = "words that fit the identity: male, about 30 years (young)"
    with refused("prompt", "'woman' (3-7), 'little girl' (15-25)", words):
        checked("A woman and a little girl.", "m30", "refuse")
    assert not checked("A woman and a little girl.", "m30", "warn").ok
    assert checked("A blonde man.", "m30", "refuse").verdict == "WARN"
    off = checked("A blonde woman.", "m30", "off")
    assert (off.ok, off.verdict, describe(off)) == (True, "OFF", "OFF: nothing was checked")


def test_several_references_speak_with_most_and_the_middle() -> None:
    about = [person(words)[0] for words in ("f20", "f70", "m?", "?22")]
    seen = [check_prompt(PromptCheckRequest("", about[:count], "warn"), LEXICON).appearance for count in (0, 2, 3, 4)]
    assert [(one.sex, one.age_years) for one in seen] == [(None, None), ("female", 20), ("female", 20), ("female", 22)]
    split = PromptCheckRequest("A man and a dog.", [about[0], replace(about[0], sex="male")], "warn")
    assert check_prompt(split, LEXICON).ok


def test_a_message_is_short_whatever_the_prompt() -> None:
    for prompt in ("old " * 2400 + "woman", "woman " * 1600, "woman. " * 1400, "blue eyes. " * 900):
        assert len(describe(checked(prompt, "m25"))) < 2000
    assert describe(checked("woman. " * 1400, "m25")).endswith("and 1392 more people")
    with pytest.raises(InputError) as caught:
        checked("woman. " * 1400, "m25", "refuse")
    assert caught.value.found.endswith("'woman' (50-54), and 1392 more")


def test_a_prompt_that_is_none_is_refused() -> None:
    for prompt, found in ((7, "7"), ("\ud800", r"'\ud800'")):
        with refused("prompt", found, "text"):
            PromptCheckRequest(prompt, (), "warn")
    with refused("prompt", "10001 characters", "at most 10000"):
        PromptCheckRequest("a" * (LONGEST_PROMPT + 1), (), "warn")
    with refused("mode", "'stop'", "one of warn, refuse, off"):
        PromptCheckRequest("", (), "stop")


def test_bands_are_those_that_the_report_names() -> None:
    ages = {0: "child", 12: "child", 13: "teen", 19: "teen", 20: "young", 39: "young", 40: "middle", 59: "middle"}
    assert {age: band_of(age).words for age in (*ages, 60, 120)} == ages | {60: "old", 120: "old"}
    for person_band, years in enumerate((8, 16, 30, 50, 70)):
        for said_band, said_years in enumerate((8, 16, 30, 50, 70)):
            result = checked(f"Somebody aged {said_years}.", f"?{years}")
            assert result.ok == (abs(person_band - said_band) <= 1), (BANDS[person_band], BANDS[said_band])


def in_chinese(number: int) -> str:
    """A number below 100 in Chinese digits."""
    tens, ones = divmod(number, 10)
    digits = "\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d"
    return (digits[tens] if tens > 1 else "") + ("\u5341" if tens else "") + (digits[ones] if ones or not tens else "")


ENGLISH = {1: "one", 8: "eight", 14: "fourteen", 20: "twenty", 33: "thirty-three", 59: "fifty nine", 90: "ninety"}


@pytest.mark.parametrize("number", range(1, 100))
def test_an_age_in_any_form_is_its_number(number: int) -> None:
    forms = ["a {}-year-old person", "{} years old", "a person aged {}", "{} y/o person", "a person, {} yrs old."]
    forms = [form.format(word) for form in forms for word in {str(number), ENGLISH.get(number, str(number))}]
    forms += [f"{word}\u5c81{of}" for word in (number, in_chinese(number)) for of in ("", "\u7684\u533b\u751f")]
    for form in forms:
        (age,) = (word for word in LEXICON.find(form) if word.term.role.startswith("number"))
        assert age.term.ages == band_of(number), form


def test_a_word_of_a_decade_is_its_first_year() -> None:
    for form in ("a person in her early thirties", "in his 30s", "\u4e09\u5341\u591a\u5c81"):
        (age,) = (word for word in LEXICON.find(form) if word.term.role == "number")
        assert age.term.ages == band_of(30)
    assert [word.term.role for word in LEXICON.find("a 300-year-old person")] == ["article", "harmless", "person"]


def test_every_word_is_there_once_and_has_a_role_that_is_read() -> None:
    roles = {"person", "pronoun", "age", "void", "lack", "article", "same", "joint", "thing", "body", "face", "part"}
    assert {term.role for term in LEXICON.terms.values()} == roles | {"look", "harmless"}
    words = [
        word.strip() for text in TEXTS for line in text.replace("\n ", " ").splitlines() for word in words_of(line)
    ]
    assert sorted(words) == sorted(set(words))
    for damaged in ("person woman", "person femal: woman", "person young-elderly: woman"):
        with pytest.raises(ValueError):
            Lexicon.of([damaged])


def words_of(line: str) -> list[str]:
    return [] if line.startswith("#") or not line else line.split(":")[1].split(",")


def test_any_text_is_read_in_good_time_and_its_words_are_where_the_report_says() -> None:
    chance = random.Random(3)
    pieces = [
        *LEXICON.terms,
        "30-year-old",
        "aged 7",
        "\u5341\u5c81",
        "'s",
        "\u2019s",
        ",",
        ".",
        " ",
        "-",
        "\n",
        "\U0001f600",
        "x",
    ]
    for _ in range(300):
        prompt = chance.choice(["", " "]).join(chance.choices(pieces, k=chance.randrange(60)))
        result = checked(prompt, chance.choice(["f25", "m70", "?"]))
        for group in (*(mention.words for mention in result.conflicts), *result.descriptions):
            assert all(prompt[word.start : word.end] == word.text for word in group)
    for piece in (
        "man ",
        "man's ",
        "man aged 30 ",
        "she he ",
        "not ",
        "old man. ",
        "\u4e09\u5341\u5c81",
        "\u7537",
        "'",
    ):
        started = time.perf_counter()
        prompt = (piece * LONGEST_PROMPT)[:LONGEST_PROMPT]
        try:
            checked(prompt, "f25", "refuse")
        except InputError as error:
            assert len(str(error)) < 3000
        assert time.perf_counter() - started < 2.0, piece
