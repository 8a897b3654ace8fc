"""Frames on their way from the device to RAM and to the page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

import comfy.model_management
import comfy.utils
import torch
from PIL import Image

PREVIEW_EVERY_S = 1.0
PREVIEW_SIDE_PX = 512


def in_ram(pieces: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """The same pieces in RAM, one behind: a piece is copied while the device makes the next."""
    waiting: tuple[torch.Tensor, torch.cuda.Event | None] | None = None
    for piece in pieces:
        coming = start_copy(piece)
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
