"""LipSyncCheck: does the mouth move with the sound?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from comfy_api.latest import Input, InputImpl, io

from ..wan_core.lipsync import MODES, LipSyncRequest, Mode, build_syncnet, check, describe, plot
from .host import devices, files, video
from .inputs import FileInput
from .types import names_its_errors


@contextmanager
def request_of(
    frames: io.Image.Type | io.Video.Type, fps: float, audio: io.Audio.Type | None, mode: Mode
) -> Iterator[LipSyncRequest]:
    """What is checked: pictures with their sound, or a VIDEO, whose own sound gives way to ``audio``.

    The file of a VIDEO is open in the block, and is read picture by picture.
    """
    if isinstance(frames, InputImpl.VideoFromFile):
        with video.source_of(frames) as source:
            yield LipSyncRequest.of(source, source.fps, audio, mode)
    elif isinstance(frames, Input.Video):
        parts = frames.get_components()
        yield LipSyncRequest.of(parts.images, parts.frame_rate, parts.audio if audio is None else audio, mode)
    else:
        yield LipSyncRequest.of(frames, fps, audio, mode)


class LipSyncCheck(io.ComfyNode):
    """Scores the lip sync of a talking face with SyncNet."""

    NODE_ID = "LipSyncCheck"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="Lip Sync Check",
            category="WanCast/audio",
            description="Measures whether the lips of a face crop move with the sound, with SyncNet v2: offset in "
            "milliseconds, confidence (LSE-C) and distance (LSE-D), and a verdict in words.",
            search_aliases=["syncnet", "lse-c", "lse-d", "av offset", "talking head", "lip sync"],
            inputs=[
                io.MultiType.Input(
                    "frames",
                    types=[io.Image, io.Video],
                    tooltip="Crops of one face that fills the picture, forehead to chin. A VIDEO brings fps and sound.",
                ),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=0.001,
                    max=240.0,
                    step=0.001,
                    round=0.001,
                    tooltip="Frame rate of the pictures; not used for a VIDEO, which brings its own.",
                ),
                FileInput(
                    "weights",
                    options=files.model_files(files.SYNCNET),
                    tooltip="SyncNet v2 weights in models/syncnet. They are yours to get; nothing is downloaded.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="robust",
                    tooltip="parity: as in published comparisons. robust: the ends of the clip do not bias the score.",
                ),
                io.Audio.Input(
                    "audio", optional=True, tooltip="The sound. Needed with pictures; takes the place of a VIDEO's own."
                ),
            ],
            outputs=[
                io.Boolean.Output(
                    "passed",
                    tooltip="True when the offset cannot be noticed (ITU-R BT.1359), the confidence is 3 or more "
                    "and at least 2 s were scored.",
                ),
                io.Float.Output("offset_ms", tooltip="Positive: the audio is early. Negative: it is late."),
                io.Float.Output("confidence", tooltip="LSE-C: how clearly one offset is the best. Higher is surer."),
                io.Float.Output("distance", tooltip="LSE-D: how far lips and sound are apart. Lower is better."),
                io.String.Output("report", tooltip="The verdict and all numbers in words."),
                io.Image.Output("plot", tooltip="Distance over offset."),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(
        cls,
        frames: io.Image.Type | io.Video.Type,
        fps: float,
        weights: str,
        mode: Mode,
        audio: io.Audio.Type | None = None,
    ) -> io.NodeOutput:
        with request_of(frames, fps, audio, mode) as request:
            file = files.load_weights(files.SYNCNET, weights, input_name="weights")
            network = build_syncnet(file.state_dict, file_name=file.name, operations=devices.operations)
            result = check(request, network, on_device=devices.on_device, progress=devices.progress)
        score, report = result.score, f"{describe(result)}\nweights: {file.name}, SHA-256 {file.sha256}"
        return io.NodeOutput(score.passed, score.offset_ms, score.confidence, score.distance, report, plot(result))
