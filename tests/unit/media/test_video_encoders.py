from __future__ import annotations

import os
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.unit.media.films import film, noise, packets
from wan_core.errors import InputError
from wan_core.media import encoders
from wan_core.media.encoders import CODECS, Candidate, VideoEncoder, VideoFormat, configure, encoder_for

USUAL = {"codec": "h264", "quality": 18, "encoder": "software", "width": 64, "height": 48, "fps": Fraction(16)}


def choose(**changes: object) -> VideoEncoder:
    asked = {**USUAL, **changes}
    format = VideoFormat(asked["codec"], asked["quality"], asked["encoder"])
    return encoder_for(format, asked["width"], asked["height"], asked["fps"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec": "vp9"}, "codec: found 'vp9'; wanted one of h264, hevc, av1, prores, ffv1."),
        ({"encoder": "gpu"}, "encoder: found 'gpu'; wanted one of software, hardware."),
        ({"quality": 52}, "quality: found 52; wanted a whole number from 0 (best) to 51."),
        ({"quality": -1}, "quality: found -1; wanted a whole number from 0 (best) to 51."),
        ({"width": 63}, "size: found 63 x 48; wanted an even width and height for h264"),
        ({"height": 47, "codec": "hevc"}, "size: found 64 x 47; wanted an even width and height for hevc"),
        ({"height": 47, "codec": "av1"}, "size: found 64 x 47; wanted an even width and height for av1"),
        ({"width": 63, "codec": "prores"}, "size: found 63 x 48; wanted an even width"),
        ({"width": 0}, "size: found 0 x 48; wanted at least one pixel."),
        ({"width": 4098}, "size: found 4098 x 48; wanted at most 4096 pixels a side for h264. Use the codec hevc"),
        ({"fps": Fraction(0)}, "fps: found 0; wanted a rate above 0"),
        ({"fps": Fraction(-24)}, "fps: found -24; wanted a rate above 0"),
        ({"fps": Fraction(23.976)}, "wanted a rate above 0, as a fraction of 32-bit numbers. Use 16, 24 or 24000/1001"),
    ],
)
def test_what_cannot_be_encoded_is_said_first(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        choose(**changes)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(("width", "height"), [(64, 48), (320, 180)])
def test_every_codec_has_a_software_encoder_that_works(codec: str, width: int, height: int) -> None:
    found = choose(codec=codec, width=width, height=height)
    assert (found.codec, found.width, found.height) == (codec, width, height)
    assert found.summary == f"{found.name}: {codec} in {found.container}, {width} x {height}"


def test_prores_takes_an_odd_height_and_ffv1_any_size(tmp_path: Path) -> None:
    assert film(tmp_path, noise(2, 64, 47), codec="prores").stat().st_size > 0
    assert film(tmp_path, noise(2, 5, 3), codec="ffv1").stat().st_size > 0


@pytest.mark.parametrize(("quality", "crf"), [(0, "1"), (18, "22"), (51, "63")])
def test_quality_goes_to_the_same_place_on_the_scale_of_av1_whose_0_means_none(quality: int, crf: str) -> None:
    assert dict(choose(codec="av1", quality=quality).options)["crf"] == crf


@pytest.fixture
def broken_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardware encoders that are missing, that do not open and that do not know their option."""
    broken = (
        Candidate("h264_missing", "yuv420p", lambda quality: {}),
        Candidate("libx264", "yuv420p", lambda quality: {"crf": "not a number"}),
        Candidate("libx264", "yuv420p", lambda quality: {"cq": "18"}),
    )
    monkeypatch.setattr(encoders, "HARDWARE", {"h264": broken})


@pytest.mark.usefixtures("broken_hardware")
def test_hardware_that_does_not_work_gives_way_to_software_and_that_is_said() -> None:
    found = choose(encoder="hardware")
    assert (found.name, dict(found.options)) == ("libx264", {"preset": "medium", "crf": "18"})
    assert (
        "software, because no hardware encoder works here (h264_missing: this PyAV does not have it; " in found.summary
    )
    assert "it has no option cq)" in found.summary


@pytest.mark.usefixtures("broken_hardware")
def test_software_is_taken_without_a_look_at_the_hardware() -> None:
    assert choose(encoder="software").summary == "libx264: h264 in mp4, 64 x 48"


def test_hardware_that_encodes_a_frame_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    chip = Candidate("libx264", "nv12", lambda quality: {"qp": str(quality)})  # stands in for a chip
    monkeypatch.setattr(encoders, "HARDWARE", {"h264": (Candidate("h264_missing", "nv12", lambda quality: {}), chip)})
    found = choose(encoder="hardware")
    assert (found.pixel_format, dict(found.options)) == ("nv12", {"qp": "18"})
    assert "software" not in found.summary


def test_hardware_is_refused_in_words_where_a_codec_has_none() -> None:
    assert choose(codec="ffv1", encoder="hardware").summary.endswith("software, because ffv1 has no hardware encoder")


def test_no_encoder_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.SOFTWARE, "h264", Candidate("libx264_missing", "yuv420p", lambda quality: {}))
    with pytest.raises(InputError, match="codec: found no h264 encoder that works at 64 x 48 .libx264_missing: this"):
        choose()


def test_lossless_h264_is_pointed_out() -> None:
    assert "many players cannot open" in choose(quality=0).summary


def test_a_lower_number_is_a_better_and_larger_file(tmp_path: Path) -> None:
    for codec in ("h264", "hevc", "av1"):
        sizes = [film(tmp_path, noise(4), codec=codec, quality=quality).stat().st_size for quality in (5, 25, 45)]
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > 2 * sizes[2]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fps", [Fraction(8), Fraction(24000, 1001)])
def test_a_keyframe_comes_at_least_once_a_second(tmp_path: Path, codec: str, fps: Fraction) -> None:
    still = [noise(1)[0]] * 60  # no cut makes a keyframe of its own accord
    found = packets(film(tmp_path, still, codec=codec, fps=fps))
    keys = [float(packet.start_s) for packet in found if packet.is_keyframe]
    assert max(later - earlier for earlier, later in zip(keys, [*keys[1:], 60 / fps], strict=True)) <= 1.001


@pytest.mark.parametrize(
    ("processors", "size", "threads"),
    [
        *((2, (1280, 720), 4), (6, (1280, 720), 6), (16, (1280, 720), 16), (64, (832, 480), 16)),
        *((64, (1920, 1088), 9), (64, (3840, 2160), 4)),  # more would take over 256 MiB
    ],
)
def test_x264_takes_a_thread_for_each_processor_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch, processors: int, size: tuple[int, int], threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(processors), raising=False)
    context = av.CodecContext.create("libx264", "w")
    configure(context, replace(choose(), width=size[0], height=size[1]), frames=9)
    assert context.thread_count == threads


def test_pictures_of_x264_are_not_cut_into_slices(tmp_path: Path) -> None:
    path = film(tmp_path, noise(3, 320, 176))
    first = packets(path)[0].content
    sizes, kinds = 0, []
    while sizes < len(first):  # units of H.264: four bytes of length, then the kind in five bits
        kinds.append(first[sizes + 4] & 31)
        sizes += 4 + int.from_bytes(first[sizes : sizes + 4], "big")
    assert sum(kind in (1, 5) for kind in kinds) == 1
