from __future__ import annotations

import pytest

from tests.unit.identity.prompt_check.some_prompts import Case, cases_of, checked

VERDICTS = {"ok": "OK", "face": "WARN", "conflict": "CONFLICT"}


@pytest.mark.parametrize(
    "case", cases_of("prompts.txt", "held_out.txt", "second_writer.txt"), ids=lambda case: ascii(case[2])[:60]
)
def test_the_verdict_is_the_one_written_before(case: Case) -> None:
    verdict, words, prompt = case
    assert checked(prompt, words).verdict == VERDICTS[verdict]
