"""Latent video to pictures with either Wan VAE, a few frames at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..wan_core.vae import decode, describe
from .host import frames, vaes
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
            hidden=[io.Hidden.dynprompt, io.Hidden.unique_id],
        )

    @classmethod
    @names_its_errors
    def execute(cls, samples: io.Latent.Type, vae: io.Vae.Type, tiling: dict[str, Any] | None = None) -> io.NodeOutput:
        request = vaes.decode_request(vae, samples, tiling, cls.hidden)
        images = frames.room_for_image(request.image_shape)  # b*f h w c
        result = decode(
            request,
            partial(fill, images, vae.process_output),
            memory=partial(vaes.free_memory, vae, images.nbytes),
            load=partial(vaes.loaded_for_decoding, vae),
        )
        return io.NodeOutput(images, describe(result))


def fill(images: Tensor, to_pixels_: Callable[[Tensor], Tensor], pieces: Iterable[Tensor]) -> None:
    """Writes frames (f h w c) into ``images`` as they finish, brought into the range of an IMAGE in place."""
    report, done = frames.progress_with_preview(len(images)), 0
    for piece in pieces:
        written = images[done : done + len(piece)].copy_(piece)
        to_pixels_(written)
        done += len(piece)
        del piece  # before the next is decoded
        report(done, written[-1])
