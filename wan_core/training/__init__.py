"""Training: ``fit`` trains any network by a loss; ``IdentityObjective`` is the loss of an identity adapter.

The adapter is made and written by ``lite_adapter`` and ``lite_file``.
"""

from .examples import ClipExample, ClipSet, CrossClipPairs, Dropout, require_pairs
from .fitting import MUON, PRECISIONS, FitPlan, LossOf, fit
from .lite import LiteSize, lite_adapter, lite_file
from .locked_pass import FrozenExpert
from .losses import Supervisor, require_other_space
from .noise import SigmaRange, range_of
from .objective import IdentityObjective, ObjectivePlan
from .state import FitState, Report

__all__ = [
    "MUON",
    "PRECISIONS",
    "ClipExample",
    "ClipSet",
    "CrossClipPairs",
    "Dropout",
    "FitPlan",
    "FitState",
    "FrozenExpert",
    "IdentityObjective",
    "LiteSize",
    "LossOf",
    "ObjectivePlan",
    "Report",
    "SigmaRange",
    "Supervisor",
    "fit",
    "lite_adapter",
    "lite_file",
    "range_of",
    "require_other_space",
    "require_pairs",
]
