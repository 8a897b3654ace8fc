"""A clip in the form that SyncNet was trained on: 25 fps, 224x224, BGR, 0 to 255; 13 cepstra every 10 ms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import repeat

import torch
from torch import Tensor

from ..checks import checked_fps
from ..errors import InputError
from ..media.colour import Pixels
from ..media.sound import Sound, checked_sound, mono_at
from ..media.source import LONGEST_S, SOUND_MARGIN_S, VideoSource, most_frames
from .mfcc import RATE_HZ, mfcc, to_int16_scale
from .network import FRAMES_SEEN

TICKS_PER_S = 25
SAMPLES_PER_TICK = RATE_HZ // TICKS_PER_S
SIDE_PX = 224
CEPSTRA_PER_TICK = 4
CEPSTRA_SEEN = FRAMES_SEEN * CEPSTRA_PER_TICK
SHORTEST_TICKS = FRAMES_SEEN + 1  # the reference leaves the last window out, so this many make one
SHORTEST_S = SHORTEST_TICKS / TICKS_PER_S
SLOWEST_FPS = Fraction(TICKS_PER_S, FRAMES_SEEN)  # a picture in every window
SILENCE_DB = -80.0
RANGE_TOLERANCE = 0.05  # overshoot that resampling filters leave
assert SAMPLES_PER_TICK * TICKS_PER_S == RATE_HZ


@dataclass(frozen=True, slots=True)
class Clip:
    """Face crops and their sound, and the windows of 0.2 s that are scored."""

    pictures: Iterable[Pixels] = field(repr=False)  # each h w 3; those of a film are decoded as they are asked for
    white: float  # the largest value of a pixel; black is 0
    frames: int
    width_px: int
    height_px: int
    fps: Fraction
    samples: Tensor = field(repr=False)  # s at 16 kHz in [-1, 1]
    sources: Tensor = field(repr=False)  # k: the frame on screen at every tick, a 25th of a second
    windows: int  # n: one starts at each of the first ticks


def checked_clip(frames: object, fps: object, audio: object) -> Clip:
    """The clip of an IMAGE batch or a film and the host's AUDIO, for a film without it its own sound.

    Raises InputError for what cannot be scored.
    """
    if isinstance(frames, VideoSource):
        pictures: Iterable[Pixels] = frames
        white, count, width_px, height_px = 255.0, frames.frames, frames.width, frames.height
    else:
        pictures = batch = _checked_frames(frames)
        white, (count, height_px, width_px, _) = 1.0, batch.shape
    rate = checked_fps(fps)
    _require_length(count, rate)
    own = frames.soundtrack() if audio is None and isinstance(frames, VideoSource) else None
    sound = checked_sound(own.as_audio() if own else audio)
    beside = sound.waveform[:, : math.ceil((count / rate + SOUND_MARGIN_S) * sound.rate_hz)]  # c s
    samples = mono_at(Sound(beside, sound.rate_hz), RATE_HZ)  # s
    _require_speech(samples)
    sources = tick_sources(count, rate)  # k
    windows = min(len(sources), len(samples) // SAMPLES_PER_TICK) - FRAMES_SEEN  # as many as the reference scores
    return Clip(pictures, white, count, width_px, height_px, rate, samples, sources, windows)


def _require_length(frames: int, fps: Fraction) -> None:
    """Raises InputError for a clip without a window, for one too long, and for pictures that follow too slowly."""
    if fps < SLOWEST_FPS:
        wanted = f"at least {float(SLOWEST_FPS):g}: a picture in each of the windows of 0.2 s that are scored"
        raise InputError("fps", found=f"{float(fps):g}", wanted=wanted, fix="Set the frame rate of the video.")
    ticks = tick_count(frames, fps)
    found = f"{frames} at {float(fps):g} fps ({ticks} at {TICKS_PER_S} fps)"
    if ticks < SHORTEST_TICKS:
        wanted = f"at least {SHORTEST_TICKS} at {TICKS_PER_S} fps ({SHORTEST_S:.2f} s)"
        fix = "Use a longer clip; 2 s and more give a sure verdict."
        raise InputError("frames", found=found, wanted=wanted, fix=fix)
    if frames > most_frames(fps):
        found = f"more than {most_frames(fps)} at {float(fps):g} fps"
        raise InputError("frames", found=found, wanted=f"at most {LONGEST_S} s", fix="Check a part of it.")


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
    odd = 2 * torch.arange(tick_count(frames, fps), dtype=torch.int64) + 1  # k: every middle, in half ticks
    return odd * fps.numerator // (2 * TICKS_PER_S * fps.denominator)  # k


def tick_count(frames: int, fps: Fraction) -> int:
    """How many 25ths of a second have their middle in the clip."""
    last_half = (2 * TICKS_PER_S * fps.denominator * frames - 1) // fps.numerator  # middles are the odd half ticks
    return (last_half + 1) // 2


def lip_pictures(clip: Clip, device: torch.device) -> Iterator[Tensor]:
    """What SyncNet sees at every tick, one picture of the clip at a time: 3 224 224."""
    ticks_each = torch.bincount(clip.sources, minlength=clip.frames).tolist()  # f
    for pixels, ticks in zip(clip.pictures, ticks_each, strict=True):
        if ticks:
            yield from repeat(lip_picture(torch.as_tensor(pixels, device=device), clip.white), ticks)


def lip_picture(pixels: Tensor, white: float = 1.0) -> Tensor:
    """Resizes an RGB picture bilinearly, as the reference does: h w 3 in [0, white] -> 3 224 224, BGR, 0 to 255.

    One colour after the other, so that a large picture takes little beside itself.
    """
    return torch.stack([_resized(pixels[..., colour].float()) for colour in (2, 1, 0)]) * (255 / white)  # 3 224 224


def _resized(plane: Tensor) -> Tensor:
    if plane.shape == (SIDE_PX, SIDE_PX):
        return plane
    size = (SIDE_PX, SIDE_PX)
    return torch.nn.functional.interpolate(plane[None, None], size, mode="bilinear", align_corners=False)[0, 0]


# Sound


def audio_windows(samples: Tensor, count: int) -> Tensor:
    """0.2 s of cepstra from the start of each of the first ``count`` ticks: s at 16 kHz in [-1, 1] -> n 1 13 20."""
    cepstra = mfcc(to_int16_scale(samples)).float()  # k 13
    return cepstra.unfold(0, CEPSTRA_SEEN, CEPSTRA_PER_TICK)[:count].unsqueeze(1)  # n 1 13 20
