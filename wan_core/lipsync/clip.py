"""A clip in the form that SyncNet was trained on: 25 fps, 224x224, BGR, 0 to 255; 13 cepstra every 10 ms."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..checks import checked_fps
from ..errors import InputError
from ..media.sound import checked_sound, mono_at
from .mfcc import RATE_HZ, mfcc, to_int16_scale
from .network import FRAMES_SEEN

TICKS_PER_S = 25
SAMPLES_PER_TICK = RATE_HZ // TICKS_PER_S
SIDE_PX = 224
CEPSTRA_PER_TICK = 4
CEPSTRA_SEEN = FRAMES_SEEN * CEPSTRA_PER_TICK
SHORTEST_TICKS = FRAMES_SEEN + 1  # the reference leaves the last window out, so this many make one
SHORTEST_S = SHORTEST_TICKS / TICKS_PER_S
SILENCE_DB = -80.0
RANGE_TOLERANCE = 0.05  # overshoot that resampling filters leave
assert SAMPLES_PER_TICK * TICKS_PER_S == RATE_HZ


@dataclass(frozen=True, slots=True)
class Clip:
    """Face crops and their sound, and the windows of 0.2 s that are scored."""

    frames: Tensor  # f h w 3 in [0, 1]
    fps: Fraction
    samples: Tensor  # s at 16 kHz in [-1, 1]
    sources: Tensor  # k: the frame on screen at every tick, a 25th of a second
    windows: int  # n: one starts at each of the first ticks


def checked_clip(frames: object, fps: object, audio: object) -> Clip:
    """The clip of an IMAGE batch and the host's AUDIO; raises InputError for what cannot be scored."""
    pictures, rate = _checked_frames(frames), checked_fps(fps)
    samples = mono_at(checked_sound(audio), RATE_HZ)  # s
    sources = tick_sources(len(pictures), rate)  # k
    if len(sources) < SHORTEST_TICKS:
        raise InputError(
            "frames",
            found=f"{len(pictures)} at {float(rate):g} fps ({len(sources)} at {TICKS_PER_S} fps)",
            wanted=f"at least {SHORTEST_TICKS} at {TICKS_PER_S} fps ({SHORTEST_S:.2f} s)",
            fix="Use a longer clip; 2 s and more give a sure verdict.",
        )
    _require_speech(samples)
    windows = min(len(sources), len(samples) // SAMPLES_PER_TICK) - FRAMES_SEEN  # as many as the reference scores
    return Clip(pictures, rate, samples, sources, windows)


def _checked_frames(frames: object) -> Tensor:
    """An IMAGE batch, f h w 3, with finite values from 0 to 1."""
    if not isinstance(frames, Tensor) or frames.ndim != 4 or frames.shape[-1] != 3 or frames.numel() == 0:
        found = f"shape {list(frames.shape)}" if isinstance(frames, Tensor) else type(frames).__name__
        raise InputError(
            "frames",
            found=found,
            wanted="RGB pictures [frames, height, width, 3], or a VIDEO",
            fix="Link face crops; remove an alpha channel first.",
        )
    bad = next((index for index, frame in enumerate(frames) if not torch.isfinite(frame).all()), None)
    if bad is not None:
        fix = "Decode the video again; a NaN often comes from a VAE in half precision."
        raise InputError("frames", found=f"NaN or infinity in frame {bad}", wanted="finite pixels", fix=fix)
    low, high = (float(value) for value in frames.aminmax())
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise InputError(
            "frames",
            found=f"pixels from {low:.3g} to {high:.3g}",
            wanted="pixels from 0 to 1",
            fix="Link an IMAGE as loaders and VAE Decode make it; divide pixels from 0 to 255 by 255.",
        )
    return frames


def _require_speech(samples: Tensor) -> None:
    """Raises InputError for sound that is shorter than one window, or silent: lip sync does not apply to silence."""
    if len(samples) < SHORTEST_TICKS * SAMPLES_PER_TICK:
        found, wanted = f"{len(samples) / RATE_HZ:.3f} s", f"at least {SHORTEST_S:.2f} s"
        fix = "Use the sound of the whole clip; 2 s and more give a sure verdict."
        raise InputError("audio", found=found, wanted=wanted, fix=fix)
    level_db = float(20 * torch.log10(samples.std(correction=0)))
    if level_db < SILENCE_DB:
        fix = "Lip sync does not apply without sound."
        raise InputError("audio", found=f"silence ({level_db:.0f} dB)", wanted="speech", fix=fix)


# Pictures


def tick_sources(frames: int, fps: Fraction) -> Tensor:
    """The frame on screen in the middle of every 25th of a second: k, int64."""
    halves_per_s = 2 * TICKS_PER_S * fps.denominator  # tick centres are the odd half ticks
    last_half = (halves_per_s * frames - 1) // fps.numerator
    return torch.arange(1, last_half + 1, 2, dtype=torch.int64) * fps.numerator // halves_per_s  # k


def lip_input(frames: Tensor) -> Tensor:
    """Resizes RGB pictures bilinearly, as the reference does: k h w 3 in [0, 1] -> 1 3 k 224 224, BGR, 0 to 255."""
    pixels = frames.movedim(-1, 1).float().flip(1) * 255  # k 3 h w
    if pixels.shape[-2:] != (SIDE_PX, SIDE_PX):
        pixels = torch.nn.functional.interpolate(pixels, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
    return pixels.movedim(1, 0).unsqueeze(0)  # 1 3 k h w


# Sound


def audio_windows(samples: Tensor, count: int) -> Tensor:
    """0.2 s of cepstra from the start of each of the first ``count`` ticks: s at 16 kHz in [-1, 1] -> n 1 13 20."""
    cepstra = mfcc(to_int16_scale(samples)).float()  # k 13
    return cepstra.unfold(0, CEPSTRA_SEEN, CEPSTRA_PER_TICK)[:count].unsqueeze(1)  # n 1 13 20
