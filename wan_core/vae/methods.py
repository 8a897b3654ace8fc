"""Ways to decode one clip: the same frames come out of each, up to rounding; they differ in memory and in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeMethod:
    """In which order the decoder's work is done, and where what it remembers lies."""

    one_frame: bool = False  # after each temporal upsampling, stages take one frame at a time; else as the host's loop
    rows: int = 1  # spatial tiles, one below the other, of the part after the middle block
    columns: int = 1  # the same, side by side; 1 x 1 is the whole frame
    segment_latents: int = 1  # latent frames that a tile decodes before the next tile takes over
    cache_in_ram: bool = False  # the causal caches that are not in use wait in RAM

    @property
    def is_tiled(self) -> bool:
        return self.rows * self.columns > 1


HOST_SCHEDULE = DecodeMethod()
ONE_FRAME = DecodeMethod(one_frame=True)
PARKED_CACHE = DecodeMethod(one_frame=True, cache_in_ram=True)
