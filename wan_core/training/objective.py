"""The loss of an identity adapter on one frozen expert, as ``fit`` wants it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..adapters.adapter import AdapterNetwork
from .examples import ClipSet, CrossClipPairs, Dropout, draw_batch
from .locked_pass import FrozenExpert, locked_velocity
from .losses import Supervisor, face_weights, flow_loss, identity_loss
from .noise import SigmaRange, clean_of, draw_sigmas, noised


@dataclass(frozen=True, slots=True)
class ObjectivePlan:
    """What of the loss can be chosen."""

    sigmas: SigmaRange  # of the expert
    batch: int  # clips
    dropout: Dropout = Dropout()
    face_weight: float = 1.0  # of a latent cell on a face, beside 1 elsewhere


@dataclass(frozen=True, slots=True, eq=False)
class IdentityObjective:
    """How far an expert with an adapter in it is from the clips of the persons that the adapter was told."""

    expert: FrozenExpert
    adapter: AdapterNetwork = field(repr=False)
    clips: ClipSet = field(repr=False)
    pairs: CrossClipPairs = field(repr=False)
    plan: ObjectivePlan
    supervisor: Supervisor | None = None

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of one batch."""
        plan = self.plan
        batch = draw_batch(self.clips, self.pairs, plan.dropout, plan.batch, generator)
        clean = batch.latents.float()
        noise = torch.randn(clean.shape, generator=generator, device=clean.device)
        sigma = draw_sigmas(plan.sigmas, plan.batch, generator)
        x = noised(clean, noise, sigma)
        seen = x if batch.given is None else torch.cat((x, batch.given.float()), dim=1)
        velocity = locked_velocity(self.expert, self.adapter, batch.embeddings, seen, sigma, batch.text)
        weights = face_weights(batch.boxes, clean.shape[3], clean.shape[4], plan.face_weight)
        losses = {"flow": flow_loss(velocity, noise - clean, weights)}
        if self.supervisor is not None:
            losses["identity"] = identity_loss(self.supervisor, clean_of(x, velocity, sigma), batch, sigma)
        return losses
