"""WanCastDecodeToVideo: latent video to a video file, without ever holding the pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..wan_core.checks import checked_fps
from ..wan_core.media.encoders import CHOICES, CODECS, VideoFormat, encoder_for
from ..wan_core.media.sink import VideoSink
from ..wan_core.vae import decode, describe
from .host import frames, vaes, video
from .host.made_files import MadeFiles
from .types import names_its_errors, tiling_input

AI_GENERATED = {
    "comment": "AI-generated video, made with WanCast",
    "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
}

made_files = MadeFiles()


class WanCastDecodeToVideo(io.ComfyNode):
    """Decodes a Wan latent straight into a video file."""

    NODE_ID = "WanCastDecodeToVideo"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="WanCast Decode To Video",
            category="WanCast/video",
            description=(
                "Decodes a Wan latent straight into a video file: the frames go to the encoder as they finish, so "
                "minutes of 720P need no more memory than seconds. A run that fails or is cancelled leaves no file."
            ),
            search_aliases=["vae decode", "video combine", "save video", "latent to video", "stream decode", "mp4"],
            inputs=[
                io.Latent.Input("samples", tooltip="The Wan video latent, one clip."),
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE (for 14B models) or the Wan2.2 VAE (for the 5B model)."),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=0.001,
                    max=240.0,
                    step=0.001,
                    round=0.001,
                    tooltip="Frame rate: 16 for the 14B models, 24 for the 5B model. 23.976 means 24000/1001.",
                ),
                io.Combo.Input(
                    "codec",
                    options=list(CODECS),
                    default="h264",
                    tooltip="h264 plays everywhere; hevc and av1 are smaller; prores is for editing; ffv1 is lossless.",
                ),
                io.Int.Input(
                    "quality",
                    default=18,
                    min=0,
                    max=51,
                    tooltip="0 is best and largest, 18 looks lossless, 28 is small. prores and ffv1 have none.",
                ),
                io.Combo.Input(
                    "encoder",
                    options=list(CHOICES),
                    default="software",
                    advanced=True,
                    tooltip="software: best quality for its size. hardware: the GPU's encoder, where it works.",
                ),
                io.String.Input(
                    "filename_prefix", default="video/WanCast", tooltip="Name of the file; a subfolder may be in front."
                ),
                io.Boolean.Input(
                    "save_output",
                    default=True,
                    tooltip="On: into the output folder. Off: into the temporary one, emptied at the next start.",
                ),
                io.Int.Input(
                    "last_frames",
                    default=1,
                    min=1,
                    max=frames.MOST_LAST_FRAMES,
                    tooltip="How many of the last frames come out as an IMAGE too, to go on from them.",
                ),
                tiling_input(),
                io.Audio.Input("audio", optional=True, tooltip="The sound, cut or padded with silence to the video."),
            ],
            outputs=[
                io.Video.Output("video", tooltip="The file; Save Video copies an mp4 without encoding again."),
                io.Image.Output("last_frames", tooltip="The last frames."),
                io.Int.Output("frame_count", tooltip="Frames of the video."),
                io.String.Output("report", tooltip="The file, its encoder, and how it was decoded and why so."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.dynprompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> int:
        return made_files.losses(cls.hidden.unique_id)

    @classmethod
    @names_its_errors
    def execute(
        cls,
        samples: io.Latent.Type,
        vae: io.Vae.Type,
        fps: float,
        codec: str,
        quality: int,
        encoder: str,
        filename_prefix: str,
        save_output: bool,
        last_frames: int,
        tiling: dict[str, Any] | None = None,
        audio: io.Audio.Type | None = None,
    ) -> io.NodeOutput:
        request = vaes.decode_request(vae, samples, tiling, cls.hidden, to_video=True)
        count, height_px, width_px, _ = request.image_shape
        last = frames.room_for_last(last_frames, request.image_shape)
        chosen = encoder_for(VideoFormat(codec, quality, encoder), width_px, height_px, checked_fps(fps))
        place = video.save_place(filename_prefix, width_px, height_px, keep=save_output)
        tags = video.host_tags(cls.hidden) | AI_GENERATED
        new_file = partial(VideoSink, chosen, place.folder, place.stem, counter=place.counter, frames=count, tags=tags)
        open_sink = partial(new_file, soundtrack=video.soundtrack_of(audio))
        memory, load = partial(vaes.free_memory, vae, last.nbytes), partial(vaes.loaded_for_decoding, vae)
        result = decode(request, partial(record, open_sink, last, count), memory=memory, load=load)
        path, summary = result.output
        made_files.add(cls.hidden.unique_id, path)
        report = "\n".join([f"file: {video.label(path, place)}", *summary, describe(result)])
        return io.NodeOutput(InputImpl.VideoFromFile(path), last, count, report, ui=video.shown(path, place))


def record(
    open_sink: Callable[[], VideoSink], last: Tensor, count: int, pieces: Iterable[Tensor]
) -> tuple[str, tuple[str, ...]]:
    """Writes ``count`` frames into a file as they finish, and the last of them into ``last`` (f h w c) too.

    Returns the file's path and how it was made; a file that is not finished goes.
    """
    report = frames.progress_with_preview(count)
    with open_sink() as sink:
        for done, frame in enumerate(frames.uint8_in_ram(pieces), start=1):  # h w c, uint8
            sink.write(frame)
            if done > count - len(last):
                last[done - count - 1].copy_(frame).div_(255.0)
            report(done, frame)
        return sink.finish(), sink.summary
