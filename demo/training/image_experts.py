"""Trains the image-to-video experts: those for text, shown the first frames of a clip beside the noise.

As Wan2.2-I2V-A14B sees them: 4 channels say which frames are given, 16 hold the latent of a clip that is grey where no
frame is. One frame is what a user gives; five are how chunks are chained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from wan_core.adapters.tokens import FRAMES_PER_LATENT
from wan_core.training.noise import SigmaRange, range_of

from . import vae
from .clips import pixels
from .expert_network import IMAGE_INPUT_CHANNELS, MASK_CHANNELS, expert, widened
from .experts import PLAN, SERIES, CaptionedClips, file_of, fit_expert
from .fp8 import unscaled
from .job import Job
from .latent_clips import ClipSeries, LatentClips, folder_of
from .latents import autoencoder, encoded
from .rows import rows_in
from .text_network import FILE as TEXT_FILE
from .text_network import PromptReader
from .vae_network import ClipAutoencoder

BOUNDARY = 0.9  # sigma, of image-to-video
SIDES: Mapping[str, SigmaRange] = {
    "i2v-high": range_of("high", BOUNDARY, shift=5.0),
    "i2v-low": range_of("low", BOUNDARY, shift=5.0),
}
BEGINS_AS: Mapping[str, str] = {"i2v-high": "t2v-high", "i2v-low": "t2v-low"}
GIVEN_FRAMES = (1, 1, 5)  # of a row, in turn
STEPS, RATE = 1200, 6e-3
GREY = 0.0  # of pixels from -1 to 1


class GivenClips(CaptionedClips):
    """Clips of which the first frames are given."""

    def __init__(
        self,
        clips: LatentClips,
        reader: PromptReader,
        device: torch.device,
        network: ClipAutoencoder,
        given_latents: np.ndarray,  # n 16 t h w, zeros where a row is not made yet
    ) -> None:
        super().__init__(clips, reader, device)
        self.network, self.given_latents = network.to(device), given_latents

    @classmethod
    def of_job(cls, series: ClipSeries, job: Job, reader: PromptReader) -> GivenClips:
        """The clips of a series in the job's folder, where what is given of them is kept too."""
        clips = LatentClips.of_folder(series, job.folder)
        given = rows_in(folder_of(series, job.folder), "given", clips.latents.shape, np.float16)
        return cls(clips, reader, job.device, autoencoder(job.out / vae.FILE), given)

    def given(self, rows: Sequence[int]) -> Tensor:
        """Mask and latent of what is given of these rows, b 20 t h w; a latent is made when it is first asked for."""
        missing = [row for row in rows if not self.given_latents[row].any()]
        if missing:
            clips = pixels(self.clips.frames[missing])  # b 3 f h w
            for row, clip in zip(missing, clips, strict=True):
                clip[:, frames_given(row) :] = GREY
            self.given_latents[missing] = encoded(self.network, clips, self.device).half().numpy()
        latents = torch.from_numpy(self.given_latents[rows]).float()
        mask = torch.zeros(len(rows), MASK_CHANNELS, *latents.shape[2:])
        for row_mask, row in zip(mask, rows, strict=True):
            row_mask[:, : 1 + (frames_given(row) - 1) // FRAMES_PER_LATENT] = 1
        return torch.cat((mask, latents), dim=1)


def frames_given(row: int) -> int:
    """How many frames of a row are given."""
    return GIVEN_FRAMES[row % len(GIVEN_FRAMES)]


def train(job: Job) -> None:
    """Trains the expert that the job is named for, from that for text of the same side."""
    torch.manual_seed(job.seed)
    reader = PromptReader.of_file(job.out / TEXT_FILE)
    text_expert = safetensors.torch.load_file(job.out / file_of(BEGINS_AS[job.name]))
    network = expert(IMAGE_INPUT_CHANNELS)
    network.load_state_dict(widened(unscaled(text_expert), IMAGE_INPUT_CHANNELS))
    sets = {name: GivenClips.of_job(series, job, reader) for name, series in SERIES.items()}
    fit_expert(job, network, sets, (SIDES[job.name],), replace(PLAN, steps=STEPS, learning_rate=RATE))
