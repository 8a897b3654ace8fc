"""Who a person is: face alignment, the recogniser, and the identity record. ``encode`` is the way in."""

from .combine import COMBINE_METHODS
from .encoding import EncodeRequest, EncodeResult, encode
from .recogniser import Recogniser, ir_recogniser, iresnet_recogniser
from .record import Identity
from .report import describe
from .selection import LARGEST_INDEX, SELECTION_METHODS, FaceSelection
from .sources import AlignedCrops, FaceSource, FoundFaces, GivenLandmarks, WholePicture, detect_and_align

__all__ = [
    "COMBINE_METHODS",
    "LARGEST_INDEX",
    "SELECTION_METHODS",
    "AlignedCrops",
    "EncodeRequest",
    "EncodeResult",
    "FaceSelection",
    "FaceSource",
    "FoundFaces",
    "GivenLandmarks",
    "Identity",
    "Recogniser",
    "WholePicture",
    "describe",
    "detect_and_align",
    "encode",
    "ir_recogniser",
    "iresnet_recogniser",
]
