"""AudioFeatures: speech that is lined up with the frames of a video."""

from __future__ import annotations

from comfy_api.latest import io

from ..wan_core.audio import AudioRequest, analyse, describe, plot
from .host import devices
from .types import WanAudioFeatures, names_its_errors


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
                io.Audio.Input("audio", tooltip="One recording, mono or with several channels, at 1 kHz to 1 MHz."),
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
        cls, audio: io.Audio.Type, fps: float, frames: int, audio_encoder: io.AudioEncoder.Type | None = None
    ) -> io.NodeOutput:
        request = AudioRequest(audio, fps, frames)
        result = analyse(request, encoder=audio_encoder, free_bytes=devices.free_bytes)
        return io.NodeOutput(
            result.encoded,
            result.tracks,
            result.fitted.as_audio(),
            result.tracks.frames,
            result.chunks,
            describe(result),
            plot(result),
        )
