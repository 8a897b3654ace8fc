"""Masks and frame weights as numbers for tokens, against loops over pixels and frames."""

from __future__ import annotations

import pytest
import torch

from wan_core.adapters.tokens import (
    Grid,
    latent_weights,
    parse_frame_weights,
    pixel_frames,
    token_mask,
    token_weights,
    without_excess,
)
from wan_core.errors import InputError

GRID, SIZE_PX = Grid(latents=3, rows=2, columns=4), (32, 64)  # 9 frames


def test_the_latent_frames_share_out_the_pixel_frames_one_then_four_each() -> None:
    assert [list(pixel_frames(latent)) for latent in range(3)] == [[0], [1, 2, 3, 4], [5, 6, 7, 8]]


def test_frame_weights_are_read() -> None:
    assert parse_frame_weights("") == ()
    assert parse_frame_weights(" 0 : 1 , 40:.5,80:2. ") == ((0, 1.0), (40, 0.5), (80, 2.0))


def test_a_latent_frame_has_the_mean_weight_of_its_pixel_frames() -> None:
    """The weight of a pixel frame is linear between keyframes and constant outside."""
    assert latent_weights(((4, 1.0), (8, 0.0)), 4) == [1.0, 1.0, (0.75 + 0.5 + 0.25 + 0.0) / 4, 0.0]


@pytest.mark.parametrize(("frames", "size_px"), [(1, SIZE_PX), (9, SIZE_PX), (1, (24, 56))])
def test_a_token_has_the_largest_mask_value_inside_it(frames: int, size_px: tuple[int, int]) -> None:
    """The last tokens of an odd size hold what is left of the mask."""
    mask = torch.rand(frames, *size_px, generator=torch.Generator().manual_seed(0))
    found = token_mask(mask, GRID, size_px)
    for latent in range(GRID.latents):
        shown = [0] if frames == 1 else list(pixel_frames(latent))
        for row in range(GRID.rows):
            for column in range(GRID.columns):
                inside = mask[shown, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                assert found[latent, row, column] == inside.max()


def test_a_mask_of_another_size_of_the_same_shape_is_taken() -> None:
    mask = torch.zeros(1, 320, 640)
    mask[:, :160, 480:] = 0.5
    wanted = torch.zeros(3, 2, 4)
    wanted[:, 0, 3] = 0.5
    assert torch.equal(token_mask(mask, GRID, SIZE_PX), wanted)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 32, 64), "mask: found 2 masks; wanted 1, or 9 as the video has frames"),
        ((1, 64, 64), "mask: found a mask of 64 x 64 px; wanted the shape of the video, 64 x 32 px"),
        ((1, 1, 2), "mask: found a mask of 2 x 1 px; wanted the shape of the video, 64 x 32 px"),
    ],
)
def test_a_mask_that_does_not_fit_the_video_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        token_mask(torch.ones(shape), GRID, SIZE_PX)
    assert message in str(caught.value)


def test_a_pixel_of_the_mask_counts_for_every_token_that_it_touches() -> None:
    mask = torch.zeros(1, 3, 6)  # a token is one and a half of its pixels wide and high
    mask[0, 1, 1] = 1.0
    wanted = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 2)
    assert torch.equal(token_mask(mask, GRID, SIZE_PX)[0], wanted)


def test_weights_are_mask_times_frame_weight_and_nothing_without_both() -> None:
    assert token_weights(None, (), GRID, SIZE_PX) is None
    mask = torch.full((1, 32, 64), 0.5)
    found = token_weights(mask, ((0, 1.0), (8, 0.0)), GRID, SIZE_PX)
    assert found is not None
    times = torch.tensor([1.0, (0.875 + 0.75 + 0.625 + 0.5) / 4, (0.375 + 0.25 + 0.125) / 4])
    torch.testing.assert_close(found, 0.5 * times[:, None, None].expand(3, 2, 4))


def test_masks_that_overlap_share_what_is_there() -> None:
    first, second = torch.tensor([1.0, 1.0, 0.5, 0.0]), torch.tensor([0.0, 1.0, 0.25, 0.0])
    one, none, two = without_excess([first, None, second])
    assert none is None
    assert torch.equal(one, torch.tensor([1.0, 0.5, 0.5, 0.0]))
    assert torch.equal(two, torch.tensor([0.0, 0.5, 0.25, 0.0]))
