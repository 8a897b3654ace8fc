"""Reads a video file frame by frame, in memory that does not grow with what the file claims to hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import cached_property
from itertools import chain, islice
from typing import BinaryIO

import av
import numpy
import torch
from torch import Tensor

from ..errors import InputError, quoted
from .colour import rgb_pixels
from .files import MIB
from .sound import Sound, mono

MOST_PIXELS = 4096 * 2304  # of a picture
HELD_PICTURES = {"h264": 17, "hevc": 17, "ffv1": 2, "prores": 2, "mjpeg": 2, "dnxhd": 2}  # at a time, by a decoder
USUALLY_HELD = 10  # eight to look back at, the next and the last
MOST_HELD_BYTES = HELD_PICTURES["h264"] * MOST_PIXELS * 3 // 2  # eight bits, half the colour each way
LIMITS = {"max_pixels": str(MOST_PIXELS)}  # without it a picture of any size is decoded just to look at the file
UNDECODED = {"max_pixels": "1"}  # and with it none is
LONGEST_S = 3600  # of a film; no more of its pictures are counted
SOUND_BYTES = 8 * MIB  # a sound track may take that much, and so many times the bytes of its file:
SOUND_GROWTH = 256  # at 48 kHz 1.5 KB a second for sound and picture together, which is little even for speech
SOUND_MARGIN_S = 1  # of sound after the last picture, so that a filter sees what follows


def _tell_nobody(done_s: int) -> None:
    """Progress that is not shown."""


class VideoSource:
    """An open video file, or a part of it; a picture is decoded when it is asked for, and then forgotten.

    Raises InputError for a file without a picture, and for what cannot be decoded.
    """

    def __init__(
        self,
        file: str | BinaryIO,
        *,
        start_s: float = 0.0,
        duration_s: float = 0.0,
        progress: Callable[[int], Callable[[int], None]] = lambda seconds: _tell_nobody,
    ) -> None:
        """A duration of 0 is all that follows the start.

        ``progress`` is told how many seconds are to be read, and what it gives, how many are, for the sound and while
        the frames are counted.
        """
        self._progress = progress
        self._start_s, self._end_s = start_s, start_s + duration_s if duration_s else math.inf
        self._file = file
        with ExitStack() as undo:
            try:
                _require_told_size(file)
                container = _opened(file, LIMITS)
            except (av.error.FFmpegError, OSError) as error:
                raise _unreadable(f"a file that does not open ({quoted(error.strerror)})") from error
            self._container = undo.enter_context(container)
            streams = _decodable(self._container.streams.video)
            if not streams:
                raise _unreadable("a file without a picture")
            self._picture_stream = streams[0]
            self._video = self._container.streams.video[self._picture_stream]
            self.width, self.height = self._video.width, self._video.height
            _require_size(self._video.codec_context, self.width, self.height, self._video.codec_context.format)
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

    @property
    def frames(self) -> int:
        """How many frames there are; of more than ``LONGEST_S`` one too many."""
        return self._counted[1]

    @cached_property
    def _counted(self) -> tuple[float, int]:
        """When the first frame is shown, in seconds, and how many there are: an index may promise any number."""
        pictures = islice(self._pictures(self._progress(self._promised_s)), most_frames(self.fps) + 1)
        first = next(pictures, None)
        if first is None:
            return self._start_s, 0
        return first.time or 0.0, 1 + sum(1 for _ in pictures)

    @property
    def _promised_s(self) -> int:
        """Where the part to read ends by what the file says."""
        promised_s = (self._container.duration or math.inf) / av.time_base
        return math.ceil(min(promised_s, self._end_s, self._start_s + LONGEST_S))

    def __iter__(self) -> Iterator[numpy.ndarray]:
        """The frames from the first on: uint8 h w 3."""
        for picture in self._pictures(_tell_nobody):
            yield numpy.ascontiguousarray(numpy.rot90(rgb_pixels(picture), round(picture.rotation / 90)))

    def _pictures(self, report: Callable[[int], None]) -> Iterator[av.VideoFrame]:
        with _decoding(self._file) as container:
            container.streams.video[self._picture_stream].codec_context.options = LIMITS
            for picture in container.decode(video=self._picture_stream):
                report(int(picture.time or 0.0))
                if (picture.time or 0.0) < self._start_s:
                    continue
                if (picture.time or 0.0) >= self._end_s:
                    return
                if (picture.width, picture.height) != (self.width, self.height):
                    raise _unreadable(f"pictures of several sizes, as {picture.width} x {picture.height}")
                _require_size(self._video.codec_context, picture.width, picture.height, picture.format)
                yield picture

    def soundtrack(self) -> Sound | None:
        """The mono mix, float64 1 s, from the first picture to a little after the last; None where there is none."""
        streams = _decodable(self._container.streams.audio)
        if not streams or self.fps <= 0:
            return None
        first_s, frames = self._counted
        pieces = self._sound_pieces(streams[-1], first_s)
        first = next(pieces, None)
        if first is None:
            return None
        rate_hz, wanted_s = first.sample_rate, math.ceil(frames / self.fps) + SOUND_MARGIN_S
        early = round((first_s - (first.time or 0.0)) * rate_hz)  # samples before the first picture
        silence = torch.zeros(1, dtype=torch.float64).expand(max(0, -early))  # it takes no memory yet
        recorded = chain([silence], map(_mono_mix, chain([first], pieces)))
        room = (SOUND_BYTES + SOUND_GROWTH * self._container.size) // torch.float64.itemsize  # samples
        kept: list[Tensor] = []
        for piece in _trimmed(recorded, max(0, early), wanted_s * rate_hz):
            kept.append(piece)
            room -= len(piece)
            if room < 0:
                found = f"a sound track of more than {SOUND_BYTES // MIB} MiB and {SOUND_GROWTH} times its file"
                fix = "Load the sound with Load Audio, and link that."
                raise InputError("frames", found=found, wanted="one that a file of this size can hold", fix=fix)
        return Sound(torch.cat(kept).unsqueeze(0), rate_hz)

    def _sound_pieces(self, stream: int, start_s: float) -> Iterator[av.AudioFrame]:
        """The sound from the start on, in the decoder's own blocks; the first may begin before the start, or after."""
        resampler = av.AudioResampler(format="flt")  # packed: of planes PyAV looks for one behind the eighth
        report = self._progress(self._promised_s)
        with _decoding(self._file) as container:
            for frame in container.decode(audio=stream):
                report(int(frame.time or 0.0))
                for piece in resampler.resample(frame):
                    if (piece.time or 0.0) + piece.samples / piece.sample_rate > start_s:
                        yield piece


def _opened(file: str | BinaryIO, limits: dict[str, str]) -> av.container.InputContainer:
    if not isinstance(file, str):
        file.seek(0)
    return av.open(file, "r", options=limits, metadata_errors="replace")


def _require_told_size(file: str | BinaryIO) -> None:
    """Raises InputError for pictures too large by what the file says of them, before the first is decoded."""
    with _opened(file, UNDECODED) as container:
        for number in _decodable(container.streams.video)[:1]:
            context = container.streams.video[number].codec_context
            if context.width and context.format:  # else only the decoder tells, as of kinds that hold few pictures
                _require_size(context, context.width, context.height, context.format)


def _require_size(codec: av.VideoCodecContext, width: int, height: int, format: av.VideoFormat | None) -> None:
    """Raises InputError for pictures that are too large to be decoded one by one in little memory."""
    found, fix = f"pictures of {width} x {height}", "Scale the video down, or cut the face out of it."
    if not 0 < width * height <= MOST_PIXELS:
        raise InputError("frames", found=found, wanted=f"1 to {MOST_PIXELS} pixels (4096 x 2304)", fix=fix)
    bits = format.padded_bits_per_pixel if format else 0
    held = HELD_PICTURES.get(codec.name, USUALLY_HELD)
    if held * width * height * bits > 8 * MOST_HELD_BYTES:
        found = f"{found} with {bits} bits a pixel, of which the decoder may hold {held} at a time"
        raise InputError("frames", found=found, wanted=f"at most {MOST_HELD_BYTES // MIB} MiB of them", fix=fix)


def most_frames(fps: Fraction) -> int:
    """The frames of the longest film."""
    return math.floor(LONGEST_S * fps)


def _mono_mix(piece: av.AudioFrame) -> Tensor:
    waveform = piece.to_ndarray().reshape(piece.samples, -1)  # s c
    return mono(Sound(torch.from_numpy(waveform.T), piece.sample_rate))  # s


def _trimmed(pieces: Iterable[Tensor], skipped: int, wanted: int) -> Iterator[Tensor]:
    """The pieces of one recording without its first samples, until there are as many as are wanted."""
    for piece in pieces:
        kept = piece[skipped:][:wanted]
        skipped = max(0, skipped - len(piece))
        wanted -= len(kept)
        yield kept
        if not wanted:
            return


def _decodable(streams: Sequence[av.VideoStream] | Sequence[av.AudioStream]) -> list[int]:
    """The numbers of the streams that there is a decoder for."""
    return [number for number, stream in enumerate(streams) if stream.codec_context is not None]


@contextmanager
def _decoding(file: str | BinaryIO) -> Iterator[av.container.InputContainer]:
    """Opens a file once more, because not every kind can be wound back; what a decoder says becomes an InputError."""
    try:
        with _opened(file, LIMITS) as container:
            yield container
    except InputError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.error.FFmpegError) else str(error)  # without the file's path
        raise _unreadable(f"a file that cannot be decoded ({quoted(reason)})") from error


def _unreadable(found: str) -> InputError:
    return InputError("frames", found=found, wanted="a whole video file", fix="Choose another file.")
