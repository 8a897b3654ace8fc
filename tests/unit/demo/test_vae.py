"""The autoencoder that trains is the host's own, what it learns from, and the file that it becomes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from demo import world
from demo.trained import WEIGHTS
from demo.training import clips, recogniser, vae
from demo.training.clips import CropSize, kept_clips
from demo.training.face_data import aligned
from demo.training.vae_network import ClipAutoencoder, NormalisedSilu
from devtools.host_modules import host_module

NARROW = 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_network() -> ClipAutoencoder:
    """With weights that keep a signal's size, and none of them at what training begins with."""
    network, random = ClipAutoencoder(NARROW), generator(1)
    for name, value in network.named_parameters():
        drawn = torch.randn(value.shape, generator=random)
        value.data = 1 + 0.2 * drawn if "gamma" in name else 0.5 * drawn / value[0].numel() ** 0.5
    return network.requires_grad_(False)


@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_a_whole_clip_at_once_is_what_the_host_makes_of_it_piece_by_piece(frames: int) -> None:
    ours = random_network()
    host = host_module("comfy.sd").VAE(sd=ours.state_dict()).first_stage_model.requires_grad_(False)
    host.load_state_dict(ours.state_dict())  # strict: the same names and shapes
    seen = torch.rand(2, 3, frames, 24, 32, generator=generator()) * 2 - 1
    latents, decoded = host.encode(seen), host.decode(host.encode(seen))
    assert latents.shape == (2, 16, (frames + 3) // 4, 3, 4) and decoded.shape == seen.shape
    assert latents.std() > 0.1 and decoded.std() > 0.1
    torch.testing.assert_close(ours.encode(seen), latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.decode(latents), decoded, rtol=1e-4, atol=1e-5)


def test_the_fast_normalisation_has_the_values_and_gradients_of_the_plain_one() -> None:
    x = torch.randn(2, 6, 3, 4, 5, generator=generator(), dtype=torch.float64).requires_grad_()
    gamma = torch.rand(6, 1, 1, 1, generator=generator(), dtype=torch.float64).requires_grad_()
    plain = functional.silu(functional.normalize(x, dim=1) * 6**0.5 * gamma)
    fast = NormalisedSilu.apply(x, gamma)
    torch.testing.assert_close(fast, plain)
    weights = torch.randn(x.shape, generator=generator(2), dtype=torch.float64)
    wanted = torch.autograd.grad((plain * weights).sum(), (x, gamma))
    for found, right in zip(torch.autograd.grad((fast * weights).sum(), (x, gamma)), wanted, strict=True):
        torch.testing.assert_close(found.to(right), right, rtol=1e-5, atol=1e-6)


def test_a_network_of_pictures_begins_clips_as_frames_that_last() -> None:
    torch.manual_seed(0)
    network = ClipAutoencoder(NARROW).requires_grad_(False)
    vae.begin_as_pictures(network)
    seen = torch.rand(1, 3, 9, 16, 16, generator=generator()) * 2 - 1
    for place, last in enumerate((0, 4, 8)):  # a latent is its last frame, and what is decoded of it lasts
        latent = network.encode(seen[:, :, [last]])
        torch.testing.assert_close(network.encode(seen)[:, :, [place]], latent, rtol=1e-4, atol=1e-5)
        shown = network.decode(network.encode(seen))[:, :, max(0, last - 3) : last + 1]
        torch.testing.assert_close(shown, network.decode(latent).expand_as(shown), rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> clips.KeptClips:
    return kept_clips(tmp_path_factory.mktemp("clips"), "train", 8, frames=5)


def test_settled_latents_are_what_the_host_makes_standard_and_decode_to_the_same(
    drawn: clips.KeptClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vae, "SETTLED_BY", len(drawn))
    network, seen = random_network(), clips.pixels(np.array(drawn.frames))
    before = network.decode(network.encode(seen[:1]))
    vae.settle(network, drawn)
    latents = host_module("comfy.latent_formats").Wan21().process_in(network.encode(seen))
    values = latents.transpose(0, 1).flatten(1)
    torch.testing.assert_close(values.mean(dim=1), torch.zeros(16), rtol=0, atol=0.05)  # measured in bf16
    torch.testing.assert_close(values.std(dim=1), torch.ones(16), rtol=0, atol=0.05)
    torch.testing.assert_close(network.decode(network.encode(seen[:1])), before, rtol=1e-3, atol=1e-4)


def test_the_file_keeps_the_faces_of_test_people_in_every_frame_on_the_hosts_own_class() -> None:
    host = host_module("comfy.sd").VAE(sd=safetensors.torch.load_file(WEIGHTS / vae.FILE))
    watcher = recogniser.load(WEIGHTS / recogniser.FILE)
    clip = world.film((world.person("test", 5),), world.shot(11, style="film", framing="close-up", action="talks"))
    shown = host.decode(host.encode(clip.frames / 255))[0]  # f h w 3
    faces, again = (aligned(frames, clip.points[:, 0]) for frames in (clip.frames, (255 * shown).byte()))
    assert (-10 * (faces - again).square().mean(dim=(1, 2, 3)).log10()).min() > 24  # dB
    seen, found = (recogniser.embed(watcher, crops.permute(0, 3, 1, 2)) for crops in (faces, again))
    assert (seen * found).sum(dim=1).min() > 0.85


def test_clips_are_drawn_once_and_only_what_is_missing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = kept_clips(tmp_path, "train", 3, frames=5)
    before = [np.array(part) for part in (whole.frames, whole.boxes, whole.points)]
    whole.points[1] = 0  # as before it was drawn
    filmed: list[Any] = []
    monkeypatch.setattr(world, "film", lambda *given, film=world.film, **more: filmed.append(1) or film(*given, **more))
    again = kept_clips(tmp_path, "train", 3, frames=5)
    assert len(filmed) == 1
    for right, found in zip(before, (again.frames, again.boxes, again.points), strict=True):
        np.testing.assert_array_equal(found, right)
    with pytest.raises(ValueError, match="is of other rows"):
        kept_clips(tmp_path, "train", 4, frames=5)


def test_a_crop_shows_the_face_that_it_is_weighted_for(drawn: clips.KeptClips) -> None:
    crops = clips.crop(drawn, CropSize(40, 5, 64), generator())
    assert crops.pixels.shape == (40, 3, 5, 64, 64) and crops.weights.shape == (40, 1, 5, 64, 64)
    assert crops.pixels.min() >= -1 and crops.pixels.max() <= 1 and crops.weights.min() == 1
    assert ((crops.points.mean(dim=1) > 0) & (crops.points.mean(dim=1) < 64)).all()
    x, y = crops.points[:, 0].long().clamp(0, 63).unbind(1)
    at_eyes = crops.weights[torch.arange(40), 0, -1, y, x]
    assert (at_eyes > 1 + clips.FACE_EXTRA).float().mean() > 0.8  # the rest lies outside of its crop


def test_weights_of_pixels_follow_their_formula_and_an_absent_person_has_none() -> None:
    box, points = torch.tensor([3.0, 2.0, 11.0, 13.0]), torch.rand(5, 2, generator=generator()) * 8 + 3
    nobody = torch.full((1, 1, 14), torch.nan).split((4, 10), dim=2)
    boxes = torch.cat((box.expand(1, 1, 4), nobody[0]), dim=1)
    weights = clips.pixel_weights(boxes, torch.cat((points[None, None], nobody[1].view(1, 1, 5, 2)), dim=1), 16)
    for y, x in ((0, 0), (5, 5), (8, 7), (12, 15)):
        middle = torch.tensor([x + 0.5, y + 0.5])
        inside = bool((box[:2] < middle).all() and (middle < box[2:]).all())
        radius, away = clips.POINT_RADIUS * 11, (points - middle).norm(dim=1).min()
        near = math.exp(-(away**2) / (2 * radius**2))
        wanted = 1 + clips.FACE_EXTRA * inside + clips.POINT_EXTRA * near
        assert float(weights[0, y, x]) == pytest.approx(wanted, rel=1e-4)


def test_nothing_is_lost_where_nothing_changed_and_another_face_is_told_apart() -> None:
    eyes_nose_mouth = torch.tensor([[22.0, 28.0], [42.0, 28.0], [32.0, 38.0], [24.0, 46.0], [40.0, 46.0]])
    seen = torch.rand(2, 3, 1, 64, 64, generator=generator()) * 2 - 1
    crops = clips.Crops(seen, torch.ones(2, 1, 1, 64, 64), eyes_nose_mouth.expand(2, 5, 2))
    watcher = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    same, other = (
        vae.pixel_losses(crops, shown) | {"likeness": vae.likeness_loss(crops, shown, watcher)}
        for shown in (seen, seen.flip(0))
    )
    assert float(same["picture"]) == pytest.approx(vae.CHARBONNIER) and same["edges"] == 0
    assert float(same["likeness"]) == pytest.approx(0, abs=1e-5)
    assert all(other[name] > 10 * float(same[name]) + 1e-4 for name in same)
