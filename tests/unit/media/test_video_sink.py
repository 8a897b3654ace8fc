from __future__ import annotations

import builtins
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import av
import numpy
import pytest
import torch

from tests.unit.media.films import encoder, film, names_in, noise, packet_hashes, packets, tone
from wan_core.errors import InputError
from wan_core.media import container, files, sink
from wan_core.media.container import Recording, StreamTotals
from wan_core.media.encoders import CODECS, configure
from wan_core.media.sink import VideoSink
from wan_core.media.source import VideoSource


class Cancelled(BaseException):
    """What the host raises when the user stops a run: no Exception."""


def new_sink(folder: Path, frames: int = 20, **changes: object) -> VideoSink:
    return VideoSink(encoder(), str(folder), "clip", frames=frames, **changes)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("video-sink")]


# The finished file


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("fps", [Fraction(16), Fraction(24000, 1001)])
@pytest.mark.parametrize("frames", [1, 2, 3, 33])
def test_the_file_has_every_frame_at_its_time(tmp_path: Path, codec: str, fps: Fraction, frames: int) -> None:
    """Decoding times too: x265 takes them from memory that it has not written, when a clip is that short."""
    path = film(tmp_path, noise(frames), codec=codec, fps=fps)
    with VideoSource(str(path)) as video:
        assert (video.frames, video.fps, video.width, video.height) == (frames, fps, 64, 48)
        assert len(list(video)) == frames
        assert video.soundtrack() is None
    with av.open(str(path)) as opened:
        times = [picture.pts * picture.time_base for picture in opened.decode(video=0)]
        exact = Fraction(1, 2000) if path.suffix == ".mkv" else 0  # Matroska counts milliseconds
        assert all(abs(time - frame / fps) <= exact for frame, time in enumerate(times))
        assert abs(Fraction(opened.duration, av.time_base) - frames / fps) <= Fraction(1, 500)
    decoded = [packet.decode_s for packet in packets(path)]
    assert decoded == sorted(decoded) and -1 < decoded[0] <= 0


@pytest.mark.parametrize("frames", [1, 2])
def test_x265_has_nothing_to_reorder_in_the_shortest_clips(frames: int) -> None:
    context = av.CodecContext.create("libx265", "w")
    configure(context, encoder("hevc"), frames)
    assert context.max_b_frames == 0


def test_frames_come_back_in_their_order(tmp_path: Path) -> None:
    greys = [numpy.full((180, 320, 3), 8 * index, dtype=numpy.uint8) for index in range(30)]
    with VideoSource(str(film(tmp_path, greys))) as video:
        assert [round(float(frame.mean()) / 8) for frame in video] == list(range(30))


def test_torch_and_numpy_frames_are_the_same_and_the_buffer_may_be_used_again(tmp_path: Path) -> None:
    """In a lossless file: x264 does not decide alike each time when its threads get their turns in another order."""
    frames = noise(20)
    whole = film(tmp_path, frames, codec="ffv1")
    buffer = torch.empty(48, 64, 3, dtype=torch.uint8)
    with VideoSink(encoder("ffv1"), str(tmp_path), "clip", frames=len(frames)) as written:
        for frame in frames:
            buffer.copy_(torch.from_numpy(frame))
            written.write(buffer)
        again = Path(written.finish())
    assert again != whole
    assert packet_hashes(again, "video") == packet_hashes(whole, "video")


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "prores"])
def test_the_finished_file_holds_the_recorded_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    recorded: dict[str, list[str]] = {}

    def copy(source: str, *rest: object) -> dict[str, StreamTotals]:
        for kind in ("video", "audio"):
            recorded[kind] = packet_hashes(Path(source), kind)
        return container.copy_packets(source, *rest)

    monkeypatch.setattr(sink, "copy_packets", copy)
    path = film(tmp_path, noise(40), codec=codec, soundtrack=tone(3))
    assert len(recorded["video"]) == 40
    assert {kind: packet_hashes(path, kind) for kind in recorded} == recorded


def test_the_index_stands_in_front(tmp_path: Path) -> None:
    content = film(tmp_path, noise(20)).read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")
    assert b"moof" not in content


@pytest.mark.parametrize("codec", CODECS)
def test_tags_are_in_the_file(tmp_path: Path, codec: str) -> None:
    tags = {"comment": "AI-generated", "prompt": '{"1": "\u4e2d\u6587"}', "workflow": "x" * 100_000}
    with VideoSource(str(film(tmp_path, noise(2), codec=codec, tags=tags))) as video:
        found = {key.lower(): value for key, value in video.tags.items()}
    assert {key: found[key] for key in tags} == tags


def test_hevc_carries_the_tag_that_apple_wants(tmp_path: Path) -> None:
    with av.open(str(film(tmp_path, noise(2), codec="hevc"))) as opened:
        assert opened.streams.video[0].codec_context.codec_tag == "hvc1"


# Names


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "clip_00001_.mp4").write_bytes(b"mine")
    with new_sink(tmp_path):
        assert names_in(tmp_path) == [".clip_00002_.mp4.partial", "clip_00001_.mp4"]  # the name is known from the start
    assert film(tmp_path, noise(2)).name == "clip_00002_.mp4"
    assert (tmp_path / "clip_00001_.mp4").read_bytes() == b"mine"


def test_two_at_once_get_two_names(tmp_path: Path) -> None:
    with new_sink(tmp_path, 2) as first, new_sink(tmp_path, 2) as second:
        for frame in noise(2):
            first.write(frame)
            second.write(frame)
        assert names_in(tmp_path) == [".clip_00001_.mp4.partial", ".clip_00002_.mp4.partial"]
        assert [Path(second.finish()).name, Path(first.finish()).name] == ["clip_00002_.mp4", "clip_00001_.mp4"]
    assert names_in(tmp_path) == ["clip_00001_.mp4", "clip_00002_.mp4"]


@pytest.mark.parametrize("links", [True, False])
def test_a_name_taken_while_recording_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(files.os, "link", refuse)
    with new_sink(tmp_path, 2) as written:
        for frame in noise(2):
            written.write(frame)
        (tmp_path / "clip_00001_.mp4").write_bytes(b"somebody else's")
        assert Path(written.finish()).name == "clip_00002_.mp4"
    assert (tmp_path / "clip_00001_.mp4").read_bytes() == b"somebody else's"
    assert names_in(tmp_path) == ["clip_00001_.mp4", "clip_00002_.mp4"]


def refuse(*arguments: object) -> None:
    raise OSError(95, "Operation not supported")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_the_data_lies_on_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(files.os, "link", refuse)
    synced, fsync = [], os.fsync

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, any(tmp_path.glob("clip_*"))))
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", watched)
    path = film(tmp_path, noise(2), codec=codec)
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize(
    ("owner", "call"), [(files.shutil, "disk_usage"), (builtins, "open"), (files.os, "fsync"), (files.os, "link")]
)
def test_a_folder_that_cannot_be_written_to_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    def forbid(*arguments: object) -> None:
        raise OSError(30, "Read-only file system", "/secret")

    monkeypatch.setattr(files.os, "rename", forbid)
    monkeypatch.setattr(owner, call, forbid)
    with pytest.raises(InputError, match="^filename_prefix: found a folder that nothing .*'Read-only file sy") as error:
        film(tmp_path, noise(1))
    assert "/secret" not in str(error.value)
    assert names_in(tmp_path) == []


# What goes wrong


@pytest.mark.parametrize(
    ("folder", "stem", "frames", "message"),
    [
        *((".", stem, 1, "filename_prefix: found .*; wanted a file name without") for stem in ("", "../clip", "a\0b")),
        ("missing", "clip", 1, "filename_prefix: found a folder that is gone; wanted"),
        (".", "clip", 0, "frames: found 0; wanted at least one frame."),
    ],
)
def test_what_can_not_become_a_file_is_refused_before_anything_is_written(
    tmp_path: Path, folder: str, stem: str, frames: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        VideoSink(encoder(), str(tmp_path / folder), stem, frames=frames)
    assert names_in(tmp_path) == []


def throw(error: BaseException) -> None:
    raise error


STOPS: dict[str, tuple[Callable[[VideoSink], object], type[BaseException] | None]] = {
    "leave": (lambda written: None, None),
    "abort": (VideoSink.abort, None),
    "finish": (VideoSink.finish, RuntimeError),
    "fail": (lambda written: throw(ValueError("a node failed")), ValueError),
    "cancel": (lambda written: throw(Cancelled()), Cancelled),
}


@pytest.mark.parametrize("frames", [0, 1, 19])
@pytest.mark.parametrize(("stop", "error"), STOPS.values(), ids=STOPS)
def test_leaving_early_leaves_nothing(
    tmp_path: Path, stop: Callable[[VideoSink], object], error: type[BaseException] | None, frames: int
) -> None:
    with (
        nullcontext() if error is None else pytest.raises(error),
        new_sink(tmp_path, soundtrack=tone(1)) as written,
    ):
        for frame in noise(frames):
            written.write(frame)
        stop(written)
    assert names_in(tmp_path) == []
    assert threads() == []


def test_one_frame_too_many_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="more than 2 frames for clip_00001_.mp4"), new_sink(tmp_path, 2) as written:
        for frame in noise(3):
            written.write(frame)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "frame", [numpy.zeros((48, 64, 3)), numpy.zeros((48, 64, 4), numpy.uint8), numpy.zeros((64, 48, 3), numpy.uint8)]
)
def test_a_frame_of_another_kind_is_an_error(tmp_path: Path, frame: numpy.ndarray) -> None:
    with pytest.raises(ValueError, match="wanted uint8 .48, 64, 3."), new_sink(tmp_path, 2) as written:
        written.write(frame)


def test_errors_of_the_encoder_reach_the_next_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def explode(*arguments: object) -> None:
        failed.set()
        raise av.error.ExternalError(1, "the chip is gone")

    monkeypatch.setattr(Recording, "write", explode)
    with pytest.raises(av.error.ExternalError, match="the chip is gone"), new_sink(tmp_path) as written:
        written.write(noise(1)[0])
        assert failed.wait(10)
        while not written._waiting[0].done():  # the error is on its way
            failed.wait(0.001)
        written.write(noise(1)[0])
        pytest.fail("the second write should have raised")
    assert names_in(tmp_path) == []
    assert threads() == []


def test_a_copy_without_all_its_sound_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def count_one_more(*arguments: object) -> dict[str, StreamTotals]:
        copied = container.copy_packets(*arguments)
        return {**copied, "audio": StreamTotals(copied["audio"].packets + 1, copied["audio"].size_bytes + 100)}

    monkeypatch.setattr(sink, "copy_packets", count_one_more)
    with pytest.raises(OSError, match="clip_00001_.mp4 was written, but .* came back in place of"):
        film(tmp_path, noise(20), soundtrack=tone(1))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("codec", ["h264", "ffv1"])
def test_an_encoder_that_loses_a_frame_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    real, seen = Recording.write, []

    def lose_the_tenth(recording: Recording, picture: av.VideoFrame) -> None:
        seen.append(picture)
        if len(seen) != 10:
            real(recording, picture)

    monkeypatch.setattr(Recording, "write", lose_the_tenth)
    with pytest.raises(OSError, match="clip_00001_.* holds 19 of 20 frames"):
        film(tmp_path, noise(20), codec=codec)
    assert names_in(tmp_path) == []
