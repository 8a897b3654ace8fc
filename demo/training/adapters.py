"""Trains the identity adapters of the miniature cast, one for each expert, by the trainer of the real ones.

A clip of two people is a reference alone: an adapter learns from clips of one. So is a portrait, which is what a user
gives.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from demo import world
from devtools.adapter_training import AdapterTraining, fit_adapter
from devtools.kept_fit import KeptFit
from wan_core.adapters.adapter import AdapterNetwork
from wan_core.training import (
    ClipExample,
    CrossClipPairs,
    Dropout,
    FitPlan,
    FrozenExpert,
    IdentityObjective,
    LiteSize,
    ObjectivePlan,
    SigmaRange,
)

from . import experts, image_experts, recogniser
from .expert_network import expert, with_short_text
from .face_data import draw
from .fp8 import unscaled
from .job import Job
from .latent_clips import TRAINING, VALIDATION, LatentClips
from .text_network import FILE as TEXT_FILE
from .text_network import PromptReader

SIZE = LiteSize(tokens=8, token_d=32, resampler_d=64, resampler_depth=1, feed_forward=1, block_step=1)
BATCH = 24
DROPOUT = Dropout(identity=0.08, text=0.08, both=0.02)
PLAN = FitPlan(steps=1500, learning_rate=1.5e-3, warm_up_steps=50, ema_decay=0.995)
PROMPTS_TOGETHER = FACES_TOGETHER = 64
JUDGED_BATCHES = 8

SIDES: Mapping[str, SigmaRange] = {
    "t2v-high": experts.HIGH,
    "t2v-low": experts.LOW,
    **image_experts.SIDES,
}


class PersonClips:
    """The clips of the experts, with whom they show, then portraits; captions take turns between the languages."""

    def __init__(self, clips: experts.CaptionedClips, portraits: Mapping[int, Tensor]) -> None:
        """``portraits``: embeddings by the number of the person."""
        self.source, self.clips, self.portraits = clips, clips.clips, portraits
        series = self.clips.series
        rows = range(clips.count - clips.count % series.takes)  # no person with a part of the takes
        of_rows = [series.person_of(row) for row in rows]
        self.persons = [*of_rows, *sorted(set(of_rows) & portraits.keys())]
        self.targets = [row for row in rows if is_alone(self.clips, row)]
        captions = [str(self.clips.captions[row, row % len(world.LANGUAGES)]) for row in rows]
        self.contexts = contexts_of(clips.reader, captions)
        (self.empty_text,) = clips.reader.contexts([""])

    def clip(self, number: int) -> ClipExample:
        """One row, as an adapter is trained on it; for a portrait the first take of the person, with its embedding."""
        if number >= len(self.contexts):
            person = self.persons[number]
            return replace(self.clip(person * self.clips.series.takes), embedding=self.portraits[person])
        given = self.source.given([number])[0]
        return ClipExample(
            latent=torch.from_numpy(self.clips.latents[number]).float(),
            text=self.contexts[number].float(),
            given=given if len(given) else None,
            embedding=torch.from_numpy(self.clips.embeddings[number, 0].copy()),
            supervised=None,
            boxes=self.clips.latent_boxes([number])[0, :, 0],
            points=torch.from_numpy(self.clips.points[number, :, 0].copy()),
        )


@torch.no_grad()
def portrait_embeddings(job: Job) -> dict[int, Tensor]:
    """The embeddings of the portraits that the recogniser was taught with, by the number of the person."""
    pictures, network = draw(recogniser.PORTRAITS, job.folder), recogniser.load(job.out / recogniser.FILE)
    faces = pictures.faces()  # n 3: row, place, person
    crops = (pictures.crops(group) for group in faces.split(FACES_TOGETHER))
    vectors = torch.cat([recogniser.embed(network, group) for group in crops])
    return dict(zip(faces[:, 2].tolist(), vectors, strict=True))


def is_alone(clips: LatentClips, row: int) -> bool:
    """Whether a row shows one person."""
    return bool((clips.embeddings[row, 1] != clips.embeddings[row, 1]).all())


def contexts_of(reader: PromptReader, captions: Sequence[str]) -> Tensor:
    """The embedded captions, n tokens d in fp16."""
    groups = [captions[first : first + PROMPTS_TOGETHER] for first in range(0, len(captions), PROMPTS_TOGETHER)]
    return torch.cat([reader.contexts(group).half() for group in groups])


# The training


def train(job: Job) -> None:
    """Trains the adapter that the job is named for, on the expert that its name goes on with, and says what it does."""
    name = job.name.removeprefix("lynx-")
    reader = PromptReader.of_file(job.out / TEXT_FILE)
    kind = image_experts.GivenClips if name in image_experts.SIDES else experts.CaptionedClips
    steps = PLAN.steps if job.steps is None else job.steps
    files = {"expert": job.out / experts.file_of(name), "recogniser": job.out / recogniser.FILE}
    facts = {what: sha256(path.read_bytes()).hexdigest() for what, path in files.items()}
    frozen = frozen_expert(files["expert"], job.device)
    objective = ObjectivePlan(SIDES[name], BATCH, DROPOUT, experts.FACE_WEIGHT)
    adapter = fit_adapter(
        AdapterTraining(
            size=SIZE,
            objective=objective,
            fit=replace(PLAN, steps=steps, seed=job.seed),
            space_sha256=facts["recogniser"],
            out=job.out / experts.file_of(job.name),
        ),
        frozen,
        PersonClips(kind.of_job(TRAINING, job, reader), portrait_embeddings(job)),
        KeptFit(job.folder, job.name, steps, facts),
        device=job.device,
    )
    judged = PersonClips(kind.of_job(VALIDATION, job, reader), {})
    errors = loss_by_vector(frozen, adapter, judged, replace(objective, dropout=Dropout(0, 0, 0)), job.device)
    said = ", ".join(f"{error:.4f} with {whose}" for whose, error in errors.items())
    sys.stdout.write(f"{job.name}: loss on people that it has not seen: {said}\n")


def frozen_expert(path: Path, device: torch.device) -> FrozenExpert:
    """An expert of a file, as the host computes with it."""
    weights = unscaled(safetensors.torch.load_file(path))
    network = expert(weights["patch_embedding.weight"].shape[1])
    network.load_state_dict(weights)
    return FrozenExpert(network.to(device).requires_grad_(False), torch.bfloat16, options_for=with_short_text)


# What an adapter does


@dataclass(frozen=True, slots=True, eq=False)
class WithVectors:
    """Clips whose references have other vectors."""

    clips: PersonClips
    vector_of: Callable[[int], Tensor]  # by the number of the clip

    @property
    def persons(self) -> Sequence[int]:
        return self.clips.persons

    @property
    def targets(self) -> Sequence[int]:
        return self.clips.targets

    @property
    def empty_text(self) -> Tensor:
        return self.clips.empty_text

    def clip(self, number: int) -> ClipExample:
        return replace(self.clips.clip(number), embedding=self.vector_of(number))


@torch.no_grad()
def loss_by_vector(
    frozen: FrozenExpert, adapter: AdapterNetwork, clips: PersonClips, plan: ObjectivePlan, device: torch.device
) -> dict[str, float]:
    """The loss of the same clips and noise with each person's own vector, with nobody's, and with another person's."""
    pairs, half = CrossClipPairs(clips.persons, clips.targets), len(clips.persons) // 2

    def loss(vector_of: Callable[[int], Tensor]) -> float:
        objective = IdentityObjective(frozen, adapter, WithVectors(clips, vector_of), pairs, plan)
        generators = [torch.Generator(device).manual_seed(seed) for seed in range(JUDGED_BATCHES)]
        with torch.autocast(device.type, torch.bfloat16):
            return sum(float(objective(0, generator)["flow"]) for generator in generators) / len(generators)

    def own(number: int) -> Tensor:
        return clips.clip(number).embedding

    return {
        "their own vector": loss(own),
        "nobody's": loss(lambda number: torch.zeros_like(own(number))),
        "another's": loss(lambda number: own((number + half) % len(clips.persons))),
    }
