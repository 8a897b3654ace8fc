"""The sink's queue: how far the caller may run ahead of the encoder, and what is left of both in the end."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import av
import numpy
import pytest

from tests.unit.media.films import encoder, film, noise, tone
from wan_core.media.container import Recording
from wan_core.media.sink import QUEUE_FRAMES, VideoSink


def new_sink(folder: Path, frames: int = 20) -> VideoSink:
    return VideoSink(encoder(), str(folder), "clip", frames=frames)


@pytest.mark.parametrize("codec", ["h264", "prores", "ffv1"])
def test_what_is_recorded_lies_on_the_disk_at_once(tmp_path: Path, codec: str) -> None:
    sizes = set()
    with VideoSink(encoder(codec), str(tmp_path), "clip", frames=100) as written:
        for frame in noise(60):
            written.write(frame)
            written._collect(0)
            (partial,) = tmp_path.iterdir()
            assert partial.stat().st_size == written._file.tell()
            sizes.add(partial.stat().st_size)
    assert len(sizes) > 2


def test_writing_waits_when_the_queue_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, real, begun = threading.Event(), Recording.write, []

    def slowly(recording: Recording, picture: av.VideoFrame) -> None:
        begun.append(picture)
        assert gate.wait(60)
        real(recording, picture)

    monkeypatch.setattr(Recording, "write", slowly)
    frames = noise(3 * QUEUE_FRAMES)
    with new_sink(tmp_path, len(frames)) as written:
        writer = threading.Thread(target=lambda: [written.write(frame) for frame in frames])
        writer.start()
        writer.join(0.5)  # it can not get further
        assert writer.is_alive()
        assert (written.written, len(written._waiting), len(begun)) == (QUEUE_FRAMES, QUEUE_FRAMES - 1, 1)
        gate.set()
        writer.join()
        written.finish()


def test_a_frame_that_waits_is_not_painted_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are as many pictures as places in the queue, whatever the length of the film."""
    gate, real, shades, pictures = threading.Event(), Recording.write, [], set()

    def late(recording: Recording, picture: av.VideoFrame) -> None:
        assert gate.wait(60)
        shades.append(int(picture.to_ndarray()[0, 0, 0]))
        pictures.add(id(picture))
        real(recording, picture)

    monkeypatch.setattr(Recording, "write", late)
    frames = [numpy.full((48, 64, 3), shade, dtype=numpy.uint8) for shade in range(3 * QUEUE_FRAMES)]
    with new_sink(tmp_path, len(frames)) as written:
        for frame in frames[:QUEUE_FRAMES]:  # without a wait
            written.write(frame)
        gate.set()
        for frame in frames[QUEUE_FRAMES:]:
            written.write(frame)
        written.finish()
    assert shades == list(range(len(frames)))
    assert len(pictures) == QUEUE_FRAMES


def test_nothing_stays_behind(tmp_path: Path) -> None:
    film(tmp_path, noise(2), soundtrack=tone(1))  # torch starts threads of its own for the sound
    gc.collect()
    before = native_threads(), open_files()
    for _ in range(3):
        film(tmp_path, noise(2), soundtrack=tone(1))
        with new_sink(tmp_path) as written:
            written.write(noise(1)[0])
    del written
    gc.collect()
    assert (native_threads(), open_files()) == before


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
