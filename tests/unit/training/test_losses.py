"""The losses: cells against a fine raster, and what of a generated face is looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.unit.training.some_clips import PERSONS, SomeClips
from wan_core.errors import InputError
from wan_core.identity.align import align_face
from wan_core.training.examples import CrossClipPairs, Dropout, IdentityBatch, draw_batch
from wan_core.training.losses import Supervisor, aligned, face_weights, flow_loss, identity_loss, require_other_space

LOOK = torch.randn(3, 512, generator=torch.Generator().manual_seed(3))


def test_cells_weigh_by_the_share_that_a_face_covers() -> None:
    boxes = torch.tensor([[[0.5, 1.25, 2.75, 3.0], [-1.0, -1.0, 9.0, 9.0], [float("nan")] * 4]])  # 1 3 4
    fine = 100
    y, x = ((torch.arange(n * fine) + 0.5) / fine for n in (4, 5))
    inside = [(x > b[0]) & (x < b[2]) & (y > b[1])[:, None] & (y < b[3])[:, None] for b in boxes[0]]
    shares = torch.stack(inside).float().unfold(1, fine, fine).unfold(2, fine, fine).mean(dim=(-1, -2))  # 3 4 5
    torch.testing.assert_close(face_weights(boxes, 4, 5, at_face=4.0)[0, 0], 1 + 3 * shares, rtol=0, atol=1e-5)


def test_the_flow_loss_is_a_weighted_mean_of_squares() -> None:
    draw = torch.Generator().manual_seed(0)
    velocity, target = torch.randn(2, 2, 3, 2, 4, 5, generator=draw)
    weights = torch.rand(2, 1, 2, 4, 5, generator=draw)
    every = weights.expand_as(velocity)
    wanted = (every * (velocity - target).square()).sum() / every.sum()
    torch.testing.assert_close(flow_loss(velocity, target, weights), wanted)


# The face


def decode(latents: Tensor) -> Tensor:
    """A VAE whose frames show the latents' first channels, four frames after the first for each later latent."""
    frames = latents[:, :3].repeat_interleave(8, dim=-1).repeat_interleave(8, dim=-2).movedim(1, -1)  # b t h w 3
    return frames.repeat_interleave(4, dim=1)[:, 3:]


def embed_face(crop: Tensor) -> Tensor:
    return (crop * torch.linspace(0, 1, 112)[:, None, None]).mean(dim=(0, 1)) @ LOOK


def a_batch(**changes: object) -> IdentityBatch:
    generator = torch.Generator().manual_seed(0)
    batch = draw_batch(SomeClips(PERSONS, {}), CrossClipPairs(PERSONS, range(7)), Dropout(0, 0, 0), 4, generator)
    return replace(batch, **changes)


def test_the_loss_is_the_distance_of_faces_weighted_down_with_noise() -> None:
    """By hand, and on the second latent: its last frame is the fifth."""
    has_identity = torch.tensor([True, True, False, True])
    points = a_batch().points.clone()
    points[3, 4, 0] = float("nan")
    batch = a_batch(has_identity=has_identity, points=points)
    supervisor = Supervisor(decode, embed_face, weight=0.2, below_sigma=0.5, latents=2)
    sigma, clean = torch.tensor([0.1, 0.4, 0.1, 0.1]), batch.latents.clone().requires_grad_()
    loss = identity_loss(supervisor, clean, batch, sigma)
    wanted = 0.0
    for row, weight in ((0, 0.8), (1, 0.2)):
        frame = decode(batch.latents[row : row + 1])[0, 4]
        found = embed_face(align_face(frame, tuple(complex(*point) for point in points[row, 4].tolist())).crop)
        wanted += 0.2 * weight * (1 - float(torch.cosine_similarity(found, batch.supervised[row], dim=0))) / 4
    assert loss.item() == pytest.approx(wanted, rel=1e-4)
    loss.backward()
    reaches = clean.grad.abs().sum(dim=(1, 3, 4)) > 0  # b t
    assert reaches.tolist() == [[False, True], [False, True], [False, False], [False, False]]
    assert identity_loss(supervisor, clean, batch, torch.full((4,), 0.6)).item() == 0


def test_faces_lie_as_the_recognisers_want_them() -> None:
    image = torch.rand(32, 48, 3, generator=torch.Generator().manual_seed(0))
    points = a_batch().points[0, 0]
    wanted = align_face(image, tuple(complex(*point) for point in points.tolist())).crop
    assert torch.equal(aligned(image, points), wanted)


def test_the_recogniser_of_the_adapter_does_not_supervise() -> None:
    require_other_space("ab", "cd")
    with pytest.raises(InputError, match="supervisor: found the same recogniser that the adapter is trained for"):
        require_other_space("ab", "ab")
