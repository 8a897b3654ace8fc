"""What a training of identities minimises: the error of the flow, and how far a generated face is from the person.

Flow matching follows arXiv 2210.02747 on the straight path; the loss of the face follows the ID-aware losses of
PuLID (arXiv 2404.16022) and its like: a recogniser that the adapter does not know looks at what the model would make.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from ..adapters.tokens import FRAMES_PER_LATENT
from ..errors import InputError
from ..identity.align import TEMPLATE, fit_similarity, warp
from ..identity.record import CROP_PX
from .examples import IdentityBatch

# The flow


def flow_loss(velocity: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of squared errors of velocities b c t h w, with weights b 1 t h w."""
    errors = (velocity.float() - target).square().mean(dim=1, keepdim=True)  # b 1 t h w
    return (errors * weights).sum() / weights.sum()


def face_weights(boxes: Tensor, height: int, width: int, at_face: float) -> Tensor:
    """Weights b 1 t h w of latent cells: 1, and ``at_face`` on faces; a cell that a box covers in part is between.

    ``boxes``: b t 4 in units of the latent, NaN where there is no face.
    """
    left, top, right, bottom = boxes.nan_to_num().unbind(dim=-1)  # b t
    covered = _covered(left, right, width)[..., None, :] * _covered(top, bottom, height)[..., None]  # b t h w
    return (1 + (at_face - 1) * covered)[:, None]


def _covered(first: Tensor, last: Tensor, count: int) -> Tensor:
    """The share of each of ``count`` cells that lies between two positions b t, b t n."""
    cells = torch.arange(count, device=first.device)
    ends, begins = last[..., None].minimum(cells + 1), first[..., None].maximum(cells)
    return (ends - begins).clamp(min=0)


# The face


@dataclass(frozen=True, slots=True, eq=False)
class Supervisor:
    """Another recogniser than the adapter's, which looks at what the expert would make, and how it sees it."""

    decode: Callable[[Tensor], Tensor] = field(repr=False)  # latents b c t h w -> frames b f h w 3 in [0, 1]
    embed_face: Callable[[Tensor], Tensor] = field(repr=False)  # one aligned face, 112 112 3 in [0, 1] -> 512
    weight: float = 0.1  # of its loss, at sigma 0
    below_sigma: float = 0.5  # where it looks: above, what a velocity says of the clip is a blur
    latents: int = 1  # that it decodes; it looks at the last frame of them


def require_other_space(supervisor_sha256: str, adapter_sha256: str) -> None:
    """Raises InputError where the recogniser that supervises is the adapter's own: that one can be fooled."""
    if supervisor_sha256 == adapter_sha256:
        raise InputError(
            "supervisor",
            found="the same recogniser that the adapter is trained for",
            wanted="another one",
            fix="Take one of another training, for example CurricularFace's IR-101 beside facexlib's IR-SE50.",
        )


def identity_loss(supervisor: Supervisor, clean: Tensor, batch: IdentityBatch, sigma: Tensor) -> Tensor:
    """supervisor.weight * mean over the batch of w * (1 - cosine to the reference), w = 1 - sigma / below_sigma.

    Rows whose identity is dropped, that are too noisy or that have no face in the frame have w = 0. ``clean``: what
    velocities say the latents are, b c t h w.
    """
    strength = (1 - sigma / supervisor.below_sigma).clamp(min=0) * batch.has_identity  # b
    frame = FRAMES_PER_LATENT * (supervisor.latents - 1)
    has_face = batch.points[:, frame].isfinite().all(dim=-1).all(dim=-1)  # b
    rows = ((strength > 0) & has_face).nonzero().flatten()
    assert batch.supervised is not None  # who supervises has seen the clips
    if not len(rows):
        return clean.new_zeros(())
    frames = supervisor.decode(clean[rows, :, : supervisor.latents])[:, frame]  # k h w 3
    crops = [aligned(image, points) for image, points in zip(frames, batch.points[rows, frame], strict=True)]
    found = torch.stack([supervisor.embed_face(crop).float() for crop in crops])  # k 512
    distance = 1 - functional.cosine_similarity(found, batch.supervised[rows], dim=-1)  # k
    return supervisor.weight * (strength[rows] * distance).sum() / len(strength)


def aligned(image: Tensor, points: Tensor) -> Tensor:
    """The face of one picture (h w 3) in the template of recognisers, 112 112 3, from its five points 5 2."""
    places = tuple(complex(x, y) for x, y in points.tolist())
    return warp(image, fit_similarity(places, TEMPLATE).inverse(), CROP_PX)
