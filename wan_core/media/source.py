"""Reads a video file frame by frame, in memory that does not grow with what the file claims to hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import cached_property
from typing import BinaryIO

import av
import numpy
import torch

from ..errors import InputError, quoted
from .colour import rgb_pixels
from .files import MIB
from .sound import Sound

MOST_PIXELS = 4096 * 2304  # of a picture
SOUND_BYTES, SOUND_GROWTH = 8 * MIB, 64  # a sound track may take that much, and so many times the bytes of its file
SOUND_MARGIN_S = 1  # of sound after the last picture, so that a filter sees what follows


class VideoSource:
    """An open video file, or a part of it; a picture is decoded when it is asked for, and then forgotten.

    Raises InputError for a file without a picture, and for what cannot be decoded.
    """

    def __init__(self, file: str | BinaryIO, *, start_s: float = 0.0, duration_s: float = 0.0) -> None:
        """A duration of 0 is all that follows the start."""
        self._start_s, self._end_s = start_s, start_s + duration_s if duration_s else math.inf
        with ExitStack() as undo:
            try:  # without the limit a picture of any size is decoded just to look at the file
                limits = {"max_pixels": str(MOST_PIXELS)}
                container = av.open(file, "r", options=limits, metadata_errors="replace")
            except (av.error.FFmpegError, OSError) as error:
                raise _unreadable(f"a file that does not open ({quoted(error.strerror)})") from error
            self._container = undo.enter_context(container)
            decodable = [stream for stream in self._container.streams.video if stream.codec_context is not None]
            if not decodable:
                raise _unreadable("a file without a picture")
            self._video = decodable[0]
            self.width, self.height = self._video.width, self._video.height
            _require_size(self.width, self.height)
            self._video.codec_context.options = limits
            undo.pop_all()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()

    @property
    def fps(self) -> Fraction:
        return Fraction(self._video.average_rate or 0)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._container.metadata)

    @cached_property
    def frames(self) -> int:
        """How many frames there are: counted, because an index may promise any number."""
        return sum(1 for _ in self._pictures())

    def __iter__(self) -> Iterator[numpy.ndarray]:
        """The frames from the first on: uint8 h w 3."""
        for picture in self._pictures():
            yield numpy.ascontiguousarray(numpy.rot90(rgb_pixels(picture), round(picture.rotation / 90)))

    def _pictures(self) -> Iterator[av.VideoFrame]:
        with _decoding():
            self._container.seek(0)
            for picture in self._container.decode(self._video):
                if (picture.time or 0.0) < self._start_s:
                    continue
                if (picture.time or 0.0) >= self._end_s:
                    return
                if (picture.width, picture.height) != (self.width, self.height):
                    raise _unreadable(f"pictures of several sizes, as {picture.width} x {picture.height}")
                yield picture

    def soundtrack(self) -> Sound | None:
        """The sound from the first picture to a little after the last, float32 c s; None where there is none."""
        streams = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        if not streams or self.fps <= 0:
            return None
        wanted_s = math.ceil(self.frames / self.fps) + SOUND_MARGIN_S
        room_bytes = SOUND_BYTES + SOUND_GROWTH * self._container.size
        pieces: list[numpy.ndarray] = []
        rate_hz = missing = 0
        for piece in self._sound_pieces(streams[-1]):
            if not pieces:
                rate_hz = piece.sample_rate
                missing = wanted_s * rate_hz  # samples
            early_s = 0.0 if pieces else self._start_s - (piece.time or 0.0)
            waveform = piece.to_ndarray().reshape(piece.samples, -1)  # s c
            pieces.append(waveform[max(0, round(early_s * rate_hz)) :][:missing])
            missing -= len(pieces[-1])
            room_bytes -= pieces[-1].nbytes
            if room_bytes < 0:
                found = f"a sound track of more than {SOUND_BYTES // MIB} MiB and {SOUND_GROWTH} times its file"
                fix = "Load the sound with Load Audio, and link that."
                raise InputError("frames", found=found, wanted="one that a file of this size can hold", fix=fix)
            if not missing:
                break
        return Sound(torch.from_numpy(numpy.concatenate(pieces).T), rate_hz) if pieces else None

    def _sound_pieces(self, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
        """The sound from the start on, in the decoder's own blocks; the first may begin before the start."""
        resampler = av.AudioResampler(format="flt")  # packed: of planes PyAV looks for one behind the eighth
        with _decoding():
            self._container.seek(0)
            for frame in self._container.decode(stream):
                for piece in resampler.resample(frame):
                    if (piece.time or 0.0) + piece.samples / piece.sample_rate > self._start_s:
                        yield piece


@contextmanager
def _decoding() -> Iterator[None]:
    """Turns what a decoder says of a damaged file into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)  # without the file's path
        raise _unreadable(f"a file that cannot be decoded ({quoted(reason)})") from error


def _require_size(width: int, height: int) -> None:
    """Raises InputError for pictures that are too large to be decoded one by one in little memory."""
    if not 0 < width * height <= MOST_PIXELS:
        found, wanted = f"pictures of {width} x {height}", f"1 to {MOST_PIXELS} pixels (4096 x 2304)"
        raise InputError("frames", found=found, wanted=wanted, fix="Scale the video down, or cut the face out of it.")


def _unreadable(found: str) -> InputError:
    return InputError("frames", found=found, wanted="a whole video file", fix="Choose another file.")
