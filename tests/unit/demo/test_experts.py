"""The experts of the miniature cast: what trains is what the host runs, on the side that it is for."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from demo import world
from demo.training import experts, image_experts, latents
from demo.training.expert_network import (
    CONFIG,
    IMAGE_INPUT_CHANNELS,
    TEXT_TOKENS,
    TEXT_WIDTH,
    expert,
    widened,
    with_short_text,
)
from demo.training.fp8 import scaled_fp8, unscaled
from demo.training.latent_clips import ClipSeries, LatentClips, ready
from devtools.host_modules import host_module
from devtools.kept_fit import write_tensors

SERIES = ClipSeries("small", "validation", people=4, takes=2)
LATENT = (16, 5, 12, 12)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lively(input_channels: int = 16) -> nn.Module:
    """An expert whose every weight counts, the head's too."""
    torch.manual_seed(1)
    network = expert(input_channels)
    for value in network.parameters():
        nn.init.normal_(value, std=0.08) if value.ndim > 1 else value.data.add_(0.05 * torch.randn_like(value))
    return network


def contexts(*lengths: int, tokens: int = TEXT_TOKENS) -> Tensor:
    context = torch.zeros(len(lengths), tokens, TEXT_WIDTH)
    for row, length in enumerate(lengths):
        context[row, :length] = noise(length, TEXT_WIDTH, seed=row)
    return context


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


# The network


@torch.no_grad()
def test_a_prompt_cut_short_is_read_as_the_whole_one() -> None:
    network, x, sigma = lively(), noise(3, *LATENT), torch.tensor([990.0, 500.0, 20.0])
    whole = network(x, sigma, contexts(1, 20, 40), transformer_options={})
    short = contexts(1, 20, 40, tokens=48)
    assert far(network(x, sigma, short, transformer_options=with_short_text(short)), whole) < 1e-5
    assert far(network(x, sigma, short, transformer_options={}), whole) > 1e-3


@torch.no_grad()
def test_an_image_expert_begins_as_the_text_expert() -> None:
    narrow, wide = lively(), expert(IMAGE_INPUT_CHANNELS)
    wide.load_state_dict(widened(narrow.state_dict(), IMAGE_INPUT_CHANNELS))
    x, given, text = noise(1, *LATENT), noise(1, 20, *LATENT[1:], seed=3), contexts(9)
    sigma = torch.tensor([700.0])
    seen = torch.cat((x, given), dim=1)
    assert far(wide(seen, sigma, text, transformer_options={}), narrow(x, sigma, text, transformer_options={})) < 1e-6


# The file


def test_a_number_in_scaled_fp8_keeps_its_three_bits() -> None:
    weights = {"blocks.0.ffn.0.weight": noise(64, 96) * 0.03, "head.head.weight": noise(8, 8)}
    file = scaled_fp8(weights)
    scale = file["blocks.0.ffn.0.scale_weight"]
    back, wanted = unscaled(file)["blocks.0.ffn.0.weight"], weights["blocks.0.ffn.0.weight"]
    assert ((back - wanted).abs() <= (wanted.abs() * 2**-4).clamp(min=float(scale) * 2**-10)).all()
    assert file["head.head.weight"].dtype == torch.float16


@torch.no_grad()
@pytest.mark.parametrize("channels", [16, IMAGE_INPUT_CHANNELS])
def test_the_host_loads_the_file_and_computes_what_the_training_did(tmp_path: Path, channels: int) -> None:
    network, path = lively(channels), tmp_path / "expert.safetensors"
    file = scaled_fp8(network.state_dict())
    write_tensors(path, file, CONFIG)
    assert path.stat().st_size < 1.85e6
    patcher = host_module("comfy.sd").load_diffusion_model(str(path))
    host_module("comfy.model_management").load_models_gpu([patcher])
    inputs = (noise(2, channels, *LATENT[1:]), torch.tensor([900.0, 300.0]), contexts(12, 30))
    of_host = patcher.model.diffusion_model(*inputs, transformer_options={})
    exact = network(*inputs, transformer_options={})
    network.load_state_dict(unscaled(file))
    assert far(of_host, network(*inputs, transformer_options={})) < 1e-5
    assert far(of_host, exact) < 0.05


# The clips


@pytest.fixture
def clips(tmp_path: Path) -> LatentClips:
    """Rows of noise, of which the last is not encoded yet; no row shows two people."""
    made = LatentClips.of_folder(SERIES, tmp_path)
    made.latents[:-1] = noise(7, *LATENT, seed=9).numpy()
    made.captions[:] = [["film, close-up of a woman", "\u7535\u5f71"]] * len(SERIES)
    made.boxes[:, :, 1], made.boxes[:, :, 0] = np.nan, [8, 16, 40, 56]
    made.boxes[:, 3, 0] = [0, 16, 40, 64]
    made.frames[:] = 200
    return made


READER = SimpleNamespace(contexts=lambda prompts: contexts(*[5] * len(prompts), tokens=48))  # the same for all
CPU = torch.device("cpu")


def test_the_rows_of_a_person_follow_each_other_and_show_no_one_twice() -> None:
    scenes = [SERIES.scene(row) for row in range(len(SERIES))]
    assert [scene.people[0].index for scene in scenes] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [len(scene.people) for scene in scenes].count(2) == 2
    assert all(len({person.index for person in scene.people}) == len(scene.people) for scene in scenes)
    assert len({scene.shot for scene in scenes}) == len(SERIES) and SERIES.scene(5) == scenes[5]


def test_rows_are_ready_up_to_the_first_that_is_missing(clips: LatentClips, tmp_path: Path) -> None:
    assert clips.missing("latents") == [7] and ready(clips) == 7
    clips.latents[2] = 0
    assert ready(LatentClips.of_folder(SERIES, tmp_path)) == 2
    clips.latents[0] = 0
    with pytest.raises(ValueError, match="run the training `latents`"):
        ready(clips)
    with pytest.raises(ValueError, match="is of other rows"):
        LatentClips.of_folder(ClipSeries("small", "validation", people=5, takes=2), tmp_path)


def test_a_latent_box_is_around_the_face_in_all_its_frames(clips: LatentClips) -> None:
    boxes = clips.latent_boxes([0, 1])[:, :, 0]  # b t 4
    assert boxes.shape == (2, 5, 4)
    assert boxes[0].tolist() == [[1, 2, 5, 7], [0, 2, 5, 8], *[[1, 2, 5, 7]] * 3]


class Mean:
    """Stands for the autoencoder: each latent frame is the mean of the pixels of its frames."""

    def to(self, _: torch.device) -> Mean:
        return self

    def encode(self, pixels: Tensor) -> Tensor:
        first, later = (
            pixels[:, :, :1].mean(dim=(1, 3, 4)),
            pixels[:, :, 1:].unflatten(2, (4, 4)).mean(dim=(1, 3, 4, 5)),
        )
        return torch.cat((first, later), dim=1)[:, None, :, None, None].expand(-1, *LATENT)


def test_what_is_missing_is_made_and_what_is_there_stays(tmp_path: Path) -> None:
    series = ClipSeries("tiny", "validation", people=2, takes=1)
    made = LatentClips.of_folder(series, tmp_path)
    latents.draw(made)
    drawn = made.frames.copy()
    made.frames[0], made.frames[1], made.points[1] = 7, 0, 0
    latents.draw(LatentClips.of_folder(series, tmp_path))
    assert (made.frames[0] == 7).all() and (made.frames[1] == drawn[1]).all()
    scene = series.scene(1)  # of one person
    assert made.captions[1].tolist() == [world.caption(scene.people, (scene.shot,), each) for each in world.LANGUAGES]
    latents.embed(made, lambda crops: torch.ones(len(crops), 512))
    latents.encode(made, Mean(), CPU)
    assert np.allclose(made.embeddings[0], 512**-0.5) and np.isnan(made.embeddings[1, 1]).all()
    grey = torch.full((1, *LATENT), 7 / 127.5 - 1)
    wanted = host_module("comfy.latent_formats").Wan21().process_in(grey)[0]
    assert torch.allclose(torch.from_numpy(made.latents[0]).float(), wanted, atol=2e-3)


@pytest.mark.parametrize(("height_px", "side_px"), [(23, 256), (40, 96)])
def test_a_small_face_is_known_from_a_portrait(clips: LatentClips, height_px: int, side_px: int) -> None:
    clips.boxes[1, 5, 0] = [10, 10, 40, 10 + height_px]
    frames, points = latents.looks(clips, 1, 0, world.person("validation", 0))
    assert frames.shape[1:] == (side_px, side_px, 3) and points.shape == (len(frames), 5, 2)


# The loss


class Zero(nn.Module):
    """An expert that predicts nothing and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.sigmas: list[float] = []
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, timestep: Tensor, context: Tensor, **_: object) -> Tensor:
        self.sigmas += (timestep / 1000).tolist()
        self.seen.append(x)
        return torch.zeros_like(x[:, :16])


@pytest.mark.parametrize(("name", "high", "low"), [("t2v-high", 32, 0), ("t2v-low", 0, 32), ("control", 16, 16)])
def test_each_training_stays_on_its_side(clips: LatentClips, tmp_path: Path, name: str, high: int, low: int) -> None:
    network = Zero()
    sets = dict.fromkeys(experts.SERIES, experts.CaptionedClips(clips, READER, CPU))
    experts.loss_of(network, sets, experts.SIDES[name])(1, torch.Generator().manual_seed(0))
    above = sum(sigma >= experts.BOUNDARY for sigma in network.sigmas)
    assert (above, len(network.sigmas) - above) == (high, low)


def test_the_error_of_an_expert_that_says_nothing_is_that_of_the_velocity(clips: LatentClips, tmp_path: Path) -> None:
    errors = experts.loss_by_sigma(Zero(), experts.CaptionedClips(clips, READER, CPU), sigmas=(0.2, 1.0))
    expected = 1 + float(noise(7, *LATENT, seed=9).square().mean())  # noise and latent are independent
    assert errors == pytest.approx([expected] * 2, rel=0.02) and errors[0] == errors[1]


# Image to video


@pytest.mark.parametrize(("row", "frames"), [(0, 1), (2, 5)])
def test_what_is_given_is_what_the_host_puts_beside_the_noise(
    clips: LatentClips, tmp_path: Path, row: int, frames: int
) -> None:
    pixels = torch.full((1, 3, 17, 96, 96), 200 / 127.5 - 1)
    pixels[:, :, frames:] = 0.5 * 2 - 1  # Wan Image to Video fills up with 0.5
    mask = torch.ones(1, 1, *LATENT[1:])
    mask[:, :, : math.ceil((frames + 3) / 4)] = 0  # as Wan Image to Video marks what it was given
    expert_model = SimpleNamespace(
        diffusion_model=SimpleNamespace(patch_embedding=SimpleNamespace(weight=torch.empty(1, IMAGE_INPUT_CHANNELS))),
        latent_format=SimpleNamespace(latent_channels=16),
        process_latent_in=host_module("comfy.latent_formats").Wan21().process_in,
        image_to_video=True,
    )
    wanted = host_module("comfy.model_base").WAN21.concat_cond(
        expert_model,
        noise=noise(1, *LATENT),
        device="cpu",
        concat_latent_image=Mean().encode(pixels).clone(),
        concat_mask=mask,
    )
    kept = np.zeros((len(SERIES), *LATENT), np.float16)
    seen = image_experts.GivenClips(clips, READER, CPU, Mean(), kept).given([row])
    assert torch.allclose(seen, wanted, atol=2e-3) and kept[row].any()
