"""Contact sheets: where each picture is, whole and in its own shape."""

from __future__ import annotations

import torch
from PIL import ImageColor

from wan_core.media.chart import BACKGROUND
from wan_core.media.sheet import CAPTION_PX, CELL_PX, FRAME_PX, GAP_PX, Cell, contact_sheet


def flat(height: int, width: int, *colour: float) -> torch.Tensor:
    return torch.tensor(colour).expand(height, width, 3)


def test_every_picture_is_in_its_cell_with_its_frame_and_captions_below() -> None:
    rows = [
        [Cell(flat(50, 50, 1, 0, 0), "one", "a", "#00ff00"), Cell(flat(40, 80, 0, 0, 1), "two", "b", "#00ff00")],
        [Cell(flat(300, 100, 0, 1, 1), "three", "c")],
    ]
    sheet = contact_sheet(rows)
    height, width = (GAP_PX + 2 * (side + GAP_PX) for side in (CELL_PX + CAPTION_PX, CELL_PX))
    assert sheet.shape == (1, height, width, 3)
    for row, column, colour, shape in (
        (0, 0, (1, 0, 0), (1, 1)),
        (0, 1, (0, 0, 1), (0.5, 1)),
        (1, 0, (0, 1, 1), (1, 1 / 3)),
    ):
        top, left = GAP_PX + row * (CELL_PX + CAPTION_PX + GAP_PX), GAP_PX + column * (CELL_PX + GAP_PX)
        cell = sheet[0, top : top + CELL_PX, left : left + CELL_PX]
        shown = (cell == torch.tensor(colour)).all(dim=-1)
        inner = CELL_PX - 2 * FRAME_PX
        assert [int(shown.any(dim=1).sum()), int(shown.any(dim=0).sum())] == [round(inner * share) for share in shape]
        middle = shown.nonzero().double().mean(dim=0)
        assert ((middle - (CELL_PX - 1) / 2).abs() <= 0.5).all()
        below = sheet[0, top + CELL_PX : top + CELL_PX + CAPTION_PX, left : left + CELL_PX]
        assert below.min() < 0.5  # letters
    assert sheet[0, GAP_PX, GAP_PX].tolist() == [0, 1, 0]
    empty = sheet[0, -CELL_PX:, -CELL_PX:]  # a row that is shorter
    assert torch.equal(empty, (torch.tensor(ImageColor.getrgb(BACKGROUND)) / 255).expand_as(empty))


def test_a_picture_of_one_pixel_has_a_place() -> None:
    assert contact_sheet([[Cell(torch.ones(1, 1, 3), "", "")]]).shape[0] == 1
    assert contact_sheet([[Cell(torch.ones(1, 4000, 3), "", "")]]).shape[0] == 1
