"""A clip and its sound through SyncNet: how far lips and sound are apart, and how surely that can be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction

import torch

from ..checks import require_choice
from ..notes import Note
from .clip import TICKS_PER_S, Clip, checked_clip
from .embed import embed
from .network import SyncNet
from .score import MODES, SURE_S, Mode, SyncScore, score

RESAMPLED = Note(
    "resampled_frames", f"frames were repeated or left out to make {TICKS_PER_S} fps, that of published scores"
)
TOO_SHORT = Note("too_short", f"under {SURE_S} s offset and confidence are unsure, so the clip does not pass")


@dataclass(frozen=True, slots=True, eq=False)
class LipSyncRequest:
    """A talking face and its sound that can be scored; ``of`` makes one of what comes in."""

    clip: Clip
    mode: Mode

    @classmethod
    def of(
        cls,
        frames: object,  # crops of one face: IMAGE, f h w 3 in [0, 1], or a VideoSource, open until it is scored
        fps: float | Fraction,
        audio: object,  # the host's AUDIO: a mapping with 'waveform', 1 c s, and 'sample_rate'; None: the film's own
        mode: Mode = "robust",
    ) -> LipSyncRequest:
        """Raises InputError for what cannot be scored."""
        require_choice(mode, MODES, name="mode")
        return cls(checked_clip(frames, fps, audio), mode)


@dataclass(frozen=True, slots=True, eq=False)
class LipSyncResult:
    """How well lips and sound agree."""

    clip: Clip  # what was looked at
    score: SyncScore  # verdict, numbers and curve
    notes: tuple[Note, ...]


@contextmanager
def _where_it_is(network: SyncNet) -> Iterator[torch.device]:
    """Leaves a network on the device that it is on."""
    yield next(network.parameters()).device


def check(
    request: LipSyncRequest,
    network: SyncNet,
    *,
    on_device: Callable[[SyncNet], AbstractContextManager[torch.device]] = _where_it_is,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> LipSyncResult:
    """Scores the lip sync of a face as Chung and Zisserman do.

    ``on_device`` holds the network on the device that it gives while the block runs; ``progress`` is told how many
    windows there are, and what it gives, how many are done.
    """
    clip = request.clip
    with on_device(network) as device:
        lips, sounds = embed(network, clip, device, progress(2 * clip.windows))  # n d, n d
    scored = score(lips, sounds, request.mode)
    applies = {RESAMPLED: clip.fps != TICKS_PER_S, TOO_SHORT: not scored.long_enough}
    return LipSyncResult(clip, scored, tuple(note for note, is_so in applies.items() if is_so))
