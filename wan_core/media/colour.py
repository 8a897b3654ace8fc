"""RGB to the Y'CbCr that video files hold and back: BT.709, limited range, converted and tagged alike.

ITU-R BT.709-6 gives the matrix; ITU-T H.273 gives the code points that stand in the files.
"""

from __future__ import annotations

import av
import numpy
from av.video.reformatter import VideoReformatter
from torch import Tensor

BT709, UNKNOWN, RGB = 1, 2, 0  # code points of H.273 for the matrix; BT709 is also its primaries and its transfer
LIMITED_RANGE, FULL_RANGE = 1, 2
FFV1_RGB = "bgr0"  # how ffv1 takes 8-bit RGB
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}  # code point: PyAV's name
ACCURATE = 2 | 0x40000  # swscale's SWS_BILINEAR and SWS_ACCURATE_RND: without it whole pictures come out a step darker
HD_LINES = 720  # a file that does not name its matrix is taken for BT.709 from this height on, for BT.601 below

Pixels = numpy.ndarray | Tensor


class Canvas:
    """An RGB picture for PyAV that can be painted over again and again, so that no frame needs memory of its own."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = av.VideoFrame(width, height, "rgb24")
        (plane,) = self.picture.planes
        self._pixels = numpy.ndarray((height, width, 3), numpy.uint8, plane, strides=(plane.line_size, 3, 1))  # h w 3

    def paint(self, frame: Pixels) -> av.VideoFrame:
        """The picture with a copy of the uint8 h w 3 pixels."""
        self._pixels[:] = frame.numpy() if isinstance(frame, Tensor) else frame
        return self.picture


def matrix_and_range(pixel_format: str) -> tuple[int, int]:
    """The code points of what a file of ours holds in that pixel format."""
    return (RGB, FULL_RANGE) if pixel_format == FFV1_RGB else (BT709, LIMITED_RANGE)


def tag(context: av.VideoCodecContext) -> None:
    """Names the colours in an encoder that has its pixel format and is not open yet."""
    context.colorspace, context.color_range = matrix_and_range(context.pix_fmt)
    context.color_primaries = context.color_trc = BT709


def encodable(picture: av.VideoFrame, pixel_format: str, reformatter: VideoReformatter) -> av.VideoFrame:
    """The RGB picture in the encoder's pixel format; a reformatter for all frames keeps its tables and threads."""
    if pixel_format == FFV1_RGB:
        converted = reformatter.reformat(picture, format=pixel_format)
    else:
        converted = reformatter.reformat(
            picture, format=pixel_format, dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=ACCURATE
        )
    converted.colorspace, converted.color_range = matrix_and_range(pixel_format)
    return converted


def rgb_pixels(picture: av.VideoFrame) -> numpy.ndarray:
    """The uint8 h w 3 pixels of a decoded picture, by the matrix and the range that it names."""
    if picture.format.is_rgb:
        return picture.reformat(format="rgb24").to_ndarray()
    matrix = picture.colorspace
    if matrix == UNKNOWN:
        matrix = BT709 if picture.height >= HD_LINES else 6
    full = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    source_range = "JPEG" if full else "MPEG"
    planar = picture.reformat(
        format="gbrp", src_colorspace=MATRICES[matrix], src_color_range=source_range, dst_color_range="JPEG",
        interpolation=ACCURATE,
    )  # fmt: skip
    return planar.to_ndarray()  # h w 3
