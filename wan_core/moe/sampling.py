"""One sampling run over two or three experts: the front door of this package.

The rule of the switch is that of Wan-Video/Wan2.2: one schedule, one noise and one solver serve all experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..checks import require_choice
from ..notes import Note
from .advice import notes_on_run
from .experts import Expert, ExpertTally
from .inputs import require_finite
from .policy import POLICIES
from .route import MergeOptions, Route, sample_once
from .schedule import Schedule
from .setup import Job
from .split import boundary_after_start
from .switch import Switch, boundary_at


@dataclass(frozen=True, slots=True, eq=False)
class SampleRequest:
    """What is sampled, by which experts, and where they change."""

    experts: tuple[Expert, ...]  # high noise first; the first of three takes the first steps
    switch: Switch  # where the high-noise expert hands over to the low-noise expert
    schedule: Schedule
    policy: str  # one of POLICIES
    job: Job
    start_steps: int = 0  # how many steps the first of three experts takes


@dataclass(frozen=True, slots=True, eq=False)
class SampleResult:
    """The sampled latent, and what was done, in the experts' order."""

    latent: Tensor  # b c t h w
    names: tuple[str, ...]
    sigma_mins: tuple[float, ...]  # the lowest sigma of each expert; the last one takes the rest
    sigmas: tuple[float, ...]  # the schedule that was run
    policy: str
    tallies: tuple[ExpertTally, ...]
    notes: tuple[Note, ...]


def sample(
    request: SampleRequest,
    *,
    merge_options: MergeOptions = lambda own, base, given: own,
    clock_s: Callable[[], float] = lambda: 0.0,
    on_note: Callable[[Note], None] = lambda note: None,
) -> SampleResult:
    """Denoises a latent with several experts as one run of one sampler.

    ``merge_options`` makes an expert's own model options and what the sampler added to the first expert's one;
    ``on_note`` hears each note before the run begins. Raises InputError when the parts do not fit each other, when an
    expert or the sampler returns NaN, or when the sampler does not fit the policy.
    """
    require_choice(request.policy, POLICIES, name="policy")
    params = [expert.params for expert in request.experts]
    whole = request.schedule.sigmas.tolist()
    boundary_sigma = boundary_at(request.switch, whole, params[-2])
    sigma_mins: tuple[float, ...] = (boundary_sigma, 0.0)
    if len(request.experts) == 3:
        sigma_mins = (boundary_after_start(request.start_steps, whole, boundary_sigma), *sigma_mins)
    part = request.schedule.part()
    sigmas = tuple(part.tolist())
    notes = notes_on_run(params, sigmas, boundary_sigma, request.job.discarder)
    for note in notes:
        on_note(note)
    route = Route(request.experts, sigma_mins, request.policy, merge_options, clock_s)
    latent, tallies = sample_once(route, request.job, part)
    require_finite(latent)
    names = tuple(expert.name for expert in request.experts)
    return SampleResult(latent, names, sigma_mins, sigmas, request.policy, tallies, notes)
