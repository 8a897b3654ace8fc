"""What conditioning brings and an expert cannot read is noted, and a picture that it misses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.moe.small_runs import PARAMS, TEXTS
from wan_core.moe import Conditions, ExpertParams
from wan_core.moe.conditions import PICTURE, on_conditions

ONE_PICTURE = (Conditions("positive", frozenset({PICTURE})), TEXTS[1])
ONE_OF_TWO = (*ONE_PICTURE[:1], TEXTS[0])  # as ConditioningCombine makes it
UNREAD = (
    "{0} cannot read {1}, which the conditioning brings; the video will not follow it; load the model that was made "
    "for it, or take it off"
)
EMPTY = (
    "{0} will see an empty picture, because there is none in {1} (concat_latent_image); give a start image to Wan "
    "Image To Video, or to the node that belongs to the model, or load the text-to-video model"
)
HIGH = "the high-noise expert"
BOTH = f"{HIGH} and the low-noise expert"


def given(conditions: tuple[Conditions, ...], *reads: str, cfg: float | None = 3.0) -> ExpertParams:
    return replace(PARAMS, conditions=conditions, reads=frozenset(reads), cfg=cfg)


@pytest.mark.parametrize(
    ("high", "low", "texts"),
    [
        (given(TEXTS), given(TEXTS), []),
        (given(ONE_PICTURE), given(TEXTS), [UNREAD.format(HIGH, "a start picture or control video ({0})")]),
        (given(ONE_PICTURE), given(ONE_PICTURE), [UNREAD.format(BOTH, "a start picture or control video ({0})")]),
        (given(TEXTS, PICTURE), given(TEXTS, PICTURE), [EMPTY.format(BOTH, "positive and negative")]),
        (given(ONE_PICTURE, PICTURE), given(ONE_PICTURE, PICTURE, cfg=1.0), [EMPTY.format(HIGH, "negative")]),
        (given(ONE_PICTURE, PICTURE, cfg=1.0), given(ONE_PICTURE, PICTURE, cfg=1.0), []),
        (given(ONE_OF_TWO, PICTURE), given(ONE_OF_TWO, PICTURE), [EMPTY.format(BOTH, "an entry of positive")]),
        (given(ONE_PICTURE[:1], PICTURE, cfg=None), given(ONE_PICTURE[:1], PICTURE), []),
    ],
)
def test_what_experts_cannot_read_and_a_picture_that_they_miss_are_noted(
    high: ExpertParams, low: ExpertParams, texts: list[str]
) -> None:
    assert [note.text for note in on_conditions(high, low)] == [text.format(PICTURE) for text in texts]
