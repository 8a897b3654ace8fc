from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from wan_core.errors import InputError
from wan_core.vae.pixels import BAND_ROWS, require_finite, to_uint8


def decoded(frames: int, height: int, width: int) -> Tensor:
    """Frames as a decoder gives them, with the channels outermost in memory and some values out of range: f h w c."""
    return 1.2 * torch.linspace(-1, 1, 3 * frames * height * width).view(3, frames, height, width).permute(1, 2, 3, 0)


@pytest.mark.parametrize("height", [1, BAND_ROWS - 1, BAND_ROWS, BAND_ROWS + 1, 3 * BAND_ROWS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_frame_is_rounded_to_the_nearest_level(height: int, dtype: torch.dtype) -> None:
    (frame,) = decoded(1, height, 5).to(dtype)
    before = frame.clone()
    levels = to_uint8(frame)
    assert levels.dtype == torch.uint8 and levels.is_contiguous()
    exact = ((frame.double() + 1.0) * 127.5).clamp(0.0, 255.0)
    assert (levels.double() - exact).abs().max() <= 0.5 + 1e-4
    assert torch.equal(frame, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", [0, 1, 3])
def test_the_first_frame_that_is_not_finite_is_named(bad: float, index: int) -> None:
    frames = decoded(4, 6, 5)
    frames[index, 5, 4, 2] = bad
    frames[3, 0, 0, 0] = bad
    with pytest.raises(InputError, match=rf"vae: found NaN or infinite pixels in frame {8 + index} .counted from 0.;"):
        require_finite(frames, first=8)


def test_large_pixels_are_finite() -> None:
    require_finite(2e38 * decoded(4, 6, 5), first=0)
