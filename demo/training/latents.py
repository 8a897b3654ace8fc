"""Makes the clips that the experts and the adapters are trained on: draws, embeds and encodes them, row by row.

A second run goes on where the first one stopped.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from demo import world
from devtools.host_modules import host_module

from . import recogniser, vae
from .clips import pixels
from .face_data import crop_differentiable
from .job import Job
from .latent_clips import ALL_SERIES, LatentClips
from .vae_network import ClipAutoencoder

SECONDS_A_LINE = 10
ENCODED_TOGETHER = 4  # clips
LEAST_FACE_PX = 24  # height of a face that says who it is; below, a portrait does
LOOKS = 3  # frames of a clip whose embeddings are averaged


def train(job: Job) -> None:
    """Makes all series."""
    for series in ALL_SERIES:
        clips = LatentClips.of_folder(series, job.folder)
        draw(clips)
        embed(clips, recogniser.load(job.out / recogniser.FILE))
        encode(clips, autoencoder(job.out / vae.FILE), job.device)


def announced(rows: Sequence[int], clips: LatentClips, what: str, *, together: int = 1) -> Iterator[list[int]]:
    """The rows in groups, with a line now and then."""
    last_line = time.monotonic()
    for first in range(0, len(rows), together):
        group = list(rows[first : first + together])
        yield group
        if time.monotonic() - last_line >= SECONDS_A_LINE:
            last_line = time.monotonic()
            sys.stdout.write(f"latents: {clips.series.name}: {what} {group[-1] + 1} of {len(clips.series)}\n")
            sys.stdout.flush()


def draw(clips: LatentClips) -> None:
    """Draws what is missing, with its truth and its captions."""
    series = clips.series
    for (row,) in announced(clips.missing("points"), clips, "drew"):
        scene = series.scene(row)
        clip = world.film(scene.people, scene.shot, series.frames, first_frame=scene.first_frame)
        count = len(clip.people)
        clips.frames[row] = clip.frames.numpy()
        clips.captions[row] = [clip.caption(language) for language in world.LANGUAGES]
        for array, truth in ((clips.boxes, clip.boxes), (clips.points, clip.points)):
            array[row, :, count:] = float("nan")
            array[row, :, :count] = truth.numpy()


# Embeddings


@torch.no_grad()
def embed(clips: LatentClips, network: nn.Module) -> None:
    """The embedding of each person in each clip, the mean of some looks."""
    for (row,) in announced(clips.missing("embeddings"), clips, "embedded"):
        people = clips.series.scene(row).people
        clips.embeddings[row, len(people) :] = float("nan")
        for place, person in enumerate(people):
            frames, points = looks(clips, row, place, person)
            crops = crop_differentiable(frames.permute(0, 3, 1, 2).float() / 255, points)
            clips.embeddings[row, place] = nn.functional.normalize(recogniser.embed(network, crops).mean(0), dim=0)


def looks(clips: LatentClips, row: int, place: int, person: world.Person) -> tuple[Tensor, Tensor]:
    """Frames n h w 3 and points n 5 2 of one face in a clip; a portrait of the person where the face is small."""
    top, bottom = clips.boxes[row, :, place, 1], clips.boxes[row, :, place, 3]
    if (bottom - top).min() < LEAST_FACE_PX:
        portrait = world.portrait(person)
        return portrait.frames, portrait.points[:, 0]
    seen = np.linspace(0, clips.series.frames - 1, LOOKS).round().astype(int)
    return torch.from_numpy(clips.frames[row, seen]), torch.from_numpy(clips.points[row, seen, place])


# Latents


def autoencoder(path: Path) -> ClipAutoencoder:
    """The trained autoencoder of a file."""
    weights = safetensors.torch.load_file(path)
    network = ClipAutoencoder(len(weights["decoder.head.0.gamma"]))
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return vae.channels_last(network.eval())


@torch.no_grad()
def encoded(network: ClipAutoencoder, clips: Tensor, device: torch.device) -> Tensor:
    """The latents b 16 t h w of clips b 3 f h w of -1 to 1, as a model sees them; on the CPU, in fp32."""
    with torch.autocast(device.type, torch.bfloat16):
        latents = network.encode(clips.to(device))
    return host_module("comfy.latent_formats").Wan21().process_in(latents.float()).cpu()


def encode(clips: LatentClips, network: ClipAutoencoder, device: torch.device) -> None:
    """The latent of each clip."""
    network.to(device)
    for rows in announced(clips.missing("latents"), clips, "encoded", together=ENCODED_TOGETHER):
        clips.latents[rows] = encoded(network, pixels(clips.frames[rows]), device).half().numpy()
