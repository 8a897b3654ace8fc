"""AudioFeatures: speech that is lined up with the frames of a video."""

from __future__ import annotations

from typing import Protocol

from comfy_api.latest import io
from torch import Tensor

from ..wan_core.audio.report import describe, plot
from ..wan_core.audio.sound import check_fits, fit_to_frames, read_audio
from ..wan_core.audio.timing import chunk_count, exact_fps
from ..wan_core.audio.tracks import TrackSet, analyse, frames_to_cover
from ..wan_core.errors import InputError
from .host import devices
from .types import WanAudioFeatures, names_its_errors

TRACKS_KEY = "wancast"  # the one key that we add to the host's AUDIO_ENCODER_OUTPUT


class AudioEncoder(Protocol):
    """The host's audio encoder, as far as we use it."""

    def encode_audio(self, audio: Tensor, sample_rate: int) -> dict[str, object]: ...


def encode(audio_encoder: AudioEncoder, audio: dict[str, object], tracks: TrackSet) -> dict[str, object]:
    """What the stock encoder says about the audio, unchanged, and our tracks beside it."""
    if not callable(getattr(audio_encoder, "encode_audio", None)):
        raise InputError(
            "audio_encoder",
            found=type(audio_encoder).__name__,
            wanted="an audio encoder",
            fix="Link the output of Load Audio Encoder.",
        )
    return {**audio_encoder.encode_audio(audio["waveform"], audio["sample_rate"]), TRACKS_KEY: tracks}


def describe_encoding(encoded: dict[str, object] | None) -> str:
    """One line about the AUDIO_ENCODER_OUTPUT."""
    if encoded is None:
        return "encoder: none linked, so audio_encoder_output is empty"
    return f"encoder: {list(encoded['encoded_audio'].shape)}, {len(encoded['encoded_audio_all_layers'])} layers"


class AudioFeatures(io.ComfyNode):
    """Fits audio to a video's frames and measures every one of them."""

    NODE_ID = "AudioFeatures"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="Audio Features",
            category="WanCast/audio",
            description="Fits speech or music to the frames of a video, measures loudness and onsets for every frame, "
            "and encodes the sound for Wan2.2 S2V. Frame times are exact at every frame rate and never drift.",
            search_aliases=["audio encoder", "wav2vec", "s2v audio", "onset", "energy", "audio reactive"],
            inputs=[
                io.Audio.Input("audio", tooltip="One recording, mono or with several channels, at any sample rate."),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=0.001,
                    max=240.0,
                    step=0.001,
                    round=0.001,
                    tooltip="Frame rate of the video. Wan2.2 S2V is 16. 23.976 and 29.97 mean 24000/1001, 30000/1001.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=1_000_000,
                    tooltip="Frames of the video. The audio is cut or padded with silence. 0: as long as the audio.",
                ),
                io.AudioEncoder.Input(
                    "audio_encoder",
                    optional=True,
                    tooltip="From Load Audio Encoder; wav2vec2 large for Wan2.2 S2V. Without it nothing is encoded.",
                ),
            ],
            outputs=[
                io.AudioEncoderOutput.Output(
                    "audio_encoder_output",
                    tooltip="For the stock S2V nodes. Empty when no encoder is linked.",
                ),
                WanAudioFeatures.Output("features", tooltip="Tracks with one value for every frame."),
                io.Audio.Output("audio", tooltip="The audio, cut or padded to the frames. Rate and channels are kept."),
                io.Int.Output("frames", tooltip="Frames of the video."),
                io.Int.Output("chunks", tooltip="S2V sampling chunks of 80 frames that it takes to make the frames."),
                io.String.Output("report", tooltip="What was measured, in a few lines."),
                io.Image.Output("plot", tooltip="Level and onsets over time."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls, audio: object, fps: float, frames: int, audio_encoder: AudioEncoder | None = None
    ) -> io.NodeOutput:
        rate = exact_fps(fps)
        sound = read_audio(audio)
        count = frames_to_cover(sound, frames, rate)
        check_fits(sound, count, rate, free_bytes=devices.free_bytes(sound.waveform.device))
        fitted = fit_to_frames(sound, count, rate).as_audio()
        tracks = analyse(sound, count, rate)
        encoded = None if audio_encoder is None else encode(audio_encoder, fitted, tracks)
        report = describe(sound, tracks) + "\n" + describe_encoding(encoded)
        return io.NodeOutput(encoded, tracks, fitted, count, chunk_count(count), report, plot(tracks))
