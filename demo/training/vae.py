"""Trains the autoencoder of the miniature cast: pictures first, then clips, then the decoder alone.

Each causal convolution begins as one of single pictures, and each change of the frame rate as one that drops or
repeats frames: what pictures taught is where clips begin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from devtools.kept_fit import write_tensors
from wan_core.training import MUON, FitPlan, LossOf

from .clips import KeptClips, kept_clips, pixels
from .job import Job
from .runs import run
from .vae_network import LATENT_CHANNELS, CausalConv, ClipAutoencoder, Resample, ResidualBlock

WIDTH = 12
FILE = "cast_vae.safetensors"
CLIPS = 3000

LATENT_NOISE = 0.1  # of the deviation of a channel: what the decoder learns to overlook
LATENT_WEIGHT = 0.01
EDGE_WEIGHT = 2.0
FACE_WEIGHT, POINT_WEIGHT = 3.0, 6.0  # on top of 1, of pixels in the box of a face and at its eyes and mouth
POINT_RADIUS = 0.14  # of the height of a face
CHARBONNIER = 1e-2  # where the loss of a pixel bends

# What the host takes off a latent of this kind, and divides it by. Wan-Video/Wan2.1 wan/modules/vae.py
HOST_MEANS = """-0.7571 -0.7089 -0.9113 0.1075 -0.1745 0.9653 -0.1517 1.5508
0.4134 -0.0715 0.5517 -0.3632 -0.1922 -0.9497 0.2503 -0.2921"""
HOST_DEVIATIONS = """2.8184 1.4541 2.3275 2.6558 1.2196 1.7708 2.6052 2.0743
3.2687 2.1526 2.8652 1.5579 1.6382 1.1253 2.8251 1.9160"""


@dataclass(frozen=True, slots=True)
class CropSize:
    """What one batch holds."""

    clips: int
    frames: int
    side_px: int


PICTURES = (CropSize(24, 1, 64), CropSize(24, 1, 64), CropSize(12, 1, 96))
SHORT_CLIPS = (CropSize(8, 5, 64), CropSize(4, 9, 64), CropSize(16, 1, 64), CropSize(2, 9, 96), CropSize(2, 17, 64))
PLAN = FitPlan(steps=2000, learning_rate=4e-3, warm_up_steps=60, optimiser=MUON, ema_decay=0.99)
STAGES = {
    "pictures": (PICTURES, replace(PLAN, steps=600, final_share=0.4)),
    "clips": (SHORT_CLIPS, replace(PLAN, learning_rate=3e-3)),
}
DECODER = (SHORT_CLIPS, replace(PLAN, learning_rate=2e-3))


def train(job: Job) -> None:
    """Trains all stages, and writes the file when the latents are settled and again when the decoder is done."""
    torch.manual_seed(job.seed)
    network = ClipAutoencoder(WIDTH)
    begin_as_pictures(network)
    channels_last(network).to(job.device)
    clips = kept_clips(job.folder, "train", CLIPS)
    for stage, (sizes, plan) in STAGES.items():
        run(job, network, loss_of(network, clips, sizes), plan, stage=stage)
    settle(network, clips)
    write_tensors(job.out / FILE, half(network))
    network.encoder.requires_grad_(False)
    network.conv1.requires_grad_(False)
    sizes, plan = DECODER
    run(job, network, loss_of(network, clips, sizes), plan, stage="decoder")
    write_tensors(job.out / FILE, half(network))


# The network at the beginning and at the end


def begin_as_pictures(network: ClipAutoencoder) -> None:
    """Weights at random, but the past counts for nothing, and every residual block begins close to its shortcut."""
    for part in network.modules():
        if isinstance(part, CausalConv):
            nn.init.zeros_(part.weight)
            last = part.weight.data[:, :, -1]  # the slice that meets the frame itself
            nn.init.normal_(last, std=last[0].numel() ** -0.5)
            nn.init.zeros_(part.bias)
        elif isinstance(part, Resample) and part.time_conv is not None:
            nn.init.zeros_(part.time_conv.weight)
            nn.init.zeros_(part.time_conv.bias)
            width = part.time_conv.in_channels
            for copy in part.time_conv.weight.data[:, :, -1, 0, 0].split(width):
                copy.copy_(torch.eye(width))
    for part in network.modules():
        if isinstance(part, ResidualBlock):
            part.residual.get_submodule("6").weight.data *= 0.2
    for identity in (network.conv1, network.conv2):
        identity.weight.data[..., 0, 0, 0] = torch.eye(identity.in_channels)


def channels_last(network: nn.Module) -> nn.Module:
    """The same network, its kernels in the layout in which convolutions run fastest."""
    for part in network.modules():
        if isinstance(part, nn.Conv3d):
            part.to(memory_format=torch.channels_last_3d)
        elif isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)
    return network


@torch.no_grad()
def settle(network: ClipAutoencoder, clips: KeptClips) -> None:
    """Moves into the convolutions around the latent what gives every channel the mean and deviation of the host."""
    latents = torch.cat([network.encode(pixels(clips.frames[number : number + 4])) for number in range(0, 256, 4)])
    latents = latents.transpose(0, 1).flatten(1)  # c n
    means, deviations = (torch.tensor([float(word) for word in text.split()]) for text in (HOST_MEANS, HOST_DEVIATIONS))
    gain = deviations / latents.std(dim=1)
    offset = means - gain * latents.mean(dim=1)
    into, out = network.conv1, network.conv2
    into.weight[:LATENT_CHANNELS] *= gain.view(-1, 1, 1, 1, 1)
    into.bias[:LATENT_CHANNELS] = into.bias[:LATENT_CHANNELS] * gain + offset
    out.weight /= gain.view(1, -1, 1, 1, 1)
    out.bias -= out.weight.flatten(1) @ offset


def half(network: nn.Module) -> dict[str, Tensor]:
    """The weights as the file holds them."""
    return {key: value.half() for key, value in network.state_dict().items()}


# Losses


def loss_of(network: ClipAutoencoder, clips: KeptClips, sizes: tuple[CropSize, ...]) -> LossOf:
    """The loss of a batch of crops; the steps take the sizes in turn."""

    def losses(step: int, generator: torch.Generator) -> dict[str, Tensor]:
        crops, weights = crop(clips, sizes[step % len(sizes)], generator)
        latents = network.encode(crops)
        deviations = latents.detach().float().std(dim=(0, 2, 3, 4), keepdim=True)
        noise = torch.randn(latents.shape, generator=generator, device=latents.device)
        decoded = network.decode(latents + LATENT_NOISE * deviations * noise).float()
        return {
            "picture": (weights * charbonnier(decoded - crops)).mean(),
            "edges": EDGE_WEIGHT * edge_loss(decoded, crops, weights),
            "latents": LATENT_WEIGHT * latent_loss(latents.float()),
        }

    return losses


def charbonnier(difference: Tensor) -> Tensor:
    """The absolute value with a round foot."""
    return (difference.square() + CHARBONNIER**2).sqrt()


def edge_loss(decoded: Tensor, wanted: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours in height, width and time."""
    difference = decoded - wanted
    steps = [difference.diff(dim=dim).abs() * weights.narrow(dim, 1, weights.shape[dim] - 1) for dim in (2, 3, 4)]
    return torch.stack([step.mean() for step in steps if step.numel()]).mean()


def latent_loss(latents: Tensor) -> Tensor:
    """How far each channel is from mean 0 and deviation 1 over the batch; ``b c t h w``."""
    values = latents.transpose(0, 1).flatten(1)  # c n
    return (values.mean(dim=1).square() + (values.std(dim=1) - 1).square()).mean()


# Examples


def crop(clips: KeptClips, size: CropSize, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Crops of random clips that hold a face, ``b 3 f h w`` of -1 to 1, and what each pixel counts, ``b 1 f h w``."""
    random = np.random.default_rng(torch.randint(2**31, (), generator=generator, device=generator.device).item())
    numbers = random.integers(len(clips), size=size.clips)
    starts = random.integers(clips.frames.shape[1] - size.frames + 1, size=size.clips)
    frames, weights = [], []
    for number, start in zip(numbers, starts, strict=True):
        span = slice(start, start + size.frames)
        box = clips.boxes[number, start, random.integers(2)]
        box = clips.boxes[number, start, 0] if np.isnan(box).any() else box
        left, top = (corner(box[axis::2], clips.frames.shape[2], size.side_px, random) for axis in (0, 1))
        window = (slice(top, top + size.side_px), slice(left, left + size.side_px))
        frames.append(clips.frames[(number, span, *window)])
        shift = torch.tensor([left, top], dtype=torch.float32)
        boxes = torch.from_numpy(clips.boxes[number, span]) - shift.repeat(2)
        weights.append(face_weights(boxes, torch.from_numpy(clips.points[number, span]) - shift, size.side_px))
    batch = pixels(np.stack(frames)).to(generator.device, memory_format=torch.channels_last_3d)
    return batch, torch.stack(weights)[:, None].to(generator.device)


def corner(ends: np.ndarray, picture_px: int, side_px: int, random: np.random.Generator) -> int:
    """Where a crop begins along one axis, so that the middle of the face is in it."""
    low, high = np.clip([ends.mean() - 0.8 * side_px, ends.mean() - 0.2 * side_px], 0, picture_px - side_px)
    return int(random.integers(int(low), int(high) + 1))


def face_weights(boxes: Tensor, points: Tensor, side_px: int) -> Tensor:
    """What each pixel counts, ``f h w``: more in a box (``f p 4``), most at its points (``f p 5 2``)."""
    middles = torch.arange(side_px) + 0.5
    x, y = middles.view(1, 1, 1, -1), middles.view(1, 1, -1, 1)
    left, top, right, bottom = boxes[..., None, None].unbind(2)  # f p 1 1
    inside = ((x > left) & (x < right) & (y > top) & (y < bottom)).float()
    radius = POINT_RADIUS * (bottom - top)[:, :, None]
    away = (x[:, :, None] - points[..., :1, None]).square() + (y[:, :, None] - points[..., 1:, None]).square()
    near = (-away / (2 * radius.square())).exp().amax(dim=2).nan_to_num()
    return 1 + (FACE_WEIGHT * inside + POINT_WEIGHT * near).sum(dim=1)
