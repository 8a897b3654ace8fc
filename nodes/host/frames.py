"""Frames on their way from the device to RAM and to the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import comfy.model_management
import comfy.utils
import torch
from PIL import Image

from ...wan_core.checks import checked_count
from ...wan_core.vae import uint8_frames
from ...wan_core.vae.latent import require_image_fits

PREVIEW_EVERY_S = 1.0
PREVIEW_SIDE_PX = 512
MOST_LAST_FRAMES = 1024


def room_for_image(shape: Sequence[int]) -> torch.Tensor:
    """An empty IMAGE (f h w c) where the host wants it; raises InputError when there is no memory for it."""
    device = comfy.model_management.intermediate_device()
    dtype = comfy.model_management.intermediate_dtype()
    free_bytes = comfy.model_management.get_free_memory(device)
    require_image_fits(shape, item_bytes=dtype.itemsize, free_bytes=free_bytes)
    return torch.empty(tuple(shape), device=device, dtype=dtype)


def room_for_last(wanted: int, shape: Sequence[int]) -> torch.Tensor:
    """An empty IMAGE for that many of the last frames of a video (f h w c), or for all.

    Raises InputError for a number that there is not, and when there is no memory for them.
    """
    checked_count(wanted, MOST_LAST_FRAMES, name="last_frames")
    return room_for_image((min(wanted, shape[0]), *shape[1:]))


def uint8_in_ram(pieces: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """What a decode gives, frame by frame (h w c) in eight bits in RAM: copied while the device makes the next."""
    waiting: tuple[torch.Tensor, torch.cuda.Event | None] | None = None
    for frame in uint8_frames(pieces):
        coming = start_copy(frame)
        if waiting is not None:
            yield finished_copy(*waiting)
        waiting = coming
    if waiting is not None:
        yield finished_copy(*waiting)


def start_copy(piece: torch.Tensor) -> tuple[torch.Tensor, torch.cuda.Event | None]:
    """Begins to copy a tensor into pinned RAM; one that is in RAM already is handed on."""
    if not piece.is_cuda:
        return piece.cpu(), None
    copy = torch.empty(piece.shape, dtype=piece.dtype, pin_memory=True).copy_(piece, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return copy, event


def finished_copy(copy: torch.Tensor, event: torch.cuda.Event | None) -> torch.Tensor:
    """The copy, once all of it is there."""
    if event is not None:
        event.synchronize()
    return copy


def progress_with_preview(total: int) -> Callable[[int, torch.Tensor], None]:
    """A callback for ``done`` of ``total`` frames and the last of them (h w c in [0, 1] or uint8), shown now and then.

    It raises when the user has cancelled.
    """
    bar = comfy.utils.ProgressBar(total)
    shown_s = -PREVIEW_EVERY_S

    def report(done: int, frame: torch.Tensor) -> None:
        nonlocal shown_s
        comfy.model_management.throw_exception_if_processing_interrupted()
        now_s = time.monotonic()
        if now_s - shown_s < PREVIEW_EVERY_S:
            bar.update_absolute(done)
            return
        shown_s = now_s
        bar.update_absolute(done, preview=("JPEG", picture(frame), PREVIEW_SIDE_PX))

    return report


def picture(frame: torch.Tensor) -> Image.Image:
    """A frame as a picture; of four channels the alpha is left out."""
    rgb = frame[..., :3].cpu()
    values = rgb if rgb.dtype == torch.uint8 else rgb.float().mul(255.0).round().clamp(0.0, 255.0).to(torch.uint8)
    return Image.fromarray(values.numpy())
