"""Latent video to pictures with either Wan VAE, one piece of the clip at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from comfy_api.latest import io

from ..wan_core.vae.latent import check_image_fits, samples_of, video_latent
from ..wan_core.vae.spec import VaeSpec, detect_vae
from ..wan_core.vae.stream import stream_frames
from .host import devices, vaes
from .types import names_its_errors

if TYPE_CHECKING:
    from torch import Tensor


class HighCompressionVAEDecode(io.ComfyNode):
    """Decodes a Wan latent to the host decoder's very pictures, in working memory that grows by the latent alone."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="HighCompressionVAEDecode",
            display_name="High Compression VAE Decode",
            category="WanCast/video",
            description=(
                "Decodes Wan video latents with the Wan2.1 or the Wan2.2 VAE. Gives the pictures of VAE Decode bit for "
                "bit, clip by clip, but streams: a few frames at a time pass through the VAE, so a long clip needs "
                "hardly more video memory than a short one."
            ),
            search_aliases=["vae decode", "wan vae decode", "decode latent", "latent to video", "stream decode"],
            inputs=[
                io.Latent.Input(
                    "samples", tooltip="The Wan video latent. The clips of a batch are decoded one after the other."
                ),
                io.Vae.Input("vae", tooltip="The Wan2.1 VAE (for 14B models) or the Wan2.2 VAE (for the 5B model)."),
            ],
            outputs=[
                io.Image.Output(
                    "images", tooltip="All frames in order: 1 for a clip's first latent frame, 4 for each later one."
                ),
            ],
        )

    @classmethod
    @names_its_errors
    def execute(cls, samples: io.Latent.Type, vae: io.Vae.Type) -> io.NodeOutput:
        spec = detect_vae(vaes.vae_weight_shapes(vae))
        latent = video_latent(samples_of(samples), spec)  # b z t h w
        images = _room_for_images(spec, latent)  # b*f h w c
        with vaes.loaded_for_decoding(vae, latent.shape) as loaded:
            _decode_into(images, latent, spec, loaded)
        return io.NodeOutput(images)


def _room_for_images(spec: VaeSpec, latent: Tensor) -> Tensor:
    shape, device, dtype = spec.image_shape(latent.shape), devices.intermediate_device(), devices.intermediate_dtype()
    check_image_fits(shape, item_bytes=dtype.itemsize, free_bytes=devices.free_bytes(device))
    return torch.empty(shape, device=device, dtype=dtype)


def _decode_into(images: Tensor, latent: Tensor, spec: VaeSpec, vae: vaes.LoadedVae) -> None:
    """Writes the frames of every clip of a latent (b z t h w) into ``images`` (b*f h w c) as they finish."""
    report, done = devices.progress(len(images)), 0
    for clip in latent:  # z t h w
        for frames in stream_frames(vae.network, clip, spec, device=vae.device, dtype=vae.dtype):  # f h w c
            written = images[done : done + len(frames)].copy_(frames)
            vae.to_pixels_(written)
            done += len(frames)
            report(done)
