"""WanCastDecodeToVideo: latent video to a video file, without ever holding the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..wan_core.checks import checked_count, checked_fps
from ..wan_core.media.encoders import CHOICES, CODECS, VideoFormat, encoder_for
from ..wan_core.media.sink import VideoSink
from ..wan_core.media.sound import checked_sound
from ..wan_core.media.soundtrack import Soundtrack
from ..wan_core.vae.choice import one_clip, require_rgb, tiling_of
from ..wan_core.vae.latent import check_image_fits, notes_on, samples_of, video_latent
from ..wan_core.vae.pixels import require_finite, to_uint8
from ..wan_core.vae.plan import Plan
from ..wan_core.vae.spec import VaeSpec, detect_vae
from ..wan_core.vae.stream import stream_frames
from .host import devices, frames, prompts, vaes, video
from .types import names_its_errors, tiling_input

MOST_LAST_FRAMES = 1024
AI_GENERATED = {
    "comment": "AI-generated video, made with WanCast",
    "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
}

made_files = video.MadeFiles()


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
                    max=MOST_LAST_FRAMES,
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
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo, io.Hidden.unique_id],
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
        audio: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        spec = detect_vae(vaes.vae_weight_shapes(vae))
        require_rgb(spec)
        checked_count(last_frames, MOST_LAST_FRAMES, name="last_frames")
        latent = one_clip(video_latent(samples_of(samples), spec))  # 1 z t h w
        count, height_px, width_px, _ = spec.image_shape(latent.shape)
        tiles = tiling_of(tiling or prompts.stated(cls.hidden, "tiling"))
        target = encoder_for(VideoFormat(codec, quality, encoder), width_px, height_px, checked_fps(fps))
        place = video.save_place(filename_prefix, width_px, height_px, keep=save_output)
        soundtrack = None if audio is None else soundtrack_of(audio)
        image_shape = (min(last_frames, count), height_px, width_px, 3)
        image_bytes = check_image_fits(
            image_shape,
            item_bytes=devices.intermediate_dtype().itemsize,
            free_bytes=devices.free_bytes(devices.intermediate_device()),
        )
        tags = video.host_tags(cls.hidden) | AI_GENERATED

        def decode(dtype: torch.dtype) -> Film:
            """Makes the file, or leaves none."""
            job = DecodeJob(latent, spec, vaes.plan_decoding(vae, spec, latent.shape, tiles, image_bytes, dtype))
            with (
                vaes.loaded_for_decoding(vae, job.plan, dtype) as loaded,
                VideoSink(
                    target,
                    place.folder,
                    place.stem,
                    frames=count,
                    soundtrack=soundtrack,
                    tags=tags,
                    counter=place.counter,
                ) as sink,
            ):
                last = write_frames(sink, job, loaded, count, keep_last=last_frames)
                return Film(sink.finish(), last, (*sink.notes, job.plan.why))

        film, notes = vaes.without_overflow(vae, decode)
        made_files.made(cls.hidden.unique_id, film.path)
        report = "\n".join([f"file: {video.label(film.path, place)}", *film.notes, *notes, *notes_on(latent)])
        output = video.as_video(film.path), as_image(film.last), count, report
        return io.NodeOutput(*output, ui=video.shown(film.path, place))


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """What is decoded, and how."""

    latent: Tensor  # 1 z t h w
    spec: VaeSpec
    plan: Plan


@dataclass(frozen=True, slots=True)
class Film:
    """A finished file."""

    path: str
    last: list[Tensor]  # the last frames: h w c, uint8
    notes: tuple[str, ...]  # how it was made, for the user


def soundtrack_of(audio: dict[str, Any]) -> Soundtrack:
    """The host's AUDIO as a sound track."""
    sound = checked_sound(audio)
    return Soundtrack(sound.waveform, sound.rate_hz)


def write_frames(sink: VideoSink, job: DecodeJob, vae: vaes.LoadedVae, count: int, *, keep_last: int) -> list[Tensor]:
    """Decodes every frame into the sink and returns the last ones: each h w c, uint8."""
    report, kept = frames.progress_with_preview(count), []
    for done, frame in enumerate(frames.in_ram(pixels(job, vae)), start=1):  # h w c, uint8
        sink.write(frame)
        if done > count - keep_last:
            kept.append(frame.clone())  # out of pinned memory
        report(done, frame)
    return kept


def as_image(pictures: list[Tensor]) -> Tensor:
    """Frames in eight bits as an IMAGE: f h w c."""
    image = torch.empty(
        (len(pictures), *pictures[0].shape), dtype=devices.intermediate_dtype(), device=devices.intermediate_device()
    )
    for target, picture in zip(image, pictures, strict=True):
        target.copy_(picture).div_(255.0)
    return image


def pixels(job: DecodeJob, vae: vaes.LoadedVae) -> Iterator[Tensor]:
    """The decoded frames on the device, in eight bits: h w c."""
    done = 0
    clip, where = job.latent[0], {"device": vae.device, "dtype": vae.dtype}
    for decoded in stream_frames(vae.network, clip, job.spec, job.plan, **where, bounded=True):
        require_finite(decoded, first=done)
        done += len(decoded)
        yield from map(to_uint8, decoded)
        del decoded  # before the next are decoded
