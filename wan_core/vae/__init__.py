"""Decoding of Wan video latents: ``decode`` is the way in."""

from .decoding import DecodeResult, LoadedVae, decode
from .memory import FreeMemory
from .pixels import uint8_frames
from .plan import MOST_TILES_EACH_WAY, DecodePlan, Tiling
from .report import describe
from .request import DecodeRequest, tiling_of

__all__ = [
    "MOST_TILES_EACH_WAY",
    "DecodePlan",
    "DecodeRequest",
    "DecodeResult",
    "FreeMemory",
    "LoadedVae",
    "Tiling",
    "decode",
    "describe",
    "tiling_of",
    "uint8_frames",
]
