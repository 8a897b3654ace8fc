"""One run of one sampler over several experts.

Each expert's guider sets itself up through the host's whole path, one inside the other; in the middle the real sampler
runs once and sees a router as its model. Multistep history and the noise generator therefore cross the switch, as in
Wan-Video/Wan2.2, where one solver object serves both experts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from .split import is_high

ModelOptions = dict[str, Any]
OnStep = Callable[[int, Tensor, Tensor, int], None]  # step, denoised, x, steps


class Guider(Protocol):
    """What a run needs of a guider of the host."""

    model_patcher: Any
    inner_model: Any
    cfg: float

    def sample(
        self, noise: Tensor, latent_image: Tensor, sampler: Any, sigmas: Tensor, denoise_mask: Tensor | None,
        callback: OnStep | None, disable_pbar: bool, seed: int,
    ) -> Tensor: ...

    def __call__(self, x: Tensor, sigma: Tensor, model_options: ModelOptions, seed: int | None) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Expert:
    """A guider, the noise levels it serves, and how its weights come onto the device."""

    name: str
    guider: Guider
    sigma_min: float  # it serves this sigma and above, below it the next expert
    load: Callable[[], None]  # called each time the run comes to this expert


@dataclass(frozen=True, slots=True)
class Job:
    """What one run of the sampler is given."""

    noise: Tensor  # b c t h w
    latent_image: Tensor  # b c t h w
    sampler: Any
    sigmas: Tensor  # steps + 1
    denoise_mask: Tensor | None
    seed: int
    on_step: OnStep
    disable_pbar: bool


@dataclass(slots=True)
class Tally:
    """What each expert did in a run, in the experts' order."""

    evaluations: list[int]
    loads: list[int]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a guider hands to its sampler once its model, conditioning and wrappers are ready."""

    guider: Guider
    sigmas: Tensor
    extra_args: dict[str, Any]
    model_options: ModelOptions  # those of extra_args, which the sampler may replace there
    callback: OnStep | None
    noise: Tensor
    latent_image: Tensor | None
    denoise_mask: Tensor | None
    disable_pbar: bool


@dataclass(frozen=True, slots=True)
class SetupCapture:
    """Stands in for a sampler: passes the guider's setup on instead of sampling."""

    then: Callable[[Setup], Tensor]

    def sample(
        self, model_wrap: Guider, sigmas: Tensor, extra_args: dict[str, Any], callback: OnStep | None, noise: Tensor,
        latent_image: Tensor | None = None, denoise_mask: Tensor | None = None, disable_pbar: bool = False,
    ) -> Tensor:
        return self.then(
            Setup(
                model_wrap, sigmas, extra_args, extra_args["model_options"], callback,
                noise, latent_image, denoise_mask, disable_pbar,
            )
        )


@dataclass(slots=True)
class Router:
    """The model as the sampler sees it: every evaluation goes to the expert that serves its noise level."""

    experts: Sequence[Expert]
    setups: Sequence[Setup]
    merge_options: Callable[[ModelOptions, ModelOptions, ModelOptions], ModelOptions]
    tally: Tally
    current: int | None = field(default=None)

    @property
    def inner_model(self) -> Any:
        return self.setups[0].guider.inner_model

    @property
    def model_patcher(self) -> Any:
        return self.setups[0].guider.model_patcher

    @property
    def cfg(self) -> float:
        return self.setups[0].guider.cfg

    def __call__(
        self, x: Tensor, sigma: Tensor, model_options: ModelOptions | None = None, seed: int | None = None
    ) -> Tensor:
        index = self.serving(float(sigma.max()))
        if index != self.current:
            self.experts[index].load()
            self.tally.loads[index] += 1
            self.current = index
        self.tally.evaluations[index] += 1
        return self.setups[index].guider(x, sigma, self.options_for(index, model_options or {}), seed)

    def serving(self, sigma: float) -> int:
        """The index of the first expert whose range holds ``sigma``; the last one serves the rest."""
        last = len(self.experts) - 1
        return next((i for i, expert in enumerate(self.experts) if is_high(sigma, expert.sigma_min)), last)

    def options_for(self, index: int, given: ModelOptions) -> ModelOptions:
        """The expert's own options, with what the sampler added to the options that it was handed."""
        if index == 0:
            return given
        return self.merge_options(self.setups[index].model_options, self.setups[0].model_options, given)


def sample_once(
    experts: Sequence[Expert],
    job: Job,
    merge_options: Callable[[ModelOptions, ModelOptions, ModelOptions], ModelOptions],
) -> tuple[Tensor, Tally]:
    """Runs ``job.sampler`` once over all experts, high noise first, and returns the latent and what each expert did.

    ``merge_options(own, base, given)`` gives an expert's ``own`` model options plus what ``given`` has beyond ``base``.
    """
    tally = Tally(evaluations=[0] * len(experts), loads=[0] * len(experts))
    setups: list[Setup] = []

    def enter(setup: Setup) -> Tensor:
        setups.append(setup)
        if len(setups) < len(experts):
            return nest(experts[len(setups)].guider, on_step=None)
        outer = setups[0]
        router = Router(experts, setups, merge_options, tally)
        finished.append(
            job.sampler.sample(
                router, outer.sigmas, outer.extra_args, outer.callback, outer.noise, outer.latent_image,
                outer.denoise_mask, outer.disable_pbar,
            )
        )
        return finished[0]

    def nest(guider: Guider, on_step: OnStep | None) -> Tensor:
        out = guider.sample(
            job.noise, job.latent_image, SetupCapture(enter), job.sigmas, job.denoise_mask, on_step, job.disable_pbar,
            job.seed,
        )
        is_outermost = guider is experts[0].guider
        return out if is_outermost else finished[0]  # an inner guider would apply the latent format a second time

    finished: list[Tensor] = []
    return nest(experts[0].guider, job.on_step), tally
