"""Reads a video file frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

import av
import numpy
import torch

from ..errors import InputError
from .colour import rgb_pixels
from .soundtrack import Soundtrack


class VideoSource:
    """An open video file; nothing is decoded before it is asked for. Raises InputError for a file without a picture."""

    def __init__(self, path: str) -> None:
        with ExitStack() as undo:
            try:
                self._container = undo.enter_context(av.open(path))
            except (av.error.FFmpegError, OSError) as error:
                raise _unreadable(f"a file that does not open ({error.strerror})") from error
            if not self._container.streams.video:
                raise _unreadable("a file without a picture")
            self._video = self._container.streams.video[0]
            self._video.thread_type = "AUTO"
            undo.pop_all()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def width(self) -> int:
        return self._video.width

    @property
    def height(self) -> int:
        return self._video.height

    @property
    def fps(self) -> Fraction:
        return Fraction(self._video.average_rate or 0)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._container.metadata)

    @property
    def frames(self) -> int:
        """How many frames there are, by the file's index; counted where it has none."""
        if self._video.frames:
            return self._video.frames
        self._container.seek(0)
        return sum(1 for packet in self._container.demux(self._video) if packet.size)

    def __iter__(self) -> Iterator[numpy.ndarray]:
        """The frames from the first on: uint8 h w 3."""
        self._container.seek(0)
        for picture in self._container.decode(self._video):
            yield rgb_pixels(picture)

    def soundtrack(self) -> Soundtrack | None:
        """The sound, float32 c s; None where there is none."""
        if not self._container.streams.audio:
            return None
        stream = self._container.streams.audio[0]
        self._container.seek(0)
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        pieces = [
            piece.to_ndarray()
            for frame in (*self._container.decode(stream), None)
            for piece in resampler.resample(frame)
            if piece is not None
        ]
        return Soundtrack(torch.from_numpy(numpy.concatenate(pieces, axis=1)), stream.rate)  # c s


def _unreadable(found: str) -> InputError:
    return InputError("video", found=found, wanted="a video file", fix="Choose another file.")
