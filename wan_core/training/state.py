"""What a fit is at one step: enough to go on from it, as tensors and text that a file can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from torch import Tensor

from ..errors import InputError
from ..weights import StateDict, difference

WEIGHTS, AVERAGED, OPTIMISER = "weights.", "averaged.", "optimiser."  # begin the names of tensors in a file
PARTS = (WEIGHTS, AVERAGED, OPTIMISER)
FIT_KEY = "wancast_fit"  # in a file's metadata: the step and the curve


@dataclass(frozen=True, slots=True)
class Report:
    """What a fit did in the steps since the report before."""

    step: int  # updates that are done
    losses: Mapping[str, float]  # means over these steps
    learning_rate: float
    gradient_norm: float  # before it was clipped, mean over these steps


@dataclass(frozen=True, slots=True, eq=False)
class FitState:
    """A fit after some steps; frozen weights are not in it."""

    step: int  # updates that are done
    weights: StateDict = field(repr=False)  # trained parameters, and buffers
    averaged: StateDict = field(repr=False)  # the same, an exponential moving average
    optimiser: StateDict = field(repr=False)
    curve: tuple[Report, ...] = field(repr=False)

    def tensors(self) -> StateDict:
        """All tensors by the names that they have in a file."""
        parts = zip(PARTS, (self.weights, self.averaged, self.optimiser), strict=True)
        return {f"{part}{key}": value for part, tensors in parts for key, value in tensors.items()}

    def metadata(self) -> dict[str, str]:
        """What is no tensor, as the metadata of a safetensors file."""
        return {FIT_KEY: json.dumps({"step": self.step, "curve": [asdict(report) for report in self.curve]})}

    @classmethod
    def of_file(cls, tensors: StateDict, metadata: Mapping[str, str]) -> FitState:
        """The state that ``tensors`` and ``metadata`` gave; raises InputError for the content of another file."""
        strange = [key for key in tensors if not key.startswith(PARTS)]
        if strange or FIT_KEY not in metadata:
            raise InputError(
                "state",
                found="a file that is not the state of a training",
                wanted="one that this command wrote",
                fix="Name the right file, or another one to begin anew.",
            )
        facts = json.loads(metadata[FIT_KEY])
        weights, averaged, optimiser = (
            {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)} for part in PARTS
        )
        return cls(facts["step"], weights, averaged, optimiser, tuple(Report(**report) for report in facts["curve"]))


def require_same(found: StateDict, wanted: Mapping[str, Tensor]) -> None:
    """Raises InputError unless a state is of this network: the same names and shapes."""
    if problem := difference(found, dict(wanted)):
        raise InputError(
            "state",
            found=f"the state of another network ({problem})",
            wanted="that of the one that is trained",
            fix="Name the right file, or another one to begin anew.",
        )
