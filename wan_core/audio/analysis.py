"""A recording for a video: fitted to the frames, measured at every one of them, and encoded for S2V."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ..checks import checked_fps, kind_of
from ..errors import InputError, quoted
from ..media.sound import Sound, checked_sound, mix_gain_db
from ..notes import Note
from .fitting import SHORTEST_MS, fit_to_frames, frames_to_cover, require_fits
from .timing import chunk_count
from .tracks import TrackSet, measure

TRACKS_KEY = "wancast"  # the one key that we add to the host's AUDIO_ENCODER_OUTPUT
CANCELLED_DB = -20.0  # a mono mix this far below its channels has lost most of the sound
SPEECH_HZ = 16000  # what wav2vec2 and Whisper hear; SheetSage2, an encoder of music, hears 24000
CANCELLED = Note("cancelled_channels", "the channels cancel out in the mono mix; use one of them alone")


@runtime_checkable
class AudioEncoder(Protocol):
    """What makes the host's AUDIO_ENCODER_OUTPUT of a waveform that is 1 c s."""

    def encode_audio(self, audio: Tensor, sample_rate: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, eq=False)
class AudioRequest:
    """A recording, and the video that it is for; the values are checked when it is analysed."""

    audio: object = field(repr=False)  # the host's AUDIO: a mapping with 'waveform', 1 c s, and 'sample_rate'
    fps: float | Fraction
    frames: int = 0  # 0: as many as the recording lasts


@dataclass(frozen=True, slots=True, eq=False)
class AudioAnalysis:
    """What a recording is at every frame of its video."""

    sound: Sound  # as it came
    fitted: Sound  # cut, or padded with silence at its end, to the frames
    tracks: TrackSet
    encoded: Mapping[str, Any] | None = field(repr=False)  # the host's AUDIO_ENCODER_OUTPUT, and the tracks in it
    chunks: int  # S2V sampling chunks that it takes to make the frames
    notes: tuple[Note, ...]


def analyse(
    request: AudioRequest,
    *,
    encoder: AudioEncoder | None = None,
    free_bytes: Callable[[torch.device], float] = lambda device: math.inf,
) -> AudioAnalysis:
    """Fits a recording to the frames of a video and measures it; raises InputError for what cannot be measured.

    ``encoder`` is the host's; ``free_bytes`` tells how much memory a device has left for the fitted sound.
    """
    fps = checked_fps(request.fps)
    sound = checked_sound(request.audio, shortest_ms=SHORTEST_MS)
    frames = frames_to_cover(sound, request.frames, fps)
    require_fits(sound, frames, fps, free_bytes(sound.waveform.device))
    _require_encoder(encoder)

    fitted = fit_to_frames(sound, frames, fps)
    tracks = measure(sound, frames, fps)
    encoded: Mapping[str, Any] | None = None
    if encoder is not None:
        audio = fitted.as_audio()
        encoded = {**encoder.encode_audio(audio["waveform"], audio["sample_rate"]), TRACKS_KEY: tracks}
    notes = (CANCELLED,) if mix_gain_db(sound) < CANCELLED_DB else ()
    return AudioAnalysis(sound, fitted, tracks, encoded, chunk_count(frames), notes)


def _require_encoder(encoder: object) -> None:
    """Raises InputError for what is neither nothing nor an encoder of speech."""
    if encoder is None:
        return
    if not isinstance(encoder, AudioEncoder):
        found, fix = type(encoder).__name__, "Link the output of Load Audio Encoder."
        raise InputError("audio_encoder", found=found, wanted="an audio encoder", fix=fix)
    hears_hz = getattr(encoder, "model_sample_rate", SPEECH_HZ)
    if hears_hz != SPEECH_HZ:
        raise InputError(
            "audio_encoder",
            found=f"{kind_of(encoder)}, which hears {quoted(hears_hz)} Hz",
            wanted=f"an encoder of speech, which hears {SPEECH_HZ} Hz",
            fix="Load wav2vec2 or Whisper; Wan2.2 S2V was trained with wav2vec2 large.",
        )
