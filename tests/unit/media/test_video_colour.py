from __future__ import annotations

import re
from pathlib import Path

import av
import numpy
import pytest

from tests.unit.media.films import CHART, chart, film, first_picture, noise, patch_colours
from wan_core.errors import InputError
from wan_core.media.colour import rgb_pixels
from wan_core.media.source import VideoSource

COLOURS = numpy.array(CHART).reshape(4, 6, 3)
BT709, LIMITED, RGB, FULL = 1, 1, 0, 2  # code points of H.273


def error(shown: numpy.ndarray) -> numpy.ndarray:
    return numpy.abs(numpy.round(shown) - COLOURS)


@pytest.mark.parametrize(("codec", "quality"), [("h264", 0), ("h264", 10), ("hevc", 5), ("av1", 5), ("prores", 18)])
def test_every_colour_of_the_chart_comes_back_as_bt709_which_the_file_names(
    tmp_path: Path, codec: str, quality: int
) -> None:
    path = film(tmp_path, [chart()] * 3, codec=codec, quality=quality)
    picture = first_picture(path)
    found = error(patch_colours(picture))
    assert found.max() <= 2
    assert found.mean() <= 0.5
    assert (picture.colorspace, picture.color_range) == (BT709, LIMITED)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (BT709, BT709, BT709)
    with VideoSource(str(path)) as video:
        shown = [error(frame[8::16, 8::16].astype(float)).max() for frame in video]
    assert len(shown) == 3
    assert max(shown) <= 2


def test_the_measurement_sees_the_other_matrix() -> None:
    plain = av.VideoFrame.from_ndarray(chart(), format="rgb24").reformat(format="yuv420p")  # BT.601, FFmpeg's default
    assert error(patch_colours(plain)).max() > 20


def test_ffv1_gives_back_every_bit(tmp_path: Path) -> None:
    frames = [*noise(5, 63, 47), *noise(5, 63, 47)[::-1]]  # an odd size: only the other codecs need an even one
    path = film(tmp_path, frames, codec="ffv1")
    with VideoSource(str(path)) as video:
        assert all((found == frame).all() for found, frame in zip(video, frames, strict=True))
    picture = first_picture(path)
    assert (picture.format.name, picture.colorspace, picture.color_range) == ("bgr0", RGB, FULL)


def test_the_reader_makes_nothing_darker() -> None:
    picture = av.VideoFrame.from_ndarray(chart(), format="rgb24")
    picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    picture.colorspace, picture.color_range = BT709, LIMITED
    exact = numpy.round(patch_colours(picture))
    shown = rgb_pixels(picture)[8::16, 8::16]
    assert abs(float((shown - exact).mean())) < 0.2


SHARES = {  # of red and blue in the brightness, by the code points that have a matrix of this kind (H.273, table 4)
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


def coded(pixels: numpy.ndarray, shares: tuple[float, float], *, full: bool) -> av.VideoFrame:
    """RGB (h w 3) as an untagged picture of brightness and colour, by the formulas of H.273."""
    red, green, blue = numpy.moveaxis(pixels / 255, -1, 0)
    red_share, blue_share = shares
    luma = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    chroma = [(colour - luma) / (1 - share) / 2 for colour, share in ((blue, blue_share), (red, red_share))]
    luma_range, lowest, chroma_range = (255, 0, 255) if full else (219, 16, 224)
    planes = [luma_range * luma + lowest, *(chroma_range * colour + 128 for colour in chroma)]
    stacked = numpy.stack(planes).round().clip(0, 255).astype(numpy.uint8)  # 3 h w
    return av.VideoFrame.from_ndarray(stacked, format="yuv444p", channel_last=False)


@pytest.mark.parametrize("code", SHARES)
@pytest.mark.parametrize("range_code", [0, LIMITED, FULL])
def test_the_reader_follows_the_tags(code: int, range_code: int) -> None:
    """A picture that does not say how far its levels go is in limited range."""
    picture = coded(chart(), SHARES[code], full=range_code == FULL)
    picture.colorspace, picture.color_range = code, range_code
    assert numpy.abs(rgb_pixels(picture).astype(int) - chart()).max() <= 3


@pytest.mark.parametrize(
    ("width", "height", "meant"),
    [(832, 480, 6), (720, 576, 6), (1278, 576, 6), (480, 832, 1), (704, 578, 1), (1280, 544, 1), (1280, 704, 1)],
)
@pytest.mark.parametrize("code", [RGB, 2, 3])
def test_a_picture_that_names_no_matrix_is_taken_for_what_players_take_it_for(
    code: int, width: int, height: int, meant: int
) -> None:
    pixels = numpy.empty((height, width, 3), dtype=numpy.uint8)
    pixels[:] = 200, 30, 60  # 20 levels apart by the two matrices
    picture = coded(pixels, SHARES[meant], full=False)
    picture.colorspace = code
    assert numpy.abs(rgb_pixels(picture).astype(int) - pixels).max() <= 3


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (8, "YCgCo"),
        (10, "BT.2020 with constant luminance"),
        (11, "Y'D'zD'x"),
        (12, "chromaticity-derived"),
        (13, "chromaticity-derived with constant luminance"),
        (14, "ICtCp"),
        (15, "IPT-C2"),
        (99, "without a name"),
    ],
)
def test_a_matrix_that_can_not_be_read_is_said(code: int, name: str) -> None:
    picture = coded(chart(), SHARES[1], full=False)
    picture.colorspace = code
    message = f"frames: found colours by the matrix {name} (H.273 number {code}); wanted those of BT.709, BT.601"
    with pytest.raises(InputError, match=re.escape(message)):
        rgb_pixels(picture)
