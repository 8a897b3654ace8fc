"""Decodes a Wan latent in memory that does not grow with the clip, and hands out the frames as they finish."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ..notes import Note
from .latent import notes_on
from .memory import FreeMemory, memory_model
from .params import WanVae
from .pixels import NotFiniteError, require_finite
from .plan import DecodePlan, choose_plan
from .request import DecodeRequest
from .stream import stream_frames

Output = TypeVar("Output", covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedVae:
    """A network that can run now."""

    network: WanVae
    device: torch.device  # where it computes
    dtype: torch.dtype  # what it computes in


Load = Callable[[Any, DecodePlan, torch.dtype], AbstractContextManager[LoadedVae]]


@dataclass(frozen=True, slots=True, eq=False)
class DecodeResult(Generic[Output]):
    """What became of the frames, and how they were decoded."""

    output: Output  # what the caller made of the frames
    plan: DecodePlan
    notes: tuple[Note, ...]


@contextmanager
def in_place(network: Any, plan: DecodePlan, dtype: torch.dtype) -> Iterator[LoadedVae]:
    """A network where it is, in another type while it is wanted in that."""
    weight = next(network.parameters())
    own_dtype = weight.dtype
    try:
        yield LoadedVae(network.to(dtype), weight.device, dtype)
    finally:
        network.to(own_dtype)


def decode(
    request: DecodeRequest,
    consume: Callable[[Iterator[Tensor]], Output],
    *,
    memory: Callable[[], FreeMemory] = FreeMemory,
    load: Load = in_place,
) -> DecodeResult[Output]:
    """Decodes clip by clip, by the fastest plan that fits into the memory that is free.

    ``consume`` is given the frames (f h w c, black at -1 and white at 1, finite) a few at a time, each few decoded when
    asked for, and its result is handed on. Where numbers grow too large for fp16 everything is decoded again in fp32:
    ``consume`` is called a second time. Raises InputError when no plan fits, and for frames that are not finite.
    """
    model = memory_model(request.params, request.latent.shape, request.dtype.itemsize)
    plan = choose_plan(model, memory(), request.tiling)
    try:
        with load(request.network, plan, request.dtype) as vae, closing(_finite_frames(request, plan, vae)) as frames:
            return DecodeResult(consume(frames), plan, tuple(notes_on(request.latent)))
    except NotFiniteError as error:
        if request.dtype != torch.float16:
            raise
        text = f"frame {error.frame} was not finite in fp16, so everything was decoded again in fp32"
    again = decode(replace(request, dtype=torch.float32), consume, memory=memory, load=load)
    return replace(again, notes=(Note("decoded_again_in_fp32", text), *again.notes))


def _finite_frames(request: DecodeRequest, plan: DecodePlan, vae: LoadedVae) -> Generator[Tensor, None, None]:
    """The frames of all clips; raises NotFiniteError for the first that is not finite, counted from the first clip."""
    done = 0
    stream = partial(stream_frames, device=vae.device, dtype=vae.dtype, bounded=request.bounded)
    for clip in request.latent:  # z t h w
        for frames in stream(vae.network, clip, request.params, plan.method):
            require_finite(frames, first=done)
            done += len(frames)
            yield frames
            del frames  # before the next are decoded
