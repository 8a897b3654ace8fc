"""The speech encoder and the lip-sync network.

Layouts: HF wav2vec2-large (24 layers, 1024 wide) and SyncNet v2 (joonson/syncnet_python).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .table import Table, batch_norm, layer, prefixed, seed_of

# wav2vec2: the host accepts only the real sizes, so the tensors are views of one small bank of noise

SPEECH_WIDTH = 1024
SPEECH_LAYERS = 24
SPEECH_FF_WIDTH = 4096
CONV_WIDTH = 512
CONV_KERNELS = (10, 3, 3, 3, 3, 2, 2)
POSITION_TAPS = 128
POSITION_GROUPS = 16
POSITION_GAIN = 1.5

BANK_STD = 1 / 32  # keeps the size of 1024 inputs
BANK_STRIDE = 61  # two tensors never start at the same place of the bank
BANK_SIZE = SPEECH_WIDTH * SPEECH_FF_WIDTH + BANK_STRIDE * 1024


class Bank:
    """One storage of noise that hands out views; a file of them holds the storage once."""

    def __init__(self, name: str) -> None:
        generator = torch.Generator().manual_seed(seed_of(name))
        self._noise = (torch.randn(BANK_SIZE, generator=generator) * BANK_STD).half()
        self._zero, self._one = torch.zeros(1).half(), torch.ones(1).half()
        self._views = 0

    def noise(self, *shape: int, strides: tuple[int, ...] | None = None) -> Tensor:
        """The next view, contiguous unless ``strides`` are given."""
        self._views += 1
        if strides is None:
            strides = torch.empty(shape, device="meta").stride()
        return self._noise.as_strided(shape, strides, BANK_STRIDE * self._views)

    def layer(self, name: str, inputs: int, outputs: int, *kernel: int) -> dict[str, Tensor]:
        """A linear layer or a convolution with a bias of zero."""
        return {f"{name}.weight": self.noise(outputs, inputs, *kernel), f"{name}.bias": self._zero.expand(outputs)}

    def norm(self, name: str, width: int) -> dict[str, Tensor]:
        """A layer normalisation that changes nothing."""
        return {f"{name}.weight": self._one.expand(width), f"{name}.bias": self._zero.expand(width)}

    def position_conv(self, name: str) -> dict[str, Tensor]:
        """The weight-normalised convolution that tells positions."""
        inputs = SPEECH_WIDTH // POSITION_GROUPS
        return {
            f"{name}.weight_g": (POSITION_GAIN * self._one).expand(1, 1, POSITION_TAPS),
            f"{name}.weight_v": self.noise(
                SPEECH_WIDTH, inputs, POSITION_TAPS, strides=(SPEECH_FF_WIDTH, SPEECH_FF_WIDTH // inputs, 1)
            ),
            f"{name}.bias": self._zero.expand(SPEECH_WIDTH),
        }


def _speech_layer(bank: Bank, name: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
        tensors |= bank.layer(f"{name}.attention.{projection}", SPEECH_WIDTH, SPEECH_WIDTH)
    tensors |= bank.norm(f"{name}.layer_norm", SPEECH_WIDTH) | bank.norm(f"{name}.final_layer_norm", SPEECH_WIDTH)
    tensors |= bank.layer(f"{name}.feed_forward.intermediate_dense", SPEECH_WIDTH, SPEECH_FF_WIDTH)
    return tensors | bank.layer(f"{name}.feed_forward.output_dense", SPEECH_FF_WIDTH, SPEECH_WIDTH)


def speech_encoder(name: str) -> dict[str, Tensor]:
    """The state dict of wav2vec2-large, all of it views of a few million numbers."""
    bank = Bank(name)
    tensors: dict[str, Tensor] = {"masked_spec_embed": bank.noise(SPEECH_WIDTH)}
    inputs = 1
    for index, kernel in enumerate(CONV_KERNELS):
        prefix = f"feature_extractor.conv_layers.{index}"
        tensors |= bank.layer(f"{prefix}.conv", inputs, CONV_WIDTH, kernel)
        tensors |= bank.norm(f"{prefix}.layer_norm", CONV_WIDTH)
        inputs = CONV_WIDTH
    tensors |= bank.norm("feature_projection.layer_norm", CONV_WIDTH)
    tensors |= bank.layer("feature_projection.projection", CONV_WIDTH, SPEECH_WIDTH)
    tensors |= bank.position_conv("encoder.pos_conv_embed.conv") | bank.norm("encoder.layer_norm", SPEECH_WIDTH)
    for index in range(SPEECH_LAYERS):
        tensors |= _speech_layer(bank, f"encoder.layers.{index}")
    return {f"wav2vec2.{key}": tensor for key, tensor in tensors.items()}


# SyncNet: the numbers in the keys count pools and activations, which have no tensors

Convs = dict[int, tuple[int, tuple[int, ...]]]  # number in the key: channels, kernel

AUDIO_CONVS: Convs = {
    0: (8, (3, 3)),
    4: (12, (3, 3)),
    8: (16, (3, 3)),
    11: (12, (3, 3)),
    14: (12, (3, 3)),
    18: (32, (5, 4)),
}
LIP_CONVS: Convs = {
    0: (8, (5, 7, 7)),
    4: (12, (1, 5, 5)),
    8: (12, (1, 3, 3)),
    11: (12, (1, 3, 3)),
    14: (12, (1, 3, 3)),
    18: (32, (1, 6, 6)),
}
SYNC_EMBEDDING = 64
MFCC_SIZE = 15.0  # typical size of a coefficient, of speech in int16 samples
PIXEL_SIZE = 32.0  # typical contrast of a frame of 0..255


def _sync_convs(inputs: int, convs: Convs, input_size: float) -> Table:
    table: Table = {}
    for index, (outputs, kernel) in convs.items():
        gain = 1.4 if index else 1.4 / input_size
        conv = layer(inputs, outputs, *kernel, gain=gain)
        conv["weight"] = replace(conv["weight"], zero_sum=True)  # answers to change, not to brightness or loudness
        table |= prefixed(f"{index}.", conv)
        table |= prefixed(f"{index + 1}.", batch_norm(outputs))
        inputs = outputs
    return table


def _sync_head(width: int) -> Table:
    return (
        prefixed("0.", layer(width, width))
        | prefixed("1.", batch_norm(width))
        | prefixed("3.", layer(width, SYNC_EMBEDDING))
    )


def syncnet() -> Table:
    """Two towers that put 0.2 s of sound and of lips into one space."""
    return (
        prefixed("netcnnaud.", _sync_convs(1, AUDIO_CONVS, MFCC_SIZE))
        | prefixed("netfcaud.", _sync_head(AUDIO_CONVS[18][0]))
        | prefixed("netfclip.", _sync_head(LIP_CONVS[18][0]))
        | prefixed("netcnnlip.", _sync_convs(3, LIP_CONVS, PIXEL_SIZE))
    )
