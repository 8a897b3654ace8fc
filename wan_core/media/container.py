"""A video file while it is recorded, and the finished file that its packets are copied into.

The recording is fragmented, a picture at a time: whatever has left the encoder lies on the disk one picture later, and
plays, even when nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO, cast

import av
from av.video.reformatter import VideoReformatter

from .colour import encodable
from .encoders import VideoEncoder, configure
from .soundtrack import SoundPlan, Soundtrack, blocks

# delay_moov: without it the header is written before the delays of the encoders are known, and the picture then
# starts some frames later than the sound.
FRAGMENTED = {
    "movflags": "frag_keyframe+empty_moov+delay_moov+default_base_moof+use_metadata_tags",
    "frag_duration": "1",  # microseconds: a fragment a picture; frag_every_frame would give the sound wrong times
}
FINISHED = {"movflags": "faststart+use_metadata_tags"}
FORMATS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska"}
CLUSTER_MS = 1000  # a piece of a Matroska file
SMALLEST_TIMESCALE = 10000  # ticks a second of an MP4 track; fewer are unusual
CODEC_TAGS = {"hevc": "hvc1"}  # what Apple's players want; FFmpeg would write hev1
FLAC_BLOCK = 4096  # samples


@dataclass(frozen=True, slots=True)
class StreamTotals:
    """What one stream of a file holds."""

    packets: int
    size_bytes: int


def muxer_options(encoder: VideoEncoder, mov: Mapping[str, str]) -> dict[str, str]:
    """FFmpeg's options for the encoder's container."""
    if encoder.container == "mkv":
        return {"cluster_time_limit": str(CLUSTER_MS)}
    ticks = encoder.fps.numerator  # a second: every frame has a whole number of them, so that no rate is rounded
    return {**mov, "video_track_timescale": str(ticks * -(-SMALLEST_TIMESCALE // ticks))}


class Recording:
    """A file that grows frame by frame, sound and picture side by side."""

    def __init__(
        self,
        file: BinaryIO,
        encoder: VideoEncoder,
        frames: int,
        sound: tuple[Soundtrack, SoundPlan] | None,
        tags: Mapping[str, str],
    ) -> None:
        self._file, self._encoder = file, encoder
        options = muxer_options(encoder, FRAGMENTED)
        self._output = av.open(file, "w", format=FORMATS[encoder.container], options=options)
        self._output.metadata.update(tags)
        self._video = cast(av.VideoStream, self._output.add_stream(encoder.name, rate=encoder.fps))
        configure(self._video.codec_context, encoder, frames)
        if encoder.container == "mp4" and encoder.codec in CODEC_TAGS:
            self._video.codec_context.codec_tag = CODEC_TAGS[encoder.codec]
        self._audio: av.AudioStream | None = None
        self._blocks: Iterator[av.AudioFrame] = iter(())
        if sound is not None:
            self._audio, self._blocks = self._add_sound(*sound)
        self._next_block = next(self._blocks, None)
        self._reformatter = VideoReformatter()
        self._frames = 0

    def _add_sound(self, track: Soundtrack, plan: SoundPlan) -> tuple[av.AudioStream, Iterator[av.AudioFrame]]:
        stream = cast(av.AudioStream, self._output.add_stream(plan.encoder, rate=plan.rate_hz, layout=plan.layout))
        context = stream.codec_context
        if plan.encoder == "aac":
            context.bit_rate = plan.bit_rate
        else:
            context.format = "s32"  # 24 bits of it are kept
        context.open()
        return stream, blocks(track, plan, context.frame_size or FLAC_BLOCK)

    def write(self, picture: av.VideoFrame) -> None:
        """Encodes one RGB picture, and the sound up to its end."""
        frame = encodable(picture, self._encoder.pixel_format, self._reformatter)
        frame.pts, frame.time_base = self._frames, 1 / self._encoder.fps
        self._output.mux(self._video.encode(frame))
        self._frames += 1
        self._write_sound(self._frames / self._encoder.fps)
        self._file.flush()

    def _write_sound(self, until_s: Fraction | None) -> None:
        """Encodes the blocks that begin before that time; all that are left without one."""
        while self._audio is not None and self._next_block is not None:
            if until_s is not None and Fraction(self._next_block.pts or 0, self._next_block.sample_rate) >= until_s:
                return
            self._output.mux(self._audio.encode(self._next_block))
            self._next_block = next(self._blocks, None)

    def finish(self) -> None:
        """Writes what the encoders still hold, and the end of the file."""
        self._output.mux(self._video.encode(None))
        self._write_sound(None)
        if self._audio is not None:
            self._output.mux(self._audio.encode(None))
        self.close()
        self._file.flush()

    def close(self) -> None:
        """Lets go of the encoders; may be called twice."""
        self._output.close()


def copy_packets(source: str, target: str, encoder: VideoEncoder, tags: Mapping[str, str]) -> dict[str, StreamTotals]:
    """Copies a recording's packets as they are into a finished file with its index in front; says what it copied."""
    options = muxer_options(encoder, FINISHED)
    with av.open(source) as recorded, av.open(target, "w", format=encoder.container, options=options) as finished:
        finished.metadata.update(tags)
        streams = {stream.index: finished.add_stream_from_template(stream, opaque=True) for stream in recorded.streams}
        for stream in finished.streams.video:
            stream.codec_context.codec_tag = CODEC_TAGS.get(encoder.codec, stream.codec_context.codec_tag)
        copied: dict[str, StreamTotals] = {}
        for packet in _packets(recorded):
            _count(copied, packet)
            packet.stream = streams[packet.stream.index]
            finished.mux(packet)
    return copied


def stream_totals(path: str) -> dict[str, StreamTotals]:
    """What can be read back of every stream, by its type."""
    found: dict[str, StreamTotals] = {}
    with av.open(path) as container:
        for packet in _packets(container):
            _count(found, packet)
    return found


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet[Any]]:
    """The packets that hold something; the demuxer ends every stream with an empty one."""
    return (packet for packet in container.demux() if packet.size)


def _count(found: dict[str, StreamTotals], packet: av.Packet[Any]) -> None:
    """Adds a packet to the totals of its stream."""
    before = found.get(packet.stream.type, StreamTotals(0, 0))
    found[packet.stream.type] = StreamTotals(before.packets + 1, before.size_bytes + packet.size)
