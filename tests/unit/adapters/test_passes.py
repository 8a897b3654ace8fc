"""Where the video, a portrait and a model's references lie among the tokens of one pass."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from wan_core.adapters.passes import RunFacts, VideoTokens, latents_before, require_whole_picture
from wan_core.adapters.stand_in import StandInTerm, corner_of, portraits_between
from wan_core.adapters.tokens import Grid
from wan_core.adapters.wan import OF_SCAIL
from wan_core.errors import InputError

GRID = Grid(latents=3, rows=4, columns=6)
VIDEO = VideoTokens(GRID, GRID, (64, 96), before=0)


@pytest.mark.parametrize(
    ("rope", "corner"),
    [
        (None, (-1, 4, 6)),
        ({"scale_y": 2.0, "scale_x": 2.0}, (-1, 7, 11)),
        ({"shift_t": 3.0, "shift_y": 1.0, "shift_x": -2.0, "scale_t": 4.0}, (2, 5, 4)),
    ],
)
def test_portraits_begin_behind_the_last_position_of_the_video(
    rope: dict[str, float] | None, corner: tuple[float, ...]
) -> None:
    """Rows 0 to 3 and columns 0 to 5, stretched and shifted as the host does it."""
    assert corner_of(VIDEO, {"rope_options": rope} if rope else {}) == corner


def test_portraits_lie_diagonally_one_after_another_and_masked_ones_behind_those_that_act_everywhere() -> None:
    assert portraits_between([False, True, False, True, False]) == [2, 0, 2, 1, 2]
    portrait = StandInTerm(None, torch.zeros(1, 16, 1, 5, 10), expert=None)  # 3 x 5 tokens
    third = SimpleNamespace(corner=(-1, 4, 6), portraits_between=2)
    assert portrait.first_position(third) == (-1, 4 + 2 * 3, 6 + 2 * 5)


@pytest.mark.parametrize(
    ("parts", "reference", "frames"),
    [
        ({"ref_conv": None}, None, 0),
        ({"ref_conv": None}, (1, 16, 2, 4, 4), 0),  # S2V and HuMo put it behind the video
        ({"ref_conv": object()}, None, 0),
        ({"ref_conv": object()}, (1, 16, 4, 4), 1),
        ({"ref_conv": None, OF_SCAIL: object()}, None, 0),
        ({"ref_conv": None, OF_SCAIL: object()}, (1, 20, 1, 4, 4), 1),
        ({"ref_conv": None, OF_SCAIL: object()}, (1, 20, 3, 4, 4), 3),
    ],
)
def test_references_in_front_of_the_video_are_counted(
    parts: dict[str, Any], reference: tuple[int, ...] | None, frames: int
) -> None:
    extra = {} if reference is None else {"reference_latent": torch.zeros(reference)}
    assert latents_before(SimpleNamespace(**parts), extra) == frames


class Window:
    """A context window of the host."""

    total_frames = 5


@pytest.mark.parametrize(
    ("shape", "window", "is_whole"),
    [
        ((5, 4, 6), None, True),
        ((3, 4, 6), Window(), True),
        ((3, 4, 6), None, False),
        ((5, 4, 3), None, False),
        ((3, 2, 6), Window(), False),
    ],
)
def test_a_part_of_the_picture_or_of_the_time_is_told_from_a_context_window(
    shape: tuple[int, ...], window: Window | None, is_whole: bool
) -> None:
    facts = RunFacts(frozenset(), lambda: "weights", lambda percent: 1.0 - percent, (5, 4, 6))
    options = {"context_window": window} if window else {}
    if is_whole:
        require_whole_picture(torch.ones(1, 16, *shape), facts, options)
        return
    with pytest.raises(InputError, match="found a prompt for an area of the video; wanted prompts for the whole of it"):
        require_whole_picture(torch.ones(1, 16, *shape), facts, options)
