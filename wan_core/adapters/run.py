"""What the passes of one sampling run need to know of it, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..errors import InputError

RUN = "wancast_run"  # in transformer_options


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One sampling run of one model."""

    negative: frozenset[object]  # ids of the conditions that guidance pushes away from
    weights_of: Callable[[], Hashable]  # tells the model's present weights from others
    sigma_of: Callable[[float], float]  # the schedule of the model by percent, 0 is pure noise
    latent_shape: tuple[int, int, int]  # t h w of the whole video
    token_weights: dict[Hashable, list[Tensor | None]] = field(default_factory=dict)  # of masks and frames, made once
    said: set[str] = field(default_factory=set)  # warnings that the log has already


def run_of(transformer_options: dict[str, Any]) -> Run:
    """The run of a pass; raises InputError when the sampler is not one that goes through the host's guiders."""
    if RUN not in transformer_options or not {"sigmas", "uuids"} <= transformer_options.keys():
        raise InputError(
            "model",
            found="a sampler that does not tell which conditioning is the negative one",
            wanted="a sampler that runs through ComfyUI's own guiders",
            fix="Use MoESampler, KSampler or SamplerCustomAdvanced.",
        )
    return transformer_options[RUN]
