"""Writes a video while its frames are still being made: a bounded queue, a thread that encodes, one file or none."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from logging import getLogger
from typing import BinaryIO

import av
import numpy
import torch

from ..errors import InputError, quoted
from .colour import Pixels, ReusablePicture
from .container import Recording, copy_packets, stream_totals
from .encoders import VideoEncoder
from .files import NumberedFile, not_writable, publish, remove, require_place, require_room, reserve
from .soundtrack import Soundtrack, plan_sound

QUEUE_FRAMES = 8  # that may wait for the encoder
ROOM_CHECK_FRAMES = 100  # between two looks at the free space
ROOM_MARGIN = 1.1
CONTAINER_BYTES = 2**16  # header and index of a short file

log = getLogger(__name__)


class VideoSink:
    """A video file that is written frame by frame; leaving it before ``finish`` has returned removes everything.

    While it is written, ``.<name>.partial`` lies beside the final name; if the process is killed that is what stays,
    and it plays up to where the encoder was. The final name appears only with the complete file.
    """

    def __init__(
        self,
        encoder: VideoEncoder,
        folder: str,
        stem: str,
        *,
        frames: int,
        soundtrack: Soundtrack | None = None,
        tags: Mapping[str, str] | None = None,
        counter: int = 1,
    ) -> None:
        """Checks only; entering the context creates the partial. Raises InputError for no frames or a bad folder."""
        if frames < 1:
            raise InputError("frames", found=frames, wanted="at least one frame", fix="Check the latent.")
        require_place(folder, stem)
        self._encoder, self._frames, self._tags = encoder, frames, dict(tags or {})
        self._place = NumberedFile(folder, stem, counter, encoder.container)
        plan = plan_sound(soundtrack, encoder.container, frames, encoder.fps) if soundtrack else None
        self._sound = (soundtrack, plan) if soundtrack and plan else None
        self.summary = (encoder.summary, *(plan.changes if plan else ()))  # how the file is made: lines for the user
        self.written = 0  # frames handed over
        self._waiting: deque[Future[None]] = deque()
        self._pictures: list[ReusablePicture] = []  # one for each place in the queue
        self._undo = ExitStack()  # what removes every trace, last made first

    def __enter__(self) -> VideoSink:
        self._pictures = [ReusablePicture(self._encoder.width, self._encoder.height) for _ in range(QUEUE_FRAMES)]
        with ExitStack() as undo, _plain_disk_errors():
            require_room(self._place.folder, self._estimate_bytes())
            self._place, self._file = reserve(self._place)
            undo.callback(remove, self._place.partial)
            undo.callback(_drop, self._file)
            self._recording = Recording(self._file, self._encoder, self._frames, self._sound, self._tags)
            undo.callback(_drop, self._recording)
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="video-sink")
            undo.callback(self._thread.shutdown, cancel_futures=True)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    def abort(self) -> None:
        """Stops the encoder and removes what is not finished; does nothing after ``finish``, may be called twice."""
        self._undo.close()

    def write(self, frame: Pixels) -> None:
        """Hands over a copy of one uint8 h w 3 frame; waits while the queue is full. Raises what the encoder raised."""
        self._require_frame(frame)
        self._collect(QUEUE_FRAMES - 1)
        picture = self._pictures[self.written % QUEUE_FRAMES].paint(frame)  # over the one that was written last time
        self._waiting.append(self._thread.submit(self._recording.write, picture))
        self.written += 1
        if self.written % ROOM_CHECK_FRAMES == 0:
            with _plain_disk_errors():
                require_room(self._place.folder, self._rest_bytes())

    def finish(self) -> str:
        """Completes the file and returns its path."""
        if self.written != self._frames:
            raise RuntimeError(f"{self.written} of {self._frames} frames were written to {self._place.name}")
        self._collect(0)
        with _plain_disk_errors():
            self._thread.submit(self._recording.finish).result()
            if os.name == "nt":
                self._file.close()  # elsewhere it is held until it has its name; there, what is open cannot be renamed
            path = self._publish()
        self.abort()
        return path

    def _publish(self) -> str:
        """Checks the recording, makes the finished file of it and gives that its name."""
        place = self._place
        if self._encoder.container == "mkv":  # complete as it is, with its index at the end
            complete = place.partial
            found = stream_totals(complete)
        else:
            self._undo.callback(remove, place.copy)
            require_room(place.folder, math.ceil(os.path.getsize(place.partial) * ROOM_MARGIN))
            copied = copy_packets(place.partial, place.copy, self._encoder, self._tags)
            complete = place.copy
            found = stream_totals(complete)
            if found != copied:
                raise OSError(f"{place.name} was written, but {found} came back in place of {copied}")
        if found["video"].packets != self._frames:
            raise OSError(f"{place.name} holds {found['video'].packets} of {self._frames} frames")
        return publish(complete, place)

    def _require_frame(self, frame: Pixels) -> None:
        wanted = (self._encoder.height, self._encoder.width, 3)
        if tuple(frame.shape) != wanted or frame.dtype not in (numpy.uint8, torch.uint8):
            raise ValueError(f"a frame is {frame.dtype} {tuple(frame.shape)}; wanted uint8 {wanted}")
        if self.written == self._frames:
            raise RuntimeError(f"more than {self._frames} frames for {self._place.name}")

    def _collect(self, at_most: int) -> None:
        """Waits until no more than that many frames wait; raises the encoder's error if there is one."""
        with _plain_disk_errors():
            while self._waiting and (len(self._waiting) > at_most or self._waiting[0].done()):
                self._waiting.popleft().result()

    def _estimate_bytes(self) -> int:
        """The disk that the whole video is likely to need, with the copy at the end."""
        encoder = self._encoder
        picture = self._frames * encoder.width * encoder.height * encoder.bits_per_pixel / 8
        plan = self._sound[1] if self._sound else None
        sound = plan.bit_rate * plan.samples / plan.rate_hz / 8 if plan else 0.0
        text = sum(len(key) + len(value) for key, value in self._tags.items())
        return math.ceil((picture + sound + text + CONTAINER_BYTES) * self._copies * ROOM_MARGIN)

    def _rest_bytes(self) -> int:
        """The disk that is still needed, judged by the frames that are encoded."""
        recorded = os.path.getsize(self._place.partial)
        whole = recorded * self._frames / max(1, self.written - len(self._waiting))
        return math.ceil((whole * self._copies - recorded) * ROOM_MARGIN)

    @property
    def _copies(self) -> int:
        """How many times the video lies on the disk at the end of ``finish``."""
        return 1 if self._encoder.container == "mkv" else 2


@contextmanager
def _plain_disk_errors() -> Iterator[None]:
    """Turns what the system says of a place that cannot be written to into an InputError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # it is we who say that the file came out wrong
            raise
        raise not_writable(error) from error


def _drop(resource: BinaryIO | Recording) -> None:
    """Closes something whose file is about to go, or is complete; an error in that changes nothing and is logged."""
    try:
        resource.close()
    except (OSError, av.error.FFmpegError) as error:
        log.warning("An unfinished video was not closed cleanly: %s", quoted(error.strerror))
