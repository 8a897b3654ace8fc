"""Trains the text-to-video experts of the miniature cast, each on its side of the boundary, and a single control.

Flow matching on latents of clips (arXiv 2210.02747); cells on faces weigh more, since identity lies in few of them.
The control has one expert's size, sees the noise levels of both as often as they do, and makes the steps of both.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from demo import world
from devtools.kept_fit import write_picture, write_tensors
from wan_core.media.chart import Curve, line_chart
from wan_core.moe.noise_level import TIMESTEPS
from wan_core.training import MUON, FitPlan, LossOf
from wan_core.training.losses import face_weights, flow_loss
from wan_core.training.noise import SigmaRange, draw_sigmas, noised, range_of

from .expert_network import CONFIG, expert, with_short_text
from .fp8 import scaled_fp8
from .job import Job
from .latent_clips import LONG, TRAINING, VALIDATION, ClipSeries, LatentClips, ready
from .runs import run
from .text import shortened
from .text_network import FILE as TEXT_FILE
from .text_network import PromptReader

BOUNDARY = 0.875  # sigma
HIGH = range_of("high", BOUNDARY, shift=12.0)
LOW = range_of("low", BOUNDARY, shift=5.0)  # so small a picture keeps its details to lower noise
SIDES: Mapping[str, tuple[SigmaRange, ...]] = {"t2v-high": (HIGH,), "t2v-low": (LOW,), "control": (HIGH, LOW)}
SHORT, FRAMES_33, JUDGING = "short", "long", "judging"
SERIES: Mapping[str, ClipSeries] = {SHORT: TRAINING, FRAMES_33: LONG, JUDGING: VALIDATION}

BATCH = 32
LONG_EVERY, LONG_BATCH = 10, 12  # steps on clips of 33 frames
FACE_WEIGHT = 3.0  # of a cell on a face, beside 1 elsewhere
NO_TEXT_SHARE = 0.1
SHORT_SHARE = 0.4  # of the captions, that leave something out
PLAN = FitPlan(steps=4000, learning_rate=2e-2, warm_up_steps=100, optimiser=MUON, ema_decay=0.998)

SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.875, 0.9, 0.925, 0.95, 0.975, 1.0)
JUDGED = 64  # clips at each noise level
JUDGED_TOGETHER = 16


@dataclass(frozen=True, slots=True, eq=False)
class ExpertBatch:
    """Clips with what is said about them."""

    latents: Tensor  # b 16 t h w
    context: Tensor  # b n d, cut short
    given: Tensor  # b e t h w, what the expert sees beside noise; without channels for text-to-video
    weights: Tensor  # b 1 t h w, of the loss


class CaptionedClips:
    """The rows of a series that are ready, with a reader of captions."""

    def __init__(self, clips: LatentClips, reader: PromptReader, device: torch.device) -> None:
        self.clips, self.reader, self.device = clips, reader, device
        self.count = ready(clips)

    @classmethod
    def of_job(cls, series: ClipSeries, job: Job, reader: PromptReader) -> CaptionedClips:
        """The clips of a series in the job's folder."""
        return cls(LatentClips.of_folder(series, job.folder), reader, job.device)

    def draw(self, count: int, generator: torch.Generator) -> ExpertBatch:
        """Any rows, each with a caption in either language, whole, shortened or none."""
        chance = random.Random(int(torch.randint(2**31, (), generator=generator, device=generator.device)))
        rows = [chance.randrange(self.count) for _ in range(count)]
        return self.rows(rows, [self._prompt(row, chance) for row in rows])

    def rows(self, rows: Sequence[int], prompts: Sequence[str]) -> ExpertBatch:
        """These rows with these prompts."""
        latents = torch.from_numpy(self.clips.latents[rows]).float()
        height, width = latents.shape[3:]
        boxes = self.clips.latent_boxes(rows).unbind(dim=2)  # b t 4 of each person
        weights = torch.stack([face_weights(of_one, height, width, FACE_WEIGHT) for of_one in boxes]).amax(dim=0)
        parts = (latents, self.reader.contexts(prompts), self.given(rows), weights)
        return ExpertBatch(*(part.to(self.device) for part in parts))

    def given(self, rows: Sequence[int]) -> Tensor:
        """What stands beside the noise of these rows, b e t h w."""
        return torch.zeros(len(rows), 0, *self.clips.latents.shape[2:])

    def _prompt(self, row: int, chance: random.Random) -> str:
        if chance.random() < NO_TEXT_SHARE:
            return ""
        place = chance.randrange(len(world.LANGUAGES))
        caption, language = str(self.clips.captions[row, place]), world.LANGUAGES[place]
        return shortened(caption, language, chance)[0] if chance.random() < SHORT_SHARE else caption


# The loss


def predicted(network: nn.Module, batch: ExpertBatch, noise: Tensor, sigma: Tensor) -> Tensor:
    """The velocity of a batch at noise levels b, b c t h w in fp32."""
    x = torch.cat((noised(batch.latents, noise, sigma), batch.given), dim=1).bfloat16()
    options = with_short_text(batch.context)
    return network(x, sigma * TIMESTEPS, batch.context.bfloat16(), transformer_options=options).float()


def loss_of(network: nn.Module, sets: Mapping[str, CaptionedClips], sides: Sequence[SigmaRange]) -> LossOf:
    """The loss of a batch; its rows are shared among the sides."""

    def losses(step: int, generator: torch.Generator) -> Tensor:
        is_long = step % LONG_EVERY == 0
        count = LONG_BATCH if is_long else BATCH
        batch = sets[FRAMES_33 if is_long else SHORT].draw(count, generator)
        sigma = torch.cat([draw_sigmas(side, count // len(sides), generator) for side in sides])
        noise = torch.randn(batch.latents.shape, generator=generator, device=batch.latents.device)
        velocity = predicted(network, batch, noise, sigma)
        return flow_loss(velocity, noise - batch.latents, batch.weights)

    return losses


@torch.no_grad()
def loss_by_sigma(network: nn.Module, clips: CaptionedClips, sigmas: Sequence[float] = SIGMAS) -> list[float]:
    """The mean squared error of velocities at each noise level, on the same clips and the same noise every time."""
    generator = torch.Generator().manual_seed(0)
    errors, judged = torch.zeros(len(sigmas)), list(range(min(JUDGED, clips.count)))
    for first in range(0, len(judged), JUDGED_TOGETHER):
        rows = judged[first : first + JUDGED_TOGETHER]
        batch = clips.rows(rows, [str(clips.clips.captions[row, 0]) for row in rows])
        noise = torch.randn(batch.latents.shape, generator=generator).to(batch.latents)
        for place, sigma in enumerate(sigmas):
            levels = torch.full((len(rows),), sigma, device=noise.device)
            with torch.autocast(noise.device.type, torch.bfloat16):
                velocity = predicted(network, batch, noise, levels)
            errors[place] += (velocity - (noise - batch.latents)).square().mean().cpu() * len(rows)
    return (errors / len(judged)).tolist()


# The trainings


def train(job: Job) -> None:
    """Trains what the job is named for, writes it, and says how well it does at each noise level."""
    torch.manual_seed(job.seed)
    reader = PromptReader.of_file(job.out / TEXT_FILE)
    sets = {name: CaptionedClips.of_job(series, job, reader) for name, series in SERIES.items()}
    sides = SIDES[job.name]
    steps = (PLAN.steps if job.steps is None else job.steps) * len(sides)
    fit_expert(replace(job, steps=steps), expert(), sets, sides, PLAN)


def fit_expert(
    job: Job, network: nn.Module, sets: Mapping[str, CaptionedClips], sides: Sequence[SigmaRange], plan: FitPlan
) -> None:
    """Trains a network, writes it, and says how well it does at each noise level."""
    network.to(job.device)
    run(job, network, loss_of(network, sets, sides), plan)
    write_tensors(job.out / file_of(job.name), scaled_fp8(network.state_dict()), CONFIG)
    errors = loss_by_sigma(network, sets[JUDGING])
    line = ", ".join(f"{sigma:g}: {error:.4f}" for sigma, error in zip(SIGMAS, errors, strict=True))
    sys.stdout.write(f"{job.name}: error of the velocity by sigma: {line}\n")
    curve = Curve(job.name, list(SIGMAS), errors)
    picture = line_chart([curve], title="validation", x_label="sigma", y_label="error of the velocity")
    write_picture(job.folder / f"{job.name}-by-sigma.png", picture)


def file_of(name: str) -> str:
    """The file that a training writes."""
    return f"cast_{name.replace('-', '_')}.safetensors"
