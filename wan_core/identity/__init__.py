"""Who a person is: face alignment, the recogniser, and the identity record.

``encode`` makes an identity of pictures, ``check`` measures how well identities were kept in clips.
"""

from .check import CheckRequest, CheckResult, check
from .combine import COMBINE_METHODS
from .encoding import EncodeRequest, EncodeResult, encode
from .likeness.verdict import Limits
from .recogniser import Recogniser, ir_recogniser, iresnet_recogniser
from .record import Identity
from .report import describe
from .selection import LARGEST_INDEX, SELECTION_METHODS, FaceSelection
from .sources import AlignedCrops, Detector, FaceSource, FoundFaces, GivenLandmarks, WholePicture, detect_and_align

__all__ = [
    "COMBINE_METHODS",
    "LARGEST_INDEX",
    "SELECTION_METHODS",
    "AlignedCrops",
    "CheckRequest",
    "CheckResult",
    "Detector",
    "EncodeRequest",
    "EncodeResult",
    "FaceSelection",
    "FaceSource",
    "FoundFaces",
    "GivenLandmarks",
    "Identity",
    "Limits",
    "Recogniser",
    "WholePicture",
    "check",
    "describe",
    "detect_and_align",
    "encode",
    "ir_recogniser",
    "iresnet_recogniser",
]
