"""A loaded identity adapter: one network with up to four parts, and what is known of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..weights import Factory, Operations
from .lynx import LynxIp, LynxIpShape, LynxRef, LynxRefShape
from .resampler import Resampler, ResamplerShape
from .stand_in import StandIn, StandInShape


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """The sizes of an adapter's parts; None for a part that it does not have."""

    ip: LynxIpShape | None = None
    resampler: ResamplerShape | None = None  # there whenever ip is
    ref: LynxRefShape | None = None
    stand_in: StandInShape | None = None


class AdapterNetwork(nn.Module):
    """The parts of an adapter; None for a part that it does not have."""

    def __init__(self, shape: AdapterShape, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.shape = shape
        parts = {"operations": operations, **factory}
        self.ip = LynxIp(shape.ip, **parts) if shape.ip else None
        self.resampler = Resampler(shape.resampler, **parts) if shape.resampler else None
        self.ref = LynxRef(shape.ref, **parts) if shape.ref else None
        self.stand_in = StandIn(shape.stand_in, **parts) if shape.stand_in else None


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What IDLock needs to know of the weights that it puts into a Wan model."""

    network: AdapterNetwork
    patcher: Any  # how the host loads the network; the host must find it alive as long as the network is
    width_d: int  # of the Wan model that it fits
    blocks: tuple[int, ...]  # of the Wan model that any part acts in, ascending
    names: tuple[str, ...]  # weight files, as the user picked them
    content_sha256: str  # of all files together
    space_sha256: str | None  # weight file of the recogniser that it was trained with; None when its files do not say
    stand_in_expert: str | None  # "high" or "low", the expert that the Stand-In file says it is for
    label: str  # kinds and sizes, one line for a person
