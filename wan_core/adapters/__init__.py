"""Identities in Wan models: adapters from their files, and locks that put an identity into a model."""

from .adapter import Adapter
from .adapter_files import AdapterFile, load_adapter
from .fit import LockableIdentity, ReadPictures, TargetParams
from .locking import LockResult, make_lock
from .report import describe_adapter, describe_lock
from .settings import APPLY_TO, KEPT_AS, LockSettings

__all__ = [
    "APPLY_TO",
    "KEPT_AS",
    "Adapter",
    "AdapterFile",
    "LockResult",
    "LockSettings",
    "LockableIdentity",
    "ReadPictures",
    "TargetParams",
    "describe_adapter",
    "describe_lock",
    "load_adapter",
    "make_lock",
]
