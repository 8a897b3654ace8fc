"""Training: ``fit`` trains any network, and what identity adapters need for it is beside it."""

from .fitting import MUON, PRECISIONS, FitPlan, LossOf, fit
from .state import FitState, Report

__all__ = ["MUON", "PRECISIONS", "FitPlan", "FitState", "LossOf", "Report", "fit"]
