"""The causal cache of a running decode: one local object of known size, from which the modules know nothing.

Every 3-D convolution of a Wan decoder looks at two frames before the present one (Wan-Video/Wan2.2, wan/modules/
vae2_1.py and vae2_2.py). Here each has a store of exactly two frames, which is written over in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

PAST_FRAMES = 2
RAM = torch.device("cpu")


def room_for_past(frame: Tensor, device: torch.device, *, pinned: bool) -> Tensor:
    """Empty memory for two frames like this one, p b c 1 h w. Of pinned memory torch takes the next power of two."""
    return torch.empty((PAST_FRAMES, *frame.shape), dtype=frame.dtype, device=device, pin_memory=pinned)


class DecoderCache:
    """The two input frames before the present one, for each convolution of one clip or of one tile of it.

    It has its full size from the second latent frame on, however long the clip. Parked, it lies in RAM (pinned, where
    the device is a CUDA one); a convolution then reads its two frames from there, and its newest goes there. Fetched,
    it keeps its places in RAM, so that it takes them once however often it moves.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._parked = False
        self._pasts: dict[Any, list[Tensor]] = {}  # convolution -> the older and the newer frame, each b c 1 h w
        self._places: dict[Any, Tensor] = {}  # convolution -> room in RAM for its two frames, p b c 1 h w
        self.begun: set[Any] = (
            set()
        )  # what doubles frames in time and has let the clip's first pass, which stays single

    def window(self, conv: Any, x: Tensor) -> Tensor | None:
        """A convolution's two past frames and then ``x`` (b c 1 h w), as b c 3 h w; ``x`` becomes its newest frame.

        None for the clip's first frame, which has no past; after it, zeros stand for the frame before.
        """
        past = self._pasts.get(conv)
        if past is None:
            self._pasts[conv] = self._copies(conv, [torch.zeros_like(x), x])
            return None
        b, c, _, h, w = x.shape
        window = x.new_empty(b, c, PAST_FRAMES + 1, h, w)
        for place, frame in zip(window.split(1, dim=2), [*past, x], strict=True):
            place.copy_(frame, non_blocking=self._is_pinned)
        past[0].copy_(x, non_blocking=self._is_pinned)
        past.reverse()
        return window

    def move(self, *, parked: bool) -> None:
        """Moves the frames to RAM, and those to come as well, or back to the device."""
        if parked == self._parked:
            return
        self._parked = parked
        if self._device != RAM:  # a CPU has them where they are wanted
            for conv, past in self._pasts.items():
                past[:] = self._copies(conv, past)

    def release(self) -> None:
        """Frees everything; the cache is a new one then."""
        self._pasts.clear()
        self._places.clear()
        self.begun.clear()

    @property
    def _is_pinned(self) -> bool:
        """Copies to and from pinned memory keep the order of the CUDA stream, so nothing has to wait for them."""
        return self._parked and self._device.type == "cuda"

    def _copies(self, conv: Any, past: Sequence[Tensor]) -> list[Tensor]:
        """Copies of a convolution's two frames where the cache lies."""
        if not self._parked:
            rooms = room_for_past(past[0], self._device, pinned=False)
        elif conv in self._places:
            rooms = self._places[conv]
        else:
            rooms = self._places[conv] = room_for_past(past[0], RAM, pinned=self._is_pinned)
        in_order = self._device.type == "cuda"
        return [room.copy_(frame, non_blocking=in_order) for room, frame in zip(rooms, past, strict=True)]
