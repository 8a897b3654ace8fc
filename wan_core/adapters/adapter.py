"""A loaded identity adapter: one network with up to four parts, and what is known of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..weights import Factory, Operations
from .lynx import LynxIp, LynxIpParams, LynxRef, LynxRefParams
from .resampler import Resampler, ResamplerParams
from .stand_in import StandIn, StandInParams


@dataclass(frozen=True, slots=True)
class AdapterParams:
    """The sizes of an adapter's parts; None for a part that it does not have."""

    ip: LynxIpParams | None = None
    resampler: ResamplerParams | None = None  # there whenever ip is
    ref: LynxRefParams | None = None
    stand_in: StandInParams | None = None


class AdapterNetwork(nn.Module):
    """The parts of an adapter; None for a part that it does not have."""

    def __init__(self, params: AdapterParams, *, operations: Operations, **factory: Factory) -> None:
        super().__init__()
        self.params = params
        ip, resampler, ref, stand_in = params.ip, params.resampler, params.ref, params.stand_in
        self.ip = LynxIp(ip, operations=operations, **factory) if ip else None
        self.resampler = Resampler(resampler, operations=operations, **factory) if resampler else None
        self.ref = LynxRef(ref, operations=operations, **factory) if ref else None
        self.stand_in = StandIn(stand_in, operations=operations, **factory) if stand_in else None


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What a lock needs to know of the weights that it puts into a Wan model."""

    network: AdapterNetwork = field(repr=False)
    # how the host loads the network; the host must find it alive as long as the network is
    patcher: Any = field(repr=False)
    width_d: int  # of the Wan model that it fits
    blocks: tuple[int, ...]  # of the Wan model that any part acts in, ascending
    names: tuple[str, ...]  # weight files, as the user selected them
    content_sha256: str  # of all files together
    space_sha256: str | None  # weight file of the recogniser that it was trained with; None when its files do not say
    stand_in_expert: str | None  # "high" or "low", the expert that the Stand-In file says it is for
    label: str  # kinds and sizes, one line for a person
