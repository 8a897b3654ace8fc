"""Two experts of Wan2.2 sampled as one run: ``sample`` takes a request and returns the latent and what was done."""

from .experts import Conditions, Expert, ExpertParams, ExpertTally
from .policy import POLICIES
from .report import describe, describe_schedule, plot
from .sampling import SampleRequest, SampleResult, sample
from .schedule import SPACINGS, Schedule, exact_schedule
from .setup import Job
from .switch import MOST_STEPS, UNITS_OF_SIGMAS, Switch, switch_of

__all__ = [
    "MOST_STEPS",
    "POLICIES",
    "SPACINGS",
    "UNITS_OF_SIGMAS",
    "Conditions",
    "Expert",
    "ExpertParams",
    "ExpertTally",
    "Job",
    "SampleRequest",
    "SampleResult",
    "Schedule",
    "Switch",
    "describe",
    "describe_schedule",
    "exact_schedule",
    "plot",
    "sample",
    "switch_of",
]
