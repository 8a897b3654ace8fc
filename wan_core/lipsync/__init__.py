"""Whether the lips of a face move with the sound: ``check`` is the way in."""

from .checking import LipSyncRequest, LipSyncResult, check
from .network import SyncNet, build_syncnet
from .report import describe, plot
from .score import MODES, Mode, SyncScore

__all__ = [
    "MODES",
    "LipSyncRequest",
    "LipSyncResult",
    "Mode",
    "SyncNet",
    "SyncScore",
    "build_syncnet",
    "check",
    "describe",
    "plot",
]
