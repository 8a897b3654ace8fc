"""Which encoder writes a video: named, checked and tried out before any work begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import numpy
from av.video.reformatter import VideoReformatter

from ..errors import InputError, quoted
from .colour import FFV1_RGB, ReusablePicture, encodable, tag
from .threads import ordinary_threads, x264_threads

CODECS = ("h264", "hevc", "av1", "prores", "ffv1")
CHOICES = ("software", "hardware")
WORST_QUALITY = 51  # the end of x264's crf scale
AV1_WORST_QUALITY = 63
CONTAINERS = {"prores": "mov", "ffv1": "mkv"}  # all others: mp4
SIDE_LIMIT_PX = {"h264": 4096}  # the largest side of any H.264 level that players support
BITS_PER_PIXEL = {"h264": 0.4, "hevc": 0.4, "av1": 0.4, "prores": 4.5, "ffv1": 17.0}  # grainy 720P, quality 18
ESTIMATE_QUALITY, HALVING_STEPS = 18, 6  # six steps of crf halve the bits
REORDERED_FRAMES = 3  # x265 invents the decoding times of clips shorter than this, unless they have no B-frames
LARGEST_RATE = 2**31 - 1  # FFmpeg holds a rate as two 32-bit integers

Options = Callable[[int], dict[str, str]]


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What the user asks for."""

    codec: str = "h264"  # one of CODECS
    quality: int = 18  # 0 (best) to 51, x264's crf, translated for the others; prores and ffv1 do not use it
    encoder: str = "software"  # one of CHOICES; hardware takes a hardware encoder that works, else software


@dataclass(frozen=True, slots=True)
class VideoEncoder:
    """One encoder, set up for one size and rate; ``encoder_for`` has seen it encode."""

    name: str  # FFmpeg's name of it
    codec: str  # one of CODECS
    container: str  # "mp4", "mov" or "mkv", also the file's extension
    pixel_format: str
    options: tuple[tuple[str, str], ...]
    width: int  # pixels
    height: int  # pixels
    fps: Fraction
    bits_per_pixel: float  # estimated size of the file
    summary: str  # one line for the user: what encodes, and why it is not hardware where that was wanted


@dataclass(frozen=True, slots=True)
class Candidate:
    """One encoder of FFmpeg and how it is told the quality."""

    name: str
    pixel_format: str
    options: Options  # quality -> options


# Encoders


def _av1_quality(quality: int) -> str:
    """The same place on AV1's scale, whose end is 63; 0 would mean "choose yourself"."""
    return str(max(1, round(quality * AV1_WORST_QUALITY / WORST_QUALITY)))


def _nvenc(quality: str) -> dict[str, str]:
    return {"preset": "p5", "rc": "vbr", "cq": quality}


def _quick_sync(quality: int) -> dict[str, str]:
    return {"preset": "medium", "global_quality": str(max(1, quality))}


def _video_toolbox(quality: int) -> dict[str, str]:
    """Its scale ends at 100, best, and is counted in FFmpeg's lambda units of 118."""
    return {"flags": "+qscale", "global_quality": str(118 * round(100 - 99 * quality / WORST_QUALITY))}


SOFTWARE = {
    "h264": Candidate("libx264", "yuv420p", lambda quality: {"preset": "medium", "crf": str(quality)}),
    "hevc": Candidate(
        "libx265",
        "yuv420p",
        lambda quality: {"preset": "medium", "crf": str(quality), "x265-params": "open-gop=0:log-level=error"},
    ),
    "av1": Candidate("libsvtav1", "yuv420p", lambda quality: {"preset": "8", "crf": _av1_quality(quality)}),
    "prores": Candidate("prores_ks", "yuv422p10le", lambda quality: {"profile": "hq", "vendor": "apl0"}),
    "ffv1": Candidate("ffv1", FFV1_RGB, lambda quality: {"level": "3", "slicecrc": "1"}),
}
HARDWARE = {
    "h264": (
        Candidate("h264_nvenc", "yuv420p", lambda quality: _nvenc(str(max(1, quality)))),
        Candidate("h264_qsv", "nv12", _quick_sync),
        Candidate("h264_videotoolbox", "yuv420p", _video_toolbox),
    ),
    "hevc": (
        Candidate("hevc_nvenc", "yuv420p", lambda quality: _nvenc(str(max(1, quality)))),
        Candidate("hevc_qsv", "nv12", _quick_sync),
        Candidate("hevc_videotoolbox", "yuv420p", _video_toolbox),
    ),
    "av1": (
        Candidate("av1_nvenc", "yuv420p", lambda quality: _nvenc(_av1_quality(quality))),
        Candidate("av1_qsv", "nv12", _quick_sync),
    ),
}


# Checks


def _require_format(format: VideoFormat) -> None:
    """Raises InputError for a choice that there is not."""
    for name, found, known in (("codec", format.codec, CODECS), ("encoder", format.encoder, CHOICES)):
        if found not in known:
            raise InputError(name, found=quoted(found), wanted=f"one of {', '.join(known)}", fix="Choose one of them.")
    if not 0 <= format.quality <= WORST_QUALITY:
        raise InputError(
            "quality",
            found=format.quality,
            wanted=f"a whole number from 0 (best) to {WORST_QUALITY}",
            fix="Take 18, which looks like the original, or 23 for smaller files.",
        )


def _require_picture(codec: str, width: int, height: int, fps: Fraction) -> None:
    """Raises InputError for a size or a rate that the codec cannot hold."""
    found = f"{width} x {height}"
    if width < 1 or height < 1:
        raise InputError("size", found=found, wanted="at least one pixel", fix="Check the crop before this node.")
    even = {"h264": (width, height), "hevc": (width, height), "av1": (width, height), "prores": (width,)}
    if any(side % 2 for side in even.get(codec, ())):
        raise InputError(
            "size",
            found=found,
            wanted=f"an even width and height for {codec}, which halves them for the colours",
            fix="Crop or scale by one pixel, or use the codec ffv1.",
        )
    limit = SIDE_LIMIT_PX.get(codec)
    if limit and max(width, height) > limit:
        raise InputError(
            "size", found=found, wanted=f"at most {limit} pixels a side for {codec}", fix="Use the codec hevc or av1."
        )
    if fps <= 0 or max(fps.numerator, fps.denominator) > LARGEST_RATE:
        raise InputError(
            "fps", found=fps, wanted="a rate above 0, as a fraction of 32-bit numbers", fix="Use 16, 24 or 24000/1001."
        )


# Trial


def configure(context: av.VideoCodecContext, encoder: VideoEncoder, frames: int) -> None:
    """Sets up and opens an encoder of FFmpeg for a clip; raises ValueError or FFmpegError when it does not open."""
    context.width, context.height, context.pix_fmt = encoder.width, encoder.height, encoder.pixel_format
    context.framerate, context.time_base = encoder.fps, 1 / encoder.fps
    context.gop_size = 1 if encoder.codec == "ffv1" else max(1, int(encoder.fps))  # a keyframe a second at least
    if frames < REORDERED_FRAMES:
        context.max_b_frames = 0
    context.thread_type = "AUTO"  # PyAV's own choice cuts every picture of x264 into one slice a processor
    if encoder.name == "libx264":  # the others choose well themselves
        context.thread_count = x264_threads(encoder.width * encoder.height)
    tag(context)
    context.options = dict(encoder.options)
    with ordinary_threads():
        context.open()
    if context.options:  # FFmpeg leaves what the encoder does not know
        raise ValueError(f"it has no option {', '.join(context.options)}")


def _trial(encoder: VideoEncoder) -> str | None:
    """Encodes one black frame; returns why that did not work, or None."""
    nothing = numpy.zeros((encoder.height, encoder.width, 3), dtype=numpy.uint8)  # h w 3
    try:
        context = av.CodecContext.create(encoder.name, "w")
        if not isinstance(context, av.VideoCodecContext):
            return "it encodes no video"
        configure(context, encoder, frames=1)
        black = ReusablePicture(encoder.width, encoder.height).paint(nothing)
        picture = encodable(black, encoder.pixel_format, VideoReformatter())
        picture.pts, picture.time_base = 0, context.time_base
        packets = [*context.encode(picture), *context.encode(None)]
    except av.codec.codec.UnknownCodecError:
        return "this PyAV does not have it"
    except av.error.FFmpegError as error:
        return error.strerror
    except ValueError as error:
        return str(error)
    return None if packets else "it encoded nothing"


def _summary(encoder: VideoEncoder, format: VideoFormat, refused: list[str]) -> str:
    """One line: what encodes, at which size, and why not something else."""
    line = f"{encoder.name}: {encoder.codec} in {encoder.container}, {encoder.width} x {encoder.height}"
    if encoder.name == "libx264" and format.quality == 0:
        line += "; quality 0 is lossless H.264 (High 4:4:4 Predictive), which many players cannot open"
    if refused:
        return f"{line}; software, because no hardware encoder works here ({'; '.join(refused)})"
    if format.encoder == "hardware" and encoder.codec not in HARDWARE:
        return f"{line}; software, because {encoder.codec} has no hardware encoder"
    return line


def encoder_for(format: VideoFormat, width: int, height: int, fps: Fraction) -> VideoEncoder:
    """The encoder that will be used, which has just encoded a frame of that size; raises InputError, writes nothing."""
    _require_format(format)
    _require_picture(format.codec, width, height, fps)
    bits = BITS_PER_PIXEL[format.codec]
    if format.codec in HARDWARE:
        bits *= 2 ** ((ESTIMATE_QUALITY - format.quality) / HALVING_STEPS)
    software = SOFTWARE[format.codec]
    hardware = () if format.encoder == "software" else HARDWARE.get(format.codec, ())
    refused: list[str] = []
    for candidate in (*hardware, software):
        encoder = VideoEncoder(
            name=candidate.name,
            codec=format.codec,
            container=CONTAINERS.get(format.codec, "mp4"),
            pixel_format=candidate.pixel_format,
            options=tuple(candidate.options(format.quality).items()),
            width=width,
            height=height,
            fps=fps,
            bits_per_pixel=bits,
            summary="",
        )
        problem = _trial(encoder)
        if problem is None:
            return replace(encoder, summary=_summary(encoder, format, refused if candidate is software else []))
        refused.append(f"{candidate.name}: {problem}")
    raise InputError(
        "codec",
        found=f"no {format.codec} encoder that works at {width} x {height} ({'; '.join(refused)})",
        wanted="one that can encode a frame",
        fix="Choose another codec or size, or install another build of PyAV.",
    )
