"""The Wan2.1 autoencoder in the form that trains: a whole clip at once instead of chunks with a cache.

Structure and names of weights: Wan-Video/Wan2.1 wan/modules/vae.py. Clips have 1 + 4 k frames; a clip of one frame is
computed by convolutions in two dimensions, with the temporal slice that meets that frame.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 16
MULTIPLES = (1, 2, 4, 4)
RES_BLOCKS = 2
SHRINKS_TIME = (False, True, True)  # after each encoder stage but the last; the decoder has them the other way round
FRAMES_PER_LATENT = 4
PIXELS_PER_LATENT = 8
TINY = 1e-12  # of a mean square, where the norm of a position of zeros is cut off
assert 2 ** sum(SHRINKS_TIME) == FRAMES_PER_LATENT
assert 2 ** len(SHRINKS_TIME) == PIXELS_PER_LATENT


# Kernels


def normalised(x: Tensor, gamma: Tensor) -> Tensor:
    """Divides every position by the root mean square of its channels; ``b c ...``, computed in fp32."""
    wide = F.normalize(x.float(), dim=1) * x.shape[1] ** 0.5 * gamma  # b c ...
    return wide.to(x.dtype)


class NormalisedSilu(torch.autograd.Function):
    """SiLU of the normalised positions, with a backward pass that keeps little and walks over memory seldom.

    Sums over channels are products with a matrix, which leaves each sum where it is needed.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor) -> Tensor:
        rows = x.movedim(1, -1).flatten(0, -2)  # n c
        mean = torch.full((x.shape[1],) * 2, 1 / x.shape[1], dtype=x.dtype, device=x.device)
        inverse = (rows.square() @ mean).clamp_(min=TINY).rsqrt_()
        normal, scale = rows * inverse, gamma.flatten().to(x.dtype)
        ctx.save_for_backward(normal, inverse, scale, mean)
        ctx.gamma_shape = gamma.shape
        return F.silu(normal * scale).view(x.movedim(1, -1).shape).movedim(-1, 1)

    @staticmethod
    def backward(ctx: Any, of_result: Tensor) -> tuple[Tensor, Tensor]:
        normal, inverse, scale, mean = ctx.saved_tensors
        by_row = of_result.movedim(1, -1)
        of_scaled = torch.ops.aten.silu_backward(by_row.reshape(normal.shape), normal * scale)
        along = of_scaled * normal
        of_gamma = along.sum(0, dtype=torch.float32).view(ctx.gamma_shape)
        of_x = (of_scaled * scale).addcmul_(normal, (along * scale) @ mean, value=-1) * inverse
        return of_x.view(by_row.shape).movedim(-1, 1), of_gamma


def interleaved(pairs: Tensor) -> Tensor:
    """Two frames held one after the other in the channels, as neighbours in time: ``b 2c t h w`` to ``b c 2t h w``."""
    first, second = pairs.chunk(2, dim=1)
    return torch.stack((first, second), dim=3).flatten(2, 3)


def as_frames(x: Tensor) -> Tensor:
    """``b c t h w`` to ``bt c h w``."""
    return x.transpose(1, 2).flatten(0, 1)


def as_clips(frames: Tensor, t: int) -> Tensor:
    """``bt c h w`` to ``b c t h w``."""
    return frames.unflatten(0, (-1, t)).transpose(1, 2)


# Layers


class CausalConv(nn.Conv3d):
    """A convolution of size 1 or 3 in all directions that sees no later frame: as many zero frames stand before."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__(inputs, outputs, size, padding=(0, size // 2, size // 2))
        self.past = size - 1

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] == 1:
            flat = F.conv2d(x.squeeze(2), self.weight[:, :, -1], self.bias, padding=self.padding[1:])
            return flat.unsqueeze(2)
        return super().forward(F.pad(x, (0, 0, 0, 0, self.past, 0)))


class ChannelNorm(nn.Module):
    """The learnt scale of a channel normalisation before SiLU, ``c 1 1 1``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return NormalisedSilu.apply(x, self.gamma)


class Resample(nn.Module):
    """Halves or doubles height and width, and the number of frames after the first where ``time`` is set."""

    def __init__(self, width: int, mode: Literal["down", "up"], *, time: bool) -> None:
        super().__init__()
        self.mode = mode
        if mode == "down":
            self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, width, 3, stride=2))
            self.time_conv = nn.Conv3d(width, width, (3, 1, 1), stride=(2, 1, 1)) if time else None
        else:
            double = nn.Upsample(scale_factor=2.0, mode="nearest-exact")
            self.resample = nn.Sequential(double, nn.Conv2d(width, width // 2, 3, padding=1))
            self.time_conv = nn.Conv3d(width, 2 * width, (3, 1, 1)) if time else None

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.mode == "down" else self.more_frames(x)
        x = as_clips(self.resample(as_frames(x)), x.shape[2])
        return self.fewer_frames(x) if self.mode == "down" else x

    def fewer_frames(self, x: Tensor) -> Tensor:
        """The first frame as it is, and one for each two that follow, which sees them and the frame before."""
        if self.time_conv is None or x.shape[2] == 1:
            return x
        return torch.cat((x[:, :, :1], self.time_conv(x)), dim=2)

    def more_frames(self, x: Tensor) -> Tensor:
        """The first frame as it is, and two for each that follows, which sees zeros where the first frame was."""
        if self.time_conv is None or x.shape[2] == 1:
            return x
        later = self.time_conv(F.pad(x[:, :, 1:], (0, 0, 0, 0, 2, 0)))  # b 2c t-1 h w
        return torch.cat((x[:, :, :1], interleaved(later)), dim=2)


class ResidualBlock(nn.Module):
    """Two causal convolutions, each after normalisation and SiLU, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        parts = {"0": ChannelNorm(inputs), "2": CausalConv(inputs, outputs, 3)}
        parts |= {"3": ChannelNorm(outputs), "6": CausalConv(outputs, outputs, 3)}
        self.residual = nn.Sequential()
        for name, part in parts.items():
            self.residual.add_module(name, part)
        self.shortcut = CausalConv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class FrameNorm(nn.Module):
    """The learnt scale of a channel normalisation of single frames, ``c 1 1``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return normalised(x, self.gamma)


class AttentionBlock(nn.Module):
    """Self-attention of one head among the positions of each frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = FrameNorm(width)
        self.to_qkv = nn.Conv2d(width, 3 * width, 1)
        self.proj = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = x.shape[2:]
        frames = as_frames(x)
        tokens = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)  # bt hw 3c
        mixed = F.scaled_dot_product_attention(*tokens.chunk(3, dim=2))  # bt hw c
        frames = self.proj(mixed.transpose(1, 2).unflatten(2, (h, w)))
        return x + as_clips(frames, t)


# The network


def middle(width: int) -> nn.Sequential:
    """Residual block, attention, residual block."""
    return nn.Sequential(ResidualBlock(width, width), AttentionBlock(width), ResidualBlock(width, width))


def head(width: int, outputs: int) -> nn.Sequential:
    """The last normalisation and convolution."""
    last = nn.Sequential(ChannelNorm(width))
    last.add_module("2", CausalConv(width, outputs, 3))
    return last


class Encoder(nn.Module):
    """Pictures ``b 3 f h w`` to twice the latent channels, mean and spread."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * multiple for multiple in (1, *MULTIPLES)]
        self.conv1 = CausalConv(3, widths[0], 3)
        self.downsamples = nn.Sequential()
        for stage, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            self.downsamples.append(ResidualBlock(inputs, outputs))
            self.downsamples.extend(ResidualBlock(outputs, outputs) for _ in range(RES_BLOCKS - 1))
            if stage < len(SHRINKS_TIME):
                self.downsamples.append(Resample(outputs, "down", time=SHRINKS_TIME[stage]))
        self.middle = middle(widths[-1])
        self.head = head(widths[-1], 2 * LATENT_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.downsamples(self.conv1(x))))


class Decoder(nn.Module):
    """Latents to pictures; every stage after the first begins with half the channels that the one before ended with."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width * multiple for multiple in (MULTIPLES[-1], *MULTIPLES[::-1])]
        self.conv1 = CausalConv(LATENT_CHANNELS, widths[0], 3)
        self.middle = middle(widths[0])
        self.upsamples = nn.Sequential()
        for stage, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            self.upsamples.append(ResidualBlock(inputs // 2 if stage else inputs, outputs))
            self.upsamples.extend(ResidualBlock(outputs, outputs) for _ in range(RES_BLOCKS))
            if stage < len(SHRINKS_TIME):
                self.upsamples.append(Resample(outputs, "up", time=SHRINKS_TIME[::-1][stage]))
        self.head = head(widths[-1], 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.upsamples(self.middle(self.conv1(x))))


class ClipAutoencoder(nn.Module):
    """Clips ``b 3 f h w`` of -1 to 1 to latents ``b 16 t h w`` and back, f = 1 + 4 (t - 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.conv1 = CausalConv(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.conv2 = CausalConv(LATENT_CHANNELS, LATENT_CHANNELS, 1)
        self.decoder = Decoder(width)

    def encode(self, clips: Tensor) -> Tensor:
        return self.conv1(self.encoder(clips))[:, :LATENT_CHANNELS]

    def decode(self, latents: Tensor) -> Tensor:
        return self.decoder(self.conv2(latents))
