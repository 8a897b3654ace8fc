"""Trains the autoencoder of the miniature cast: pictures first, then clips, then the decoder alone.

Each causal convolution begins as one of single pictures, and each change of the frame rate as one that drops or
repeats frames: what pictures taught is where clips begin. The cast's recogniser watches whether a face is still that
of the same person. At last the latents stay as they are, and the decoder learns on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from devtools.host_modules import host_module
from devtools.kept_fit import write_tensors
from wan_core.training import MUON, FitPlan, LossOf

from . import recogniser
from .clips import Crops, CropSize, KeptClips, crop, kept_clips, pixels
from .face_data import crop_differentiable
from .job import Job
from .runs import run
from .vae_network import LATENT_CHANNELS, CausalConv, ClipAutoencoder, Resample, ResidualBlock

WIDTH = 12
FILE = "cast_vae.safetensors"
CLIPS = 3000
SETTLED_BY = 100  # clips, whose latents tell the mean and the deviation of a channel

LATENT_NOISE = 0.05  # of the deviation of a channel: what the decoder learns to overlook
LATENT_WEIGHT = 0.01
EDGE_WEIGHT = 2.0
LIKENESS_WEIGHT = 0.5
CHARBONNIER = 1e-2  # where the loss of a pixel bends


@dataclass(frozen=True, slots=True)
class AutoencoderStage:
    """One fit of the network."""

    name: str
    sizes: tuple[CropSize, ...]  # of the batches, in turn
    plan: FitPlan


PLAN = FitPlan(steps=2000, learning_rate=4e-3, warm_up_steps=60, optimiser=MUON, ema_decay=0.995)
MOVING = (CropSize(8, 5, 64), CropSize(4, 9, 64), CropSize(24, 1, 64), CropSize(2, 9, 96), CropSize(2, 17, 64))
PICTURES = AutoencoderStage(
    "pictures",
    (CropSize(24, 1, 64), CropSize(24, 1, 64), CropSize(12, 1, 96)),
    replace(PLAN, steps=900, final_share=0.4),
)
SHORT_CLIPS = AutoencoderStage("clips", MOVING, replace(PLAN, steps=3900, learning_rate=2e-3))
DECODER = AutoencoderStage("decoder", MOVING, replace(PLAN, learning_rate=1.5e-3))


def train(job: Job) -> None:
    """Trains all stages, and writes the file when the latents are settled and again when the decoder is done."""
    torch.manual_seed(job.seed)
    network = ClipAutoencoder(WIDTH)
    begin_as_pictures(network)
    channels_last(network).to(job.device)
    clips = kept_clips(job.folder, "train", CLIPS)
    watcher = recogniser.with_fixed_slopes(recogniser.load(job.out / recogniser.FILE))
    watcher.to(job.device)
    for stage in (PICTURES, SHORT_CLIPS, DECODER):
        if stage is DECODER:
            settle(network, clips)
            write_tensors(job.out / FILE, half(network))
            network.encoder.requires_grad_(False)
            network.conv1.requires_grad_(False)
        run(job, network, loss_of(network, clips, stage.sizes, watcher), stage.plan, stage=stage.name)
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
    device = network.conv1.weight.device
    with torch.autocast(device.type, torch.bfloat16):
        latents = torch.cat([network.encode(pixels(clips.frames[[row]]).to(device)) for row in range(SETTLED_BY)])
    latents = latents.float().transpose(0, 1).flatten(1)  # c n
    wanted = host_module("comfy.latent_formats").Wan21()
    gain = wanted.latents_std.flatten().to(device) / latents.std(dim=1)
    offset = wanted.latents_mean.flatten().to(device) - gain * latents.mean(dim=1)
    into, out = network.conv1, network.conv2
    into.weight[:LATENT_CHANNELS] *= gain.view(-1, 1, 1, 1, 1)
    into.bias[:LATENT_CHANNELS] = into.bias[:LATENT_CHANNELS] * gain + offset
    out.weight /= gain.view(1, -1, 1, 1, 1)
    out.bias -= out.weight.flatten(1) @ offset


def half(network: nn.Module) -> dict[str, Tensor]:
    """The weights as the file holds them."""
    return {key: value.half() for key, value in network.state_dict().items()}


# Losses


def loss_of(network: ClipAutoencoder, clips: KeptClips, sizes: tuple[CropSize, ...], watcher: nn.Module) -> LossOf:
    """The loss of a batch of crops, also by what a recogniser sees; the steps take the sizes in turn."""

    def loss(step: int, generator: torch.Generator) -> Mapping[str, Tensor]:
        crops = crop(clips, sizes[step % len(sizes)], generator)
        latents = network.encode(crops.pixels)
        decoded = network.decode(noisy(latents, generator)).float()
        losses = pixel_losses(crops, decoded) | {"likeness": LIKENESS_WEIGHT * likeness_loss(crops, decoded, watcher)}
        of_latents = {"latents": LATENT_WEIGHT * latent_loss(latents.float())} if latents.requires_grad else {}
        return losses | of_latents

    return loss


def noisy(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Latents ``b c t h w`` with noise in proportion to the deviation of each channel."""
    deviations = latents.detach().float().std(dim=(0, 2, 3, 4), keepdim=True)
    noise = torch.randn(latents.shape, generator=generator, device=latents.device)
    return latents + LATENT_NOISE * deviations * noise


def pixel_losses(crops: Crops, decoded: Tensor) -> dict[str, Tensor]:
    """Charbonnier loss of pixels, and absolute error of the differences between neighbours in all directions."""
    difference = decoded - crops.pixels
    of_pixels = (difference.square() + CHARBONNIER**2).sqrt() * crops.weights
    steps = [
        difference.diff(dim=dim).abs() * crops.weights.narrow(dim, 1, difference.shape[dim] - 1) for dim in (2, 3, 4)
    ]
    of_edges = torch.stack([step.mean() for step in steps if step.numel()])  # one frame has no neighbour in time
    return {"picture": of_pixels.mean(), "edges": EDGE_WEIGHT * of_edges.mean()}


def latent_loss(latents: Tensor) -> Tensor:
    """How far each channel is from mean 0 and deviation 1 over the batch; ``b c t h w``."""
    values = latents.transpose(0, 1).flatten(1)  # c n
    return (values.mean(dim=1).square() + (values.std(dim=1) - 1).square()).mean()


def likeness_loss(crops: Crops, decoded: Tensor, watcher: nn.Module) -> Tensor:
    """1 - cosine between what the recogniser sees in the last frames, and in what was decoded of them."""
    with torch.autocast(decoded.device.type, enabled=False):
        seen, again = (
            recogniser.embed(watcher, crop_differentiable((frames[:, :, -1] + 1) / 2, crops.points))
            for frames in (crops.pixels, decoded)
        )
    return (1 - (seen * again).sum(dim=1)).mean()
