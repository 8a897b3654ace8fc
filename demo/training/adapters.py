"""Trains the identity adapters of the miniature cast, one for each expert, by the trainer of the real ones.

A clip of two people is a reference alone: an adapter learns from clips of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

import safetensors.torch
import torch
from torch import Tensor

from demo import world
from devtools.adapter_training import AdapterTraining, train_adapter
from devtools.kept_fit import KeptFit
from wan_core.training import FitPlan
from wan_core.training.examples import ClipExample, Dropout
from wan_core.training.lite import LiteSize
from wan_core.training.locked_pass import FrozenExpert
from wan_core.training.noise import SigmaRange
from wan_core.training.objective import ObjectivePlan

from . import experts, image_experts, recogniser
from .expert_network import expert, with_short_text
from .fp8 import unscaled
from .job import Job
from .latent_clips import TRAINING, LatentClips
from .text_network import FILE as TEXT_FILE
from .text_network import PromptReader

SIZE = LiteSize(tokens=8, token_d=32, resampler_d=64, resampler_depth=1, feed_forward=1, block_step=1)
BATCH = 24
DROPOUT = Dropout(identity=0.08, text=0.08, both=0.02)
PLAN = FitPlan(steps=1500, learning_rate=1.5e-3, warm_up_steps=50, ema_decay=0.995)
PROMPTS_TOGETHER = 64

SIDES: Mapping[str, SigmaRange] = {
    "t2v-high": experts.HIGH,
    "t2v-low": experts.LOW,
    **image_experts.SIDES,
}


class PersonClips:
    """The clips of the experts, with whom they show; captions take turns between the languages."""

    def __init__(self, clips: experts.CaptionedClips) -> None:
        self.source, self.clips = clips, clips.clips
        rows = range(clips.count - clips.count % TRAINING.takes)  # no person with a part of the takes
        self.persons = [TRAINING.person_of(row) for row in rows]
        self.targets = [row for row in rows if is_alone(self.clips, row)]
        captions = [str(self.clips.captions[row, row % len(world.LANGUAGES)]) for row in rows]
        self.contexts = contexts_of(clips.reader, captions)
        (self.empty_text,) = clips.reader.contexts([""])

    def clip(self, number: int) -> ClipExample:
        """One row, as an adapter is trained on it."""
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


def is_alone(clips: LatentClips, row: int) -> bool:
    """Whether a row shows one person."""
    return bool((clips.embeddings[row, 1] != clips.embeddings[row, 1]).all())


def contexts_of(reader: PromptReader, captions: Sequence[str]) -> Tensor:
    """The embedded captions, n tokens d in fp16."""
    groups = [captions[first : first + PROMPTS_TOGETHER] for first in range(0, len(captions), PROMPTS_TOGETHER)]
    return torch.cat([reader.contexts(group).half() for group in groups])


def train(job: Job) -> None:
    """Trains the adapter that the job is named for, on the expert that its name goes on with."""
    name = job.name.removeprefix("lynx-")
    reader = PromptReader.of_file(job.out / TEXT_FILE)
    is_given = name in image_experts.SIDES
    clips = (image_experts.GivenClips if is_given else experts.CaptionedClips)(TRAINING, job, reader)
    weights = unscaled(safetensors.torch.load_file(job.out / experts.file_of(name)))
    network = expert(weights["patch_embedding.weight"].shape[1])
    network.load_state_dict(weights)
    network.to(job.device).requires_grad_(False)
    steps = PLAN.steps if job.steps is None else job.steps
    train_adapter(
        AdapterTraining(
            size=SIZE,
            objective=ObjectivePlan(SIDES[name], BATCH, DROPOUT, experts.FACE_WEIGHT),
            fit=replace(PLAN, steps=steps, seed=job.seed),
            space_sha256=sha256((job.out / recogniser.FILE).read_bytes()).hexdigest(),
            out=job.out / experts.file_of(job.name),
        ),
        FrozenExpert(network, torch.bfloat16, options_for=with_short_text),
        PersonClips(clips),
        KeptFit(job.folder, job.name, steps),
        device=job.device,
    )
