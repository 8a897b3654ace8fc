"""How many frames a recording is measured for, and the recording cut or padded to them."""

from __future__ import annotations

from fractions import Fraction

import torch

from ..errors import InputError
from ..media.sound import Sound
from .timing import frame_count, sample_count

SHORTEST_MS = 45  # two wav2vec2 steps, the fewest that can be interpolated
GIB = 2**30


def frames_to_cover(sound: Sound, frames: int, fps: Fraction) -> int:
    """The number of frames asked for, or, for 0, as many as the recording lasts; raises InputError when unusable."""
    if frames < 0:
        raise InputError("frames", found=frames, wanted="0 or more", fix="0 takes the length of the audio.")
    if fps > sound.rate_hz:
        raise InputError(
            "fps",
            found=f"{float(fps):g} frames a second for {sound.rate_hz} samples a second",
            wanted="at least one sample a frame",
            fix="Set the frame rate of the video.",
        )
    count = frames or frame_count(sound.samples, sound.rate_hz, fps)
    if 1000 * count < SHORTEST_MS * fps:
        raise InputError(
            "frames",
            found=f"{count} at {float(fps):g} fps ({1000 * count / float(fps):.1f} ms)",
            wanted=f"at least {SHORTEST_MS} ms of video",
            fix="Ask for more frames.",
        )
    return count


def require_fits(sound: Sound, frames: int, fps: Fraction, free_bytes: float) -> None:
    """Raises InputError when the recording, cut or padded to the frames, is larger than the free memory."""
    channels, samples = sound.waveform.shape[0], sample_count(frames, sound.rate_hz, fps)
    needed_bytes = channels * samples * sound.waveform.element_size()
    if needed_bytes <= free_bytes:
        return
    seconds = samples / sound.rate_hz
    raise InputError(
        "frames",
        found=f"{frames} at {float(fps):g} fps, {seconds:.0f} s of audio that need {needed_bytes / GIB:.1f} GiB",
        wanted=f"at most the {free_bytes / GIB:.1f} GiB of memory that are free",
        fix="Ask for fewer frames, or free memory first.",
    )


def fit_to_frames(sound: Sound, frames: int, fps: Fraction) -> Sound:
    """The recording cut, or padded with zeros at its end, to floor(frames * rate / fps) samples."""
    samples = sample_count(frames, sound.rate_hz, fps)
    padding = max(0, samples - sound.samples)
    return Sound(torch.nn.functional.pad(sound.waveform[:, :samples], (0, padding)), sound.rate_hz)
