"""Tiny Wan VAEs: the attribute names and the call protocols of the host's modules, its depth, and few channels.

Every module also has ``whole``, which takes all frames of a clip at once and knows no cache: the oracle. With a cache
it takes one chunk, as the host's own decoder does.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import conv3d, normalize, pad

from wan_core.vae.params import VaeParams

WAN21 = VaeParams(
    kind="Wan2.1",
    latent_channels=3,
    image_channels=3,
    spatial_scale=8,
    temporal_scale=4,
    patch=1,
    chunk_latents=2,
    cache_slots=33,
)
WAN22 = VaeParams(
    kind="Wan2.2",
    latent_channels=5,
    image_channels=3,
    spatial_scale=16,
    temporal_scale=4,
    patch=2,
    chunk_latents=1,
    cache_slots=34,
)
BLOCKS_IN_STAGE = 3
DOUBLES_TIME = (True, True, False)  # what follows each stage but the last
PAST = 2  # frames that a convolution remembers

Shapes = dict[str, tuple[int, ...]]


class HostCache:
    """A walk along the slots that the host hands to its decoder, one for each convolution of three taps."""

    def __init__(self, slots: list[Any], *, keeps_previous: bool) -> None:
        self.slots, self.place = slots, 0
        self.keeps_previous = keeps_previous  # fills up a chunk of one frame from the old slot, as Wan2.2 does
        self.is_new = all(slot is None for slot in slots)

    def convolve(self, conv: CausalConv, x: Tensor) -> Tensor:
        past, kept = self.slots[self.place], x[:, :, -PAST:]
        if self.keeps_previous and kept.shape[2] < PAST and past is not None:
            kept = torch.cat([past[:, :, -1:], kept], dim=2)
        self.slots[self.place] = kept
        self.place += 1
        return conv(x, past)

    def double(self, conv: CausalConv, x: Tensor) -> Tensor:
        """The clip's first frame stays single and leaves a mark in the slot; the convolution starts after it."""
        if self.is_new:
            self.slots[self.place] = "Rep"
            self.place += 1
            return x
        if isinstance(self.slots[self.place], str):
            self.slots[self.place] = None
        return pairs(self.convolve(conv, x))


class CausalConv(nn.Module):
    """A convolution that sees the frames before the present one, and zeros before the first of them."""

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int, int] = (3, 3, 3)) -> None:
        super().__init__()
        self.kernel_size = kernel
        fan_in = c_in * kernel[0] * kernel[1] * kernel[2]
        self.weight = nn.Parameter(torch.randn(c_out, c_in, *kernel, dtype=torch.float64) * fan_in**-0.5)
        self.bias = nn.Parameter(torch.randn(c_out, dtype=torch.float64) * 0.1)
        self.calls: list[tuple[int, int]] = []  # past and present frames of each

    def forward(self, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
        past = x[:, :, :0] if cache_x is None else cache_x
        self.calls.append((past.shape[2], x.shape[2]))
        side = self.kernel_size[1] // 2
        missing = max(0, self.kernel_size[0] - 1 - past.shape[2])
        return conv3d(pad(torch.cat([past, x], dim=2), (side,) * 4 + (missing, 0)), self.weight, self.bias)

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        return self(x) if cache is None else cache.convolve(self, x)


class Norm(nn.Module):
    """The channels of every position brought to one length."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(1 + 0.1 * torch.randn(width, 1, 1, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return normalize(x, dim=1) * x.shape[1] ** 0.5 * self.gamma


class ResidualBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            Norm(c_in),
            nn.SiLU(),
            CausalConv(c_in, c_out),
            Norm(c_out),
            nn.SiLU(),
            nn.Dropout(0.0),
            CausalConv(c_out, c_out),
        )
        self.shortcut = CausalConv(c_in, c_out, (1, 1, 1)) if c_in != c_out else nn.Identity()

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        return run_whole(self.residual, x, cache) + self.shortcut(x)


class Attention(nn.Module):
    """Every pixel of a frame asks every other one of the same frame."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv = nn.Linear(width, 3 * width, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(rearrange(x, "b c f h w -> (b f) (h w) c")).chunk(3, dim=-1)
        mixed = (q @ k.transpose(1, 2)).softmax(-1) @ v
        return x + rearrange(mixed, "(b f) (h w) c -> b c f h w", b=len(x), h=x.shape[3])


class Upsample(nn.Module):
    """Twice the sides, and with ``in_time`` twice the frames, except for the first of the clip."""

    def __init__(self, width: int, c_out: int, *, in_time: bool) -> None:
        super().__init__()
        conv = nn.Conv2d(width, c_out, 3, padding=1, dtype=torch.float64)
        self.resample = nn.Sequential(nn.Upsample(scale_factor=2.0, mode="nearest-exact"), conv)
        if in_time:
            self.time_conv = CausalConv(width, 2 * width, (3, 1, 1))

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        if hasattr(self, "time_conv") and cache is not None:
            x = cache.double(self.time_conv, x)
        elif hasattr(self, "time_conv") and x.shape[2] > 1:
            x = torch.cat([x[:, :, :1], pairs(self.time_conv(x[:, :, 1:]))], dim=2)
        return rearrange(self.resample(rearrange(x, "b c f h w -> (b f) c h w")), "(b f) c h w -> b c f h w", b=len(x))


class Copies(nn.Module):
    """Wan2.2's way around a stage: channels repeated and dealt out to twice the frames and sides."""

    def __init__(self, c_in: int, c_out: int, factor_t: int, factor_s: int = 2) -> None:
        super().__init__()
        self.factor_t, self.factor_s = factor_t, factor_s
        self.factor = factor_t * factor_s * factor_s
        self.repeats = c_out * self.factor // c_in

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        dealt = x.repeat_interleave(self.repeats, dim=1)
        sizes = {"t": self.factor_t, "q": self.factor_s, "r": self.factor_s}
        frames = rearrange(dealt, "b (c t q r) f h w -> b c (f t) (h q) (w r)", **sizes)
        return frames[:, :, self.factor_t - 1 :] if cache is None or cache.is_new else frames


class UpBlock(nn.Module):
    """A stage of Wan2.2, with the way around it."""

    def __init__(self, modules: list[nn.Module], shortcut: Copies | None) -> None:
        super().__init__()
        self.upsamples = nn.Sequential(*modules)
        self.avg_shortcut = shortcut

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        main = run_whole(self.upsamples, x, cache)
        return main if self.avg_shortcut is None else main + self.avg_shortcut.whole(x, cache)


class Decoder(nn.Module):
    """The decoder of either family."""

    def __init__(self, params: VaeParams, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.kind = params.kind
        self.conv1 = CausalConv(params.latent_channels, widths[0])
        self.middle = nn.Sequential(
            ResidualBlock(widths[0], widths[0]), Attention(widths[0]), ResidualBlock(widths[0], widths[0])
        )
        build = _stages21 if params.kind == "Wan2.1" else _stages22
        self.upsamples = nn.Sequential(*build(widths))
        self.head = nn.Sequential(
            Norm(widths[-1]), nn.SiLU(), CausalConv(widths[-1], params.image_channels * params.patch**2)
        )
        self.calls: list[int] = []  # latent frames of each
        self.given: list[weakref.ref[Tensor]] = []  # the pieces that the calls gave back

    def forward(
        self, x: Tensor, feat_cache: list[Any] | None, feat_idx: list[int], first_chunk: bool = False
    ) -> list[Tensor] | Tensor:
        """The host's call: Wan2.1 gives a list of pieces, Wan2.2 one, and has to be told which chunk is the first."""
        self.calls.append(x.shape[2])
        cache = None if feat_cache is None else HostCache(feat_cache, keeps_previous=self.kind == "Wan2.2")
        assert self.kind == "Wan2.1" or (cache is not None and first_chunk == cache.is_new)
        frames = self.whole(x, cache)
        pieces = list(frames.split(2, dim=2)) if self.kind == "Wan2.1" else [frames]
        self.given += [weakref.ref(piece) for piece in pieces]
        return pieces if self.kind == "Wan2.1" else frames

    def whole(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        return self.whole_stages(run_whole(self.middle, self.conv1.whole(x, cache), cache), cache)

    def whole_stages(self, x: Tensor, cache: HostCache | None = None) -> Tensor:
        return run_whole(self.head, run_whole(self.upsamples, x, cache), cache)


class TinyWan(nn.Module):
    """A VAE of either family that decodes."""

    def __init__(self, params: VaeParams, width: int = 1, dim_mult: tuple[int, ...] = (4, 4, 4, 2, 1)) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.params = params
        self.conv2 = CausalConv(params.latent_channels, params.latent_channels, (1, 1, 1))
        self.decoder = Decoder(params, tuple(width * times for times in dim_mult))
        self.requires_grad_(False)

    def whole(self, latent: Tensor) -> Tensor:
        """The frames f h w c of a latent z t h w, every patch unpacked by its own index."""
        packed, p = self.decoder.whole(self.conv2(latent[None]))[0], self.params.patch  # c*p*p f h w
        _, f, h, w = packed.shape
        frames = packed.new_empty(f, h * p, w * p, self.params.image_channels)
        for place in range(len(packed)):
            c, right, down = place // p**2, place // p % p, place % p
            frames[:, down::p, right::p, c] = packed[place]
        return frames


def wan21_shapes(*, z: int = 16, dim: int = 96, channels: int = 3) -> Shapes:
    return weight_shapes(replace(WAN21, latent_channels=z, image_channels=channels), dim)


def wan22_shapes(*, z: int = 48, dim: int = 256, channels: int = 3) -> Shapes:
    return weight_shapes(replace(WAN22, latent_channels=z, image_channels=channels), dim)


def weight_shapes(params: VaeParams, dim: int) -> Shapes:
    """The shapes of the weights by the names of the file, and some of an encoder, which must not mislead."""
    with torch.device("meta"):
        decoder = {name: tuple(weight.shape) for name, weight in TinyWan(params, dim).named_parameters()}
    sides, time = (dim, dim, 3, 3), (dim, dim, 3, 1, 1)
    encoder = {"encoder.downsamples.5.resample.1.weight": sides, "encoder.downsamples.5.time_conv.weight": time}
    return {"encoder.conv1.weight": (dim, 3, 3, 3, 3), **encoder, **decoder}


def pairs(x: Tensor) -> Tensor:
    return rearrange(x, "b (twin c) f h w -> b c (f twin) h w", twin=2)


def run_whole(modules: nn.Sequential, x: Tensor, cache: HostCache | None = None) -> Tensor:
    for module in modules:
        x = module.whole(x, cache) if hasattr(module, "whole") else module(x)
    return x


def latent_of(params: VaeParams, latent_frames: int, height: int = 3, width: int = 2) -> Tensor:
    torch.manual_seed(latent_frames)
    return torch.randn(params.latent_channels, latent_frames, height, width, dtype=torch.float64)  # z t h w


def _residual_blocks(c_in: int, c_out: int) -> list[nn.Module]:
    return [ResidualBlock(c_in, c_out), *(ResidualBlock(c_out, c_out) for _ in range(BLOCKS_IN_STAGE - 1))]


def _stages21(widths: tuple[int, ...]) -> list[nn.Module]:
    modules, c_in = [], widths[0]
    for width, in_time in zip(widths[1:-1], DOUBLES_TIME, strict=True):
        modules += [*_residual_blocks(c_in, width), Upsample(width, width // 2, in_time=in_time)]
        c_in = width // 2
    return modules + _residual_blocks(c_in, widths[-1])


def _stages22(widths: tuple[int, ...]) -> list[nn.Module]:
    stages = []
    for c_in, width, in_time in zip(widths[:-2], widths[1:-1], DOUBLES_TIME, strict=True):
        modules = [*_residual_blocks(c_in, width), Upsample(width, width, in_time=in_time)]
        stages.append(UpBlock(modules, Copies(c_in, width, factor_t=1 + in_time)))
    return [*stages, UpBlock(_residual_blocks(widths[-2], widths[-1]), None)]
