"""RGB to the Y'CbCr that video files hold and back: BT.709, limited range, converted and tagged alike.

ITU-R BT.709-6 gives the matrix; ITU-T H.273 gives the code points that stand in the files.
"""

from __future__ import annotations

import av
import numpy
from av.video.reformatter import Colorspace, VideoReformatter
from torch import Tensor

from ..errors import InputError

BT709, BT601, RGB = 1, 6, 0  # code points of H.273 for the matrix; BT709 is also its primaries and its transfer
UNNAMED = (RGB, 2, 3)  # unspecified, reserved, and RGB, which a picture of brightness and colour can not be
LIMITED_RANGE, FULL_RANGE = 1, 2
FFV1_RGB = "bgr0"  # how ffv1 takes 8-bit RGB
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}  # code point: PyAV's name
UNSUPPORTED = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "Y'D'zD'x",
    12: "chromaticity-derived",
    13: "chromaticity-derived with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
ACCURATE = 2 | 0x40000  # swscale's SWS_BILINEAR and SWS_ACCURATE_RND: without it whole pictures come out a step darker
SD_WIDTH, SD_LINES = 1279, 576  # players take a picture without a named matrix for BT.601 up to this size, else BT.709

Pixels = numpy.ndarray | Tensor


class ReusablePicture:
    """An RGB picture for PyAV that can be painted over again and again, so that no frame needs memory of its own."""

    def __init__(self, width: int, height: int) -> None:
        self.picture = av.VideoFrame(width, height, "rgb24")
        (plane,) = self.picture.planes
        rows = numpy.frombuffer(memoryview(plane), numpy.uint8).reshape(height, plane.line_size)  # h, padded w*3
        self._pixels = rows[:, : 3 * width].reshape(height, width, 3)  # h w 3

    def paint(self, frame: Pixels) -> av.VideoFrame:
        """The picture with a copy of the uint8 h w 3 pixels."""
        self._pixels[:] = frame.numpy() if isinstance(frame, Tensor) else frame
        return self.picture


def _matrix_and_range(pixel_format: str | None) -> tuple[int, int]:
    """The code points of what a file of ours holds in that pixel format."""
    return (RGB, FULL_RANGE) if pixel_format == FFV1_RGB else (BT709, LIMITED_RANGE)


def tag(context: av.VideoCodecContext) -> None:
    """Names the colours in an encoder that has its pixel format and is not open yet."""
    context.colorspace, context.color_range = _matrix_and_range(context.pix_fmt)
    context.color_primaries = context.color_trc = BT709


def encodable(picture: av.VideoFrame, pixel_format: str, reformatter: VideoReformatter) -> av.VideoFrame:
    """The RGB picture in the encoder's pixel format; a reformatter for all frames keeps its tables and threads."""
    if pixel_format == FFV1_RGB:
        converted = reformatter.reformat(picture, format=pixel_format)
    else:
        converted = reformatter.reformat(
            picture,
            format=pixel_format,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range="MPEG",
            interpolation=ACCURATE,
        )
    converted.colorspace, converted.color_range = _matrix_and_range(pixel_format)
    return converted


def rgb_pixels(picture: av.VideoFrame) -> numpy.ndarray:
    """The uint8 h w 3 pixels of a decoded picture, by the matrix and the range that it names."""
    if picture.format.is_rgb:
        return picture.reformat(format="rgb24").to_ndarray()
    full = picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")
    source_range = "JPEG" if full else "MPEG"
    planar = picture.reformat(
        format="gbrp",
        src_colorspace=_matrix_name(picture.colorspace, picture.width, picture.height),
        src_color_range=source_range,
        dst_color_range="JPEG",
        interpolation=ACCURATE,
    )
    return planar.to_ndarray()  # h w 3


def _matrix_name(code: int, width: int, height: int) -> str:
    """PyAV's name of a matrix by its code point, or by the picture's size; raises InputError for an unknown one."""
    if code in UNNAMED:
        code = BT601 if width <= SD_WIDTH and height <= SD_LINES else BT709
    if code in MATRICES:
        return MATRICES[code]
    raise InputError(
        "frames",
        found=f"colours by the matrix {UNSUPPORTED.get(code, 'without a name')} (H.273 number {code})",
        wanted="those of BT.709, BT.601, BT.2020, FCC or SMPTE 240M",
        fix="Convert the file to BT.709 first.",
    )
