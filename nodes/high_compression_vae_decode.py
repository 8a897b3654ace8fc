"""Latent video to pictures with either Wan VAE, a few frames at a time."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..wan_core.vae.choice import tiling_of
from ..wan_core.vae.latent import check_image_fits, notes_on, samples_of, video_latent
from ..wan_core.vae.pixels import require_finite
from ..wan_core.vae.plan import Plan
from ..wan_core.vae.spec import VaeSpec, detect_vae
from ..wan_core.vae.stream import stream_frames
from .host import devices, frames, prompts, vaes
from .types import names_its_errors, tiling_input


class HighCompressionVAEDecode(io.ComfyNode):
    """Decodes a Wan latent to the pictures of the host's decoder, in memory that does not grow with the clip."""

    NODE_ID = "HighCompressionVAEDecode"

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=cls.NODE_ID,
            display_name="High Compression VAE Decode",
            category="WanCast/video",
            description=(
                "Decodes Wan video latents with the Wan2.1 or the Wan2.2 VAE, a few frames at a time, so a long clip "
                "needs no more video memory than a short one. In the host's own schedule the pictures are those of VAE "
                "Decode bit for bit, clip by clip; otherwise up to rounding. The IMAGE takes RAM; for long videos use "
                "WanCast Decode To Video."
            ),
            search_aliases=["vae decode", "wan vae decode", "decode latent", "latent to video", "stream decode"],
            inputs=[
                io.Latent.Input(
                    "samples", tooltip="The Wan video latent. The clips of a batch are decoded one after the other."
                ),
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE (for 14B models) or the Wan2.2 VAE (for the 5B model)."),
                tiling_input(),
            ],
            outputs=[
                io.Image.Output(
                    "images", tooltip="All frames in order: 1 for a clip's first latent frame, 4 for each later one."
                ),
                io.String.Output("report", tooltip="How it was decoded, and why so."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    @names_its_errors
    def execute(cls, samples: io.Latent.Type, vae: io.Vae.Type, tiling: dict[str, Any] | None = None) -> io.NodeOutput:
        spec = detect_vae(vaes.vae_weight_shapes(vae))
        latent = video_latent(samples_of(samples), spec)  # b z t h w
        tiles = tiling_of(tiling or prompts.stated(cls.hidden, "tiling"))
        images = room_for_images(spec, latent)  # b*f h w c

        def decode(dtype: torch.dtype) -> str:
            """Fills the images and says how."""
            plan = vaes.plan_decoding(vae, spec, latent.shape, tiles, images.nbytes, dtype)
            with vaes.loaded_for_decoding(vae, plan, dtype) as loaded:
                decode_into(images, latent, spec, plan, loaded)
            return plan.why

        why, notes = vaes.without_overflow(vae, decode)
        return io.NodeOutput(images, "\n".join([why, *notes, *notes_on(latent)]))


def room_for_images(spec: VaeSpec, latent: Tensor) -> Tensor:
    """An empty IMAGE for a latent (b z t h w); raises InputError when there is no memory for it."""
    shape, device, dtype = spec.image_shape(latent.shape), devices.intermediate_device(), devices.intermediate_dtype()
    check_image_fits(shape, item_bytes=dtype.itemsize, free_bytes=devices.free_bytes(device))
    return torch.empty(shape, device=device, dtype=dtype)


def decode_into(images: Tensor, latent: Tensor, spec: VaeSpec, plan: Plan, vae: vaes.LoadedVae) -> None:
    """Writes the frames of every clip of a latent (b z t h w) into ``images`` (b*f h w c) as they finish."""
    report, done = frames.progress_with_preview(len(images)), 0
    for clip in latent:  # z t h w
        for decoded in stream_frames(vae.network, clip, spec, plan, device=vae.device, dtype=vae.dtype):  # f h w c
            require_finite(decoded, first=done)
            written = images[done : done + len(decoded)].copy_(decoded)
            vae.to_pixels_(written)
            done += len(decoded)
            del decoded  # before the next are decoded
            report(done, written[-1])
