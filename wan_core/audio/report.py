"""What a person is told about a recording: a few lines and a chart."""

from __future__ import annotations

from torch import Tensor

from ..media.chart import Curve, line_chart
from .analysis import AudioAnalysis
from .timing import CHUNK_FRAMES, frame_centres_s
from .tracks import FLOOR_DB, TrackSet

FIT_TOLERANCE_S = 0.001


def describe(analysis: AudioAnalysis) -> str:
    """Length, downmix, fit, level and encoding of a recording, and the notes."""
    sound, channels, encoded = analysis.sound, analysis.sound.waveform.shape[0], analysis.encoded
    mix = "mono" if channels == 1 else f"{channels} channels, analysed as their mean"
    encoding = "none linked, so audio_encoder_output is empty"
    if encoded is not None:
        encoding = f"{list(encoded['encoded_audio'].shape)}, {len(encoded['encoded_audio_all_layers'])} layers"
    lines = [
        f"audio: {sound.duration_s:.3f} s at {sound.rate_hz} Hz, {mix}",
        f"video: {_fit_words(analysis)}",
        f"level: {_level_words(analysis.tracks)}",
        *(f"warning: {note.text}" for note in analysis.notes),
        f"encoder: {encoding}",
    ]
    return "\n".join(lines)


def plot(analysis: AudioAnalysis) -> Tensor:
    """Level and onset strength over seconds, each as a share of its own range: 1 h w 3 in [0, 1]."""
    tracks = analysis.tracks
    seconds = frame_centres_s(tracks.frames, tracks.fps).tolist()
    level = 1 - tracks.rms_db / FLOOR_DB  # f
    strongest = float(tracks.onset.max())
    onset = tracks.onset / strongest if strongest > 0 else tracks.onset  # f
    curves = [
        Curve(f"level (0 = {FLOOR_DB:.0f} dB, 1 = 0 dB)", seconds, level.tolist()),
        Curve(f"onset strength (1 = {strongest:.2f})", seconds, onset.tolist()),
    ]
    title = f"Audio, frame by frame: {tracks.frames} frames at {float(tracks.fps):.6g} fps"
    return line_chart(curves, title=title, x_label="time (s)", y_label="share of the range")


def _fit_words(analysis: AudioAnalysis) -> str:
    tracks, chunks = analysis.tracks, analysis.chunks
    video_s = float(tracks.frames / tracks.fps)
    surplus_s = analysis.sound.duration_s - video_s
    fit = f"{abs(surplus_s):.3f} s of the audio cut off" if surplus_s > 0 else f"{-surplus_s:.3f} s of silence added"
    fit = "the audio fits" if abs(surplus_s) < FIT_TOLERANCE_S else fit
    rate = f"{tracks.fps} = {float(tracks.fps):.3f}" if tracks.fps.denominator > 1 else str(tracks.fps)
    length = f"{tracks.frames} frames at {rate} fps = {video_s:.3f} s"
    return f"{length}, {fit}; {chunks} S2V chunk{'s' * (chunks > 1)} of {CHUNK_FRAMES} frames"


def _level_words(tracks: TrackSet) -> str:
    level = tracks.rms_db
    if float(level.max()) <= FLOOR_DB:
        return f"silence (nothing above {FLOOR_DB:.0f} dB)"
    loudest_s = float(frame_centres_s(tracks.frames, tracks.fps)[level.argmax()])
    silent_percent = 100 * float((level <= FLOOR_DB).float().mean())
    return f"loudest frame {float(level.max()):.1f} dB at {loudest_s:.2f} s; {silent_percent:.0f} % of frames silent"
