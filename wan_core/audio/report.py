"""What a person is told about a recording: a few lines and a chart."""

from __future__ import annotations

from torch import Tensor

from ..media.chart import Curve, line_chart
from .sound import CANCELLED_DB, Sound, mix_gain_db
from .timing import CHUNK_FRAMES, chunk_count, frame_centres_s
from .tracks import FLOOR_DB, TrackSet

FIT_TOLERANCE_S = 0.001


def describe(sound: Sound, tracks: TrackSet) -> str:
    """Length, downmix, fit and level of a recording, before it was fitted to the frames of its tracks."""
    lines = [describe_channels(sound), describe_fit(sound, tracks), describe_level(tracks)]
    if mix_gain_db(sound) < CANCELLED_DB:
        lines.append("warning: the channels cancel out in the mono mix; use one of them alone")
    return "\n".join(lines)


def describe_channels(sound: Sound) -> str:
    channels = sound.waveform.shape[0]
    mix = "mono" if channels == 1 else f"{channels} channels, analysed as their mean"
    return f"audio: {sound.duration_s:.3f} s at {sound.rate_hz} Hz, {mix}"


def describe_fit(sound: Sound, tracks: TrackSet) -> str:
    video_s = float(tracks.frames / tracks.fps)
    chunks = chunk_count(tracks.frames)
    surplus_s = sound.duration_s - video_s
    fit = f"{abs(surplus_s):.3f} s of the audio cut off" if surplus_s > 0 else f"{-surplus_s:.3f} s of silence added"
    fit = "the audio fits" if abs(surplus_s) < FIT_TOLERANCE_S else fit
    rate = f"{tracks.fps} = {float(tracks.fps):.3f}" if tracks.fps.denominator > 1 else str(tracks.fps)
    length = f"{tracks.frames} frames at {rate} fps = {video_s:.3f} s"
    return f"video: {length}, {fit}; {chunks} S2V chunk{'s' * (chunks > 1)} of {CHUNK_FRAMES} frames"


def describe_level(tracks: TrackSet) -> str:
    level = tracks.tracks["rms_db"]
    if float(level.max()) <= FLOOR_DB:
        return f"level: silence (nothing above {FLOOR_DB:.0f} dB)"
    loudest_s = float(frame_centres_s(tracks.frames, tracks.fps)[level.argmax()])
    silent_percent = 100 * float((level <= FLOOR_DB).float().mean())
    loudest = f"loudest frame {float(level.max()):.1f} dB at {loudest_s:.2f} s"
    return f"level: {loudest}; {silent_percent:.0f} % of frames silent"


def plot(tracks: TrackSet) -> Tensor:
    """Level and onset strength over seconds, each as a share of its own range: 1 h w 3 in [0, 1]."""
    seconds = frame_centres_s(tracks.frames, tracks.fps).tolist()
    level = 1 - tracks.tracks["rms_db"] / FLOOR_DB  # f
    onset, strongest = tracks.tracks["onset"], float(tracks.tracks["onset"].max())
    onset = onset / strongest if strongest > 0 else onset  # f
    curves = [
        Curve(f"level (0 = {FLOOR_DB:.0f} dB, 1 = 0 dB)", seconds, level.tolist()),
        Curve(f"onset strength (1 = {strongest:.2f})", seconds, onset.tolist()),
    ]
    title = f"Audio, frame by frame: {tracks.frames} frames at {float(tracks.fps):.6g} fps"
    return line_chart(curves, title=title, x_label="time (s)", y_label="share of the range")
