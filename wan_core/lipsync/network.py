"""SyncNet v2: what is heard and what is seen in 0.2 s, each as one vector.

Chung and Zisserman, Out of time: automated lip sync in the wild, 2016. Layout and key names are those of the public
weights (syncnet_v2.model); every width is read from the file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, quoted
from ..weights import Operations, StateDict, type_name

FRAMES_SEEN = 5  # video frames in one window
BATCH_NORM_EPS = 1e-5

Size = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution of a tower; normalisation and ReLU follow it."""

    kernel: Size
    stride: Size | int = 1
    padding: Size | int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """One maximum pooling of a tower."""

    kernel: Size
    stride: Size
    padding: Size | int = 0


AUDIO_TOWER = (
    Conv((3, 3), padding=1),
    Pool((1, 1), (1, 1)),
    Conv((3, 3), padding=1),
    Pool((3, 3), (1, 2)),
    Conv((3, 3), padding=1),
    Conv((3, 3), padding=1),
    Conv((3, 3), padding=1),
    Pool((3, 3), (2, 2)),
    Conv((5, 4)),
)
LIP_TOWER = (
    Conv((FRAMES_SEEN, 7, 7), stride=(1, 2, 2)),
    Pool((1, 3, 3), (1, 2, 2)),
    Conv((1, 5, 5), stride=(1, 2, 2), padding=(0, 1, 1)),
    Pool((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Conv((1, 3, 3), padding=(0, 1, 1)),
    Conv((1, 3, 3), padding=(0, 1, 1)),
    Conv((1, 3, 3), padding=(0, 1, 1)),
    Pool((1, 3, 3), (1, 2, 2)),
    Conv((1, 6, 6)),
)


@dataclass(frozen=True, slots=True)
class SyncNetParams:
    """Every size that a weight file decides."""

    audio: Size  # channels after each of the 6 audio convolutions
    lip: Size  # channels after each of the 6 lip convolutions
    audio_hidden: int
    lip_hidden: int
    embedding: int  # d of both embeddings


PUBLIC_PARAMS = SyncNetParams((64, 192, 384, 256, 256, 512), (96, 256, 256, 256, 256, 512), 512, 512, 1024)


# Layers


class FixedBatchNorm(nn.Module):
    """Batch normalisation by the stored statistics, for any number of dimensions: b c ... -> b c ..."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))
        self.register_buffer("running_mean", torch.empty(channels, device=device, dtype=dtype))
        self.register_buffer("running_var", torch.empty(channels, device=device, dtype=dtype))
        # Not used here: it is in the public weights, and a file is accepted only when every key of it has a place.
        self.register_buffer("num_batches_tracked", torch.empty((), device=device, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * torch.rsqrt(self.running_var + BATCH_NORM_EPS)  # c
        shift = self.bias - self.running_mean * scale  # c
        along_channels = (-1,) + (1,) * (x.ndim - 2)
        return x * scale.view(along_channels) + shift.view(along_channels)


def _tower(
    layers: Sequence[Conv | Pool],
    channels: Size,
    convolution: Callable[..., nn.Module],
    pooling: Callable[..., nn.Module],
    place: Mapping[str, Any],
) -> nn.Sequential:
    """Convolutions with normalisation and ReLU, and poolings, in the order given."""
    modules: list[nn.Module] = []
    sizes = itertools.pairwise(channels)
    for layer in layers:
        if isinstance(layer, Pool):
            modules.append(pooling(layer.kernel, stride=layer.stride, padding=layer.padding))
            continue
        before, after = next(sizes)
        conv = convolution(before, after, layer.kernel, stride=layer.stride, padding=layer.padding, **place)
        modules += [conv, FixedBatchNorm(after, **place), nn.ReLU()]
    return nn.Sequential(*modules)


def _head(sizes: Size, linear: Callable[..., nn.Module], place: Mapping[str, Any]) -> nn.Sequential:
    """Two linear layers with normalisation and ReLU between."""
    before, hidden, after = sizes
    return nn.Sequential(
        linear(before, hidden, **place), FixedBatchNorm(hidden, **place), nn.ReLU(), linear(hidden, after, **place)
    )


# Network


class SyncNet(nn.Module):
    """Both towers; the module names are the key names of the public weights."""

    def __init__(
        self,
        params: SyncNetParams,
        *,
        operations: Operations,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place = {"device": device, "dtype": dtype}
        audio, lip, embedding = params.audio, params.lip, params.embedding
        self.netcnnaud = _tower(AUDIO_TOWER, (1, *audio), operations.Conv2d, nn.MaxPool2d, place)
        self.netfcaud = _head((audio[-1], params.audio_hidden, embedding), operations.Linear, place)
        self.netcnnlip = _tower(LIP_TOWER, (3, *lip), operations.Conv3d, nn.MaxPool3d, place)
        self.netfclip = _head((lip[-1], params.lip_hidden, embedding), operations.Linear, place)

    def hear(self, cepstra: Tensor) -> Tensor:
        """Embeds 0.2 s windows of cepstra: n 1 13 20 -> n d."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))  # n d

    def watch(self, frames: Tensor) -> Tensor:
        """Embeds every five frames in a row: 1 3 n+4 224 224 -> n d.

        Only the first convolution looks along time, so the tower runs once over all frames.
        """
        features = self.netcnnlip(frames)  # 1 c n 1 1
        return self.netfclip(features[0, :, :, 0, 0].T)  # n d


# Weights


def expected_shapes(params: SyncNetParams) -> dict[str, Size]:
    """Key names and shapes of a weight file with these sizes."""
    network = SyncNet(params, operations=nn, device=torch.device("meta"))
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def detect(state_dict: StateDict, *, file_name: str) -> SyncNetParams:
    """The sizes of a SyncNet's weights; raises InputError, naming keys, for any other file."""
    wanted = expected_shapes(PUBLIC_PARAMS).keys()
    missing, foreign = sorted(wanted - state_dict.keys()), sorted(state_dict.keys() - wanted)
    if missing or foreign:
        words = [
            f"{len(keys)} {kind} (first: {quoted(keys[0])})"
            for kind, keys in ((f"of {len(wanted)} keys missing", missing), ("unknown keys", foreign))
            if keys
        ]
        raise _not_syncnet(file_name, " and ".join(words))
    params = _params_of(state_dict)
    for key, shape in expected_shapes(params).items():
        if tuple(state_dict[key].shape) != shape:
            raise _not_syncnet(file_name, f"{key} of shape {list(state_dict[key].shape)} instead of {list(shape)}")
        if not (state_dict[key].is_floating_point() or key.endswith("num_batches_tracked")):
            raise _not_syncnet(file_name, f"{key} of type {type_name(state_dict[key])}")
    return params


def _params_of(state_dict: StateDict) -> SyncNetParams:
    """The first dimension of every convolution and linear layer."""
    width = {key.removesuffix(".weight"): (*weight.shape, 1)[0] for key, weight in state_dict.items()}
    convolutions = (0, 4, 8, 11, 14, 18)  # their places in both towers
    return SyncNetParams(
        audio=tuple(width[f"netcnnaud.{index}"] for index in convolutions),
        lip=tuple(width[f"netcnnlip.{index}"] for index in convolutions),
        audio_hidden=width["netfcaud.0"],
        lip_hidden=width["netfclip.0"],
        embedding=width["netfcaud.3"],
    )


def _not_syncnet(file_name: str, found: str) -> InputError:
    return InputError(
        "weights",
        found=f"{quoted(file_name)} with {found}",
        wanted="the weights of SyncNet v2",
        fix="Pick that file; models/syncnet is where it belongs.",
    )


def build_syncnet(state_dict: StateDict, *, file_name: str, operations: Operations) -> SyncNet:
    """A SyncNet in fp32 with the weights of a file; raises InputError when they are not a SyncNet's."""
    network = SyncNet(detect(state_dict, file_name=file_name), operations=operations, dtype=torch.float32)
    network.load_state_dict(state_dict)
    return network.eval()
