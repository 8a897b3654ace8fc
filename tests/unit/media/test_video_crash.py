from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import av
import pytest

from tests.unit.media.films import encoder, film, names_in, noise, tone
from wan_core.errors import InputError
from wan_core.media import files
from wan_core.media.container import Recording
from wan_core.media.files import LeftOver, left_overs
from wan_core.media.sink import ROOM_CHECK_FRAMES, VideoSink
from wan_core.media.source import VideoSource

ROOT = Path(__file__).parents[3]
FPS = 8
WRITE_FOR_EVER = """
import sys
from fractions import Fraction
from tests.unit.media.films import encoder, noise, tone
from wan_core.media.sink import VideoSink
folder, codec = sys.argv[1:]
frames = noise(16)
with VideoSink(encoder(codec, fps=Fraction(8)), folder, "clip", frames=10**5, soundtrack=tone(60)) as sink:
    while True:
        sink.write(frames[sink.written % 16])
        while sink._waiting and len(sink._waiting) > 1:
            sink._collect(1)
        sys.stdout.write("x")
        sys.stdout.flush()
"""
STOP_BEFORE_THE_NAME = """
import os, sys, threading
from pathlib import Path
from tests.unit.media.films import film, noise
def refuse(*arguments):
    raise OSError(95, "Operation not supported")
def stop(*arguments):
    sys.stdout.write("x")
    sys.stdout.flush()
    threading.Event().wait()
if sys.argv[2] == "links":
    os.link = stop
else:
    os.link, os.rename, os.replace = refuse, stop, stop
film(Path(sys.argv[1]), noise(20))
"""
LIMITED = """
import resource, sys
from pathlib import Path
from tests.unit.media.films import film, names_in, noise
from wan_core.errors import InputError
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    film(folder, noise(60), codec=sys.argv[3], quality=1)
except InputError as error:
    sys.stdout.write(f"{error}|{names_in(folder)}")
"""


def child(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# Killed


@pytest.mark.parametrize(
    ("codec", "after_frames"), [("h264", 1), ("h264", 20), ("h264", 60), ("h264", 200), ("prores", 10), ("ffv1", 10)]
)
def test_a_killed_process_leaves_a_partial_that_plays(tmp_path: Path, codec: str, after_frames: int) -> None:
    process = child(WRITE_FOR_EVER, tmp_path, codec)
    assert process.stdout is not None
    assert len(process.stdout.read(after_frames)) == after_frames
    assert list(left_overs(str(tmp_path), removed=True)) == []  # it is being written
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (partial,) = tmp_path.iterdir()  # and nothing else: the final name was never there
    disk_bytes = partial.stat().st_size
    assert list(left_overs(str(tmp_path), removed=False)) == (
        [LeftOver(str(tmp_path), disk_bytes)] if disk_bytes else []
    )
    assert partial.exists() == bool(disk_bytes)
    assert partial.name.startswith(".clip_00001_.") and partial.name.endswith(".partial")
    if after_frames == 1:  # it is in the encoder
        return
    with VideoSource(str(partial)) as video:
        shown = list(video)
        held = {"h264": 19, "prores": 6, "ffv1": 4}[codec]  # pictures that wait in the encoder and behind it
        assert len(shown) >= after_frames - held
        assert video.soundtrack() is not None or len(shown) < FPS
    if codec == "ffv1":
        frames = noise(16)
        assert all((found == frames[index % 16]).all() for index, found in enumerate(shown))


@pytest.mark.parametrize("system", ["links", "no links"])
def test_a_process_killed_at_the_end_leaves_the_whole_recording(tmp_path: Path, system: str) -> None:
    process = child(STOP_BEFORE_THE_NAME, tmp_path, system)
    assert process.stdout is not None
    assert process.stdout.read(1) == b"x"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert names_in(tmp_path) == [".clip_00001_.mp4.copy.partial", ".clip_00001_.mp4.partial"]
    with VideoSource(str(tmp_path / ".clip_00001_.mp4.partial")) as video:
        assert len(list(video)) == 20


def test_left_overs_are_unfinished_videos_that_nobody_writes(tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    folder.mkdir()
    left = {folder / name for name in (".a_00001_.mp4.partial", ".a_00001_.mp4.copy.partial", ".b_00002_.mkv.partial")}
    others = {tmp_path / name for name in ("a_00001_.mp4", ".a.partial", ".a_00001_.txt.partial")}
    for path in left | others:
        path.write_bytes(b"x")
    (tmp_path / ".link_00001_.mp4.partial").symlink_to(tmp_path / "a_00001_.mp4")
    with VideoSink(encoder(), str(folder), "live", frames=2):
        (folder / ".live_00001_.mp4.copy.partial").write_bytes(b"x")  # as while it is finished
        found = [LeftOver(str(folder), 2), LeftOver(str(folder), 1)]  # a video is its recording and the copy beside it
        assert list(left_overs(str(tmp_path), removed=False)) == found
        assert all(path.exists() for path in left)
        assert list(left_overs(str(tmp_path), removed=True)) == found
        assert not any(path.exists() for path in left)
        assert len(names_in(folder)) == 2 and len(names_in(tmp_path)) == 1 + len(others) + 1


def before_the_lock(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock

    def late(file: BinaryIO, how: int) -> None:
        monkeypatch.undo()
        happens()
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)


def test_a_recording_that_was_swept_before_its_lock_gets_the_next_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_lock(monkeypatch, lambda: list(left_overs(str(tmp_path), removed=True)))
    assert film(tmp_path, noise(2)).name == "clip_00002_.mp4"


def test_a_sweep_leaves_a_recording_that_took_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / ".clip_00001_.mp4.partial"
    left.write_bytes(b"left")
    before_the_lock(monkeypatch, lambda: (left.unlink(), left.write_bytes(b"new")))
    assert list(left_overs(str(tmp_path), removed=True)) == []
    assert left.read_bytes() == b"new"
    sweep = left_overs(str(tmp_path), removed=True)
    assert next(sweep) == LeftOver(str(tmp_path), 3)
    assert list(left_overs(str(tmp_path), removed=True)) == []  # it is locked until it is gone


def test_a_left_over_partial_keeps_its_name(tmp_path: Path) -> None:
    left = tmp_path / ".clip_00001_.mp4.partial"
    left.write_bytes(b"left by a killed process")
    assert film(tmp_path, noise(2)).name == "clip_00002_.mp4"
    assert left.read_bytes() == b"left by a killed process"


# Disk full


@pytest.mark.parametrize(
    ("codec", "limit"), [("h264", 0), ("h264", 1000), ("h264", 40_000), ("h264", 150_000), ("ffv1", 150_000)]
)
def test_a_file_that_may_not_grow_is_an_error_and_leaves_nothing(tmp_path: Path, codec: str, limit: int) -> None:
    process = child(LIMITED, tmp_path, limit, codec)
    said, logged = process.communicate()
    assert said.decode().startswith("filename_prefix: found no room left ('File too large') in its folder; "), logged
    assert said.decode().endswith("|[]")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("part", "raised", "seen"),
    [
        *(
            (
                "write",
                OSError(number, os.strerror(number), "/secret"),
                (InputError, "found no room left .*; wanted room"),
            )
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        ),
        *(
            (part, OSError(number, os.strerror(number), "/secret"), (InputError, "found a folder that nothing can be"))
            for part in ("write", "finish")
            for number in (errno.EROFS, errno.EACCES, errno.EIO, errno.ENOTDIR, errno.ENAMETOOLONG)
        ),
        ("finish", OSError("we say so"), (OSError, "we say so")),
        ("write", ZeroDivisionError("a fault"), (ZeroDivisionError, "a fault")),
    ],
)
def test_what_the_system_says_is_said_of_the_prefix_without_a_path_and_other_errors_stay_what_they_are(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
    raised: Exception,
    seen: tuple[type[Exception], str],
) -> None:
    def fail(*arguments: object) -> None:
        raise raised

    def close(recording: Recording) -> None:
        raise av.error.InvalidDataError(1094995529, "Invalid data", "/secret")

    monkeypatch.setattr(Recording, part, fail)
    monkeypatch.setattr(Recording, "close", close)
    with pytest.raises(seen[0], match=seen[1]) as error:
        film(tmp_path, noise(5))
    assert "/secret" not in str(error.value) + caplog.text and "not closed cleanly: 'Invalid data'" in caplog.text
    assert names_in(tmp_path) == []


def test_a_disk_that_is_too_small_is_refused_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: Namespace(free=2**20))
    wanted = "^filename_prefix: found 1 MiB free in its folder; wanted about [0-9]+ MiB for the rest of the video"
    with pytest.raises(InputError, match=wanted), VideoSink(encoder(), str(tmp_path), "clip", frames=10**5):
        pytest.fail("the sink should not have opened")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("frames", [ROOM_CHECK_FRAMES, ROOM_CHECK_FRAMES - 1])
def test_the_room_is_looked_at_while_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int) -> None:
    with VideoSink(encoder(), str(tmp_path), "clip", frames=10**4, soundtrack=tone(1)) as sink:
        monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: Namespace(free=2**20))
        for frame in noise(frames - 1):
            sink.write(frame)
        if frames < ROOM_CHECK_FRAMES:
            return
        with pytest.raises(InputError, match="filename_prefix: found 1 MiB free"):
            sink.write(noise(1)[0])
    assert names_in(tmp_path) == []


def test_the_room_for_the_finished_file_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        pytest.raises(InputError, match="filename_prefix: found 0 MiB free"),
        VideoSink(encoder(), str(tmp_path), "clip", frames=2) as sink,
    ):
        for frame in noise(2):
            sink.write(frame)
        monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: Namespace(free=1))
        sink.finish()
    assert names_in(tmp_path) == []
