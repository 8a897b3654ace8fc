"""Small clips, and an eye of our own for the files made of them: BT.709 by the formulas of the standard."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy
import torch
from numpy import ndarray

from wan_core.media.encoders import VideoEncoder, VideoFormat, encoder_for
from wan_core.media.sink import VideoSink
from wan_core.media.soundtrack import Soundtrack

FPS = Fraction(16)
RED_SHARE, BLUE_SHARE = 0.2126, 0.0722  # of BT.709's luma
COLOURS = (
    "735244 c29682 627a9d 576c43 8580b1 67bdaa d67e2c 505ba6 c15a63 5e3c6c 9dbc40 e0a32e "
    "383d96 469449 af363c e7c71f bb5695 0885a1 ff0000 00ff00 0000ff ffffff 7a7a79 000000"
)
CHART = [tuple(bytes.fromhex(colour)) for colour in COLOURS.split()]
PATCH_PX = 16


def chart(patch_px: int = PATCH_PX) -> ndarray:
    """Six columns and four rows of flat colours: uint8 h w 3."""
    colours = numpy.array(CHART, dtype=numpy.uint8).reshape(4, 6, 3)
    return colours.repeat(patch_px, axis=0).repeat(patch_px, axis=1)


def noise(frames: int, width: int = 64, height: int = 48) -> list[ndarray]:
    random = numpy.random.default_rng(0)
    return list(random.integers(0, 256, (frames, height, width, 3), dtype=numpy.uint8))


def tone(seconds: float, rate_hz: int = 48000, channels: int = 2) -> Soundtrack:
    time_s = torch.arange(round(seconds * rate_hz)) / rate_hz
    return Soundtrack(torch.sin(2 * torch.pi * 440 * time_s).repeat(channels, 1) / 2, rate_hz)


def encoder(
    codec: str = "h264", width: int = 64, height: int = 48, fps: Fraction = FPS, quality: int = 18
) -> VideoEncoder:
    return encoder_for(VideoFormat(codec, quality, "software"), width, height, fps)


def film(
    folder: Path,
    frames: Sequence[ndarray],
    *,
    codec: str = "h264",
    quality: int = 18,
    fps: Fraction = FPS,
    soundtrack: Soundtrack | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """The frames as a finished file."""
    height, width = frames[0].shape[:2]
    chosen = encoder(codec, width, height, fps, quality)
    with VideoSink(chosen, str(folder), "clip", frames=len(frames), soundtrack=soundtrack, tags=tags) as sink:
        for frame in frames:
            sink.write(frame)
        return Path(sink.finish())


# Reading back without the code under test


def rgb_of(y: ndarray, blue: ndarray, red: ndarray, bits: int) -> ndarray:
    """RGB 0 to 255 of limited-range BT.709: h w 3."""
    scale = 2 ** (bits - 8)
    luma = (y / scale - 16) / 219
    b = luma + 2 * (1 - BLUE_SHARE) * (blue / scale - 128) / 224
    r = luma + 2 * (1 - RED_SHARE) * (red / scale - 128) / 224
    g = (luma - RED_SHARE * r - BLUE_SHARE * b) / (1 - RED_SHARE - BLUE_SHARE)
    return numpy.clip(numpy.stack([r, g, b], axis=-1) * 255, 0, 255)


def planes(picture: av.VideoFrame) -> list[ndarray]:
    """The picture's raw planes."""
    bits = picture.format.components[0].bits
    kind = numpy.uint8 if bits == 8 else numpy.uint16
    rows = [numpy.frombuffer(plane, dtype=kind).reshape(plane.height, -1)[:, : plane.width] for plane in picture.planes]
    return [row.astype(float) for row in rows]


def patch_colours(picture: av.VideoFrame, patch_px: int = PATCH_PX) -> ndarray:
    """What the middle of every patch of the chart shows: 4 6 3."""
    middles = []
    for plane in planes(picture):
        down, across = 4 * patch_px // plane.shape[0], 6 * patch_px // plane.shape[1]  # how far the plane is reduced
        middles.append(plane[patch_px // 2 // down :: patch_px // down, patch_px // 2 // across :: patch_px // across])
    return rgb_of(*middles, picture.format.components[0].bits)


def first_picture(path: Path) -> av.VideoFrame:
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a packet held; PyAV's own must not be touched once its file is closed."""

    kind: str  # "video" or "audio"
    start_s: Fraction
    decode_s: Fraction
    duration_s: Fraction
    is_keyframe: bool
    content: bytes

    @property
    def end_s(self) -> Fraction:
        return self.start_s + self.duration_s


def packets(path: Path, kind: str = "") -> list[Seen]:
    """The packets of a file, or of one kind of stream, in the file's order."""
    with av.open(str(path)) as container:
        return [
            Seen(
                packet.stream.type,
                packet.pts * packet.time_base,
                packet.dts * packet.time_base,
                packet.duration * packet.time_base,
                packet.is_keyframe,
                bytes(packet),
            )
            for packet in container.demux()
            if packet.size and packet.stream.type.startswith(kind)
        ]


def packet_hashes(path: Path, kind: str) -> list[str]:
    return [hashlib.sha256(packet.content).hexdigest() for packet in packets(path, kind)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
