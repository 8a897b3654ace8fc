"""What a guider of the host is given, what it prepares for its sampler, and how to get hold of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

ModelOptions = dict[str, Any]
OnStep = Callable[[int, Tensor, Tensor, int], None]  # step, denoised, x, steps


class Guider(Protocol):
    """What a run needs of a guider of the host."""

    model_patcher: Any
    inner_model: Any
    cfg: float

    def sample(
        self,
        noise: Tensor,
        latent_image: Tensor,
        sampler: Any,
        sigmas: Tensor,
        denoise_mask: Tensor | None,
        callback: OnStep | None,
        disable_pbar: bool,
        seed: int | None,
    ) -> Tensor: ...

    def __call__(self, x: Tensor, sigma: Tensor, model_options: ModelOptions, seed: int | None) -> Tensor: ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What one run of the sampler is given beside its schedule."""

    noise: Tensor  # b c t h w
    latent_image: Tensor  # b c t h w
    sampler: Any
    denoise_mask: Tensor | None
    seed: int | None
    on_step: OnStep | None
    disable_pbar: bool
    discarder: str | None = None  # the sampler, if the host leaves a sigma out of the schedules that it makes for it


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What a guider hands to its sampler once its model, conditioning and wrappers are ready."""

    guider: Guider
    sigmas: Tensor  # steps + 1
    extra_args: dict[str, Any]
    model_options: ModelOptions  # those of extra_args, which the sampler may replace there
    callback: OnStep | None
    noise: Tensor  # b c t h w
    latent_image: Tensor | None  # b c t h w
    denoise_mask: Tensor | None
    disable_pbar: bool


@dataclass(frozen=True, slots=True)
class SetupCapture:
    """Stands in for a sampler: passes the guider's setup on instead of sampling."""

    then: Callable[[Setup], Tensor]

    def sample(
        self,
        model_wrap: Guider,
        sigmas: Tensor,
        extra_args: dict[str, Any],
        callback: OnStep | None,
        noise: Tensor,
        latent_image: Tensor | None = None,
        denoise_mask: Tensor | None = None,
        disable_pbar: bool = False,
    ) -> Tensor:
        return self.then(
            Setup(
                model_wrap,
                sigmas,
                extra_args,
                extra_args["model_options"],
                callback,
                noise,
                latent_image,
                denoise_mask,
                disable_pbar,
            )
        )
