from __future__ import annotations

from pathlib import Path

import av
import numpy
import pytest

from tests.unit.media.films import CHART, chart, film, first_picture, noise, patch_colours
from wan_core.media.colour import rgb_pixels
from wan_core.media.source import VideoSource

COLOURS = numpy.array(CHART).reshape(4, 6, 3)
BT709, LIMITED, RGB, FULL = 1, 1, 0, 2  # code points of H.273


def error(shown: numpy.ndarray) -> numpy.ndarray:
    return numpy.abs(numpy.round(shown) - COLOURS)


@pytest.mark.parametrize(("codec", "quality"), [("h264", 0), ("h264", 10), ("hevc", 5), ("av1", 5), ("prores", 18)])
def test_every_colour_of_the_chart_comes_back_as_bt709(tmp_path: Path, codec: str, quality: int) -> None:
    found = error(patch_colours(first_picture(film(tmp_path, [chart()] * 3, codec=codec, quality=quality))))
    assert found.max() <= 2
    assert found.mean() <= 0.5


def test_the_measurement_sees_the_other_matrix() -> None:
    plain = av.VideoFrame.from_ndarray(chart(), format="rgb24").reformat(format="yuv420p")  # BT.601, FFmpeg's default
    assert error(patch_colours(plain)).max() > 20


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "prores"])
def test_the_file_names_its_colours(tmp_path: Path, codec: str) -> None:
    path = film(tmp_path, noise(3), codec=codec)
    picture = first_picture(path)
    assert (picture.colorspace, picture.color_range) == (BT709, LIMITED)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (BT709, BT709, BT709)


def test_ffv1_gives_back_every_bit(tmp_path: Path) -> None:
    frames = [*noise(5, 63, 47), *noise(5, 63, 47)[::-1]]  # an odd size: only the other codecs need an even one
    path = film(tmp_path, frames, codec="ffv1")
    with VideoSource(str(path)) as video:
        assert all((found == frame).all() for found, frame in zip(video, frames, strict=True))
    picture = first_picture(path)
    assert (picture.format.name, picture.colorspace, picture.color_range) == ("bgr0", RGB, FULL)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "prores", "ffv1"])
def test_the_reader_shows_the_chart(tmp_path: Path, codec: str) -> None:
    with VideoSource(str(film(tmp_path, [chart()] * 2, codec=codec, quality=5))) as video:
        shown = list(video)
    assert len(shown) == 2
    assert error(shown[0][8::16, 8::16].astype(float)).max() <= 2


def test_the_reader_makes_nothing_darker() -> None:
    picture = av.VideoFrame.from_ndarray(chart(), format="rgb24")
    picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
    picture.colorspace, picture.color_range = BT709, LIMITED
    exact = numpy.round(patch_colours(picture))
    shown = rgb_pixels(picture)[8::16, 8::16]
    assert abs(float((shown - exact).mean())) < 0.2


@pytest.mark.parametrize(("matrix", "code", "lines"), [("ITU601", 5, 64), ("ITU601", 2, 64), ("ITU709", 2, 736)])
@pytest.mark.parametrize(("range_name", "range_code"), [("MPEG", 1), ("JPEG", 2)])
def test_the_reader_follows_the_tags(matrix: str, code: int, lines: int, range_name: str, range_code: int) -> None:
    pixels = chart(lines // 4)
    picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    picture = picture.reformat(format="yuv444p", dst_colorspace=matrix, dst_color_range=range_name)
    picture.colorspace, picture.color_range = code, range_code
    assert numpy.abs(rgb_pixels(picture).astype(int) - pixels).max() <= 3
