"""The adapter that is trained: a new one of Lynx lite's form, and the file that it becomes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..adapters.adapter import AdapterNetwork, AdapterParams
from ..adapters.adapter_files import SPACE_KEY, VERSION, VERSION_KEY
from ..adapters.file_keys import IP
from ..adapters.lynx import LynxIpParams
from ..adapters.part_params import FACE_D, LITE_BLOCK_STEP
from ..adapters.resampler import HEAD_D, ResamplerParams
from ..errors import InputError
from ..weights import StateDict

BY_BLOCK = IP.templates[1]  # names the block, so that it says itself where it acts


@dataclass(frozen=True, slots=True)
class LiteSize:
    """What of an adapter's size can be chosen; the rest is the Wan model's. As given: those of the published one."""

    tokens: int = 16
    token_d: int = 2048
    resampler_d: int = 1280  # a multiple of 64, the width of a head
    resampler_depth: int = 4
    feed_forward: int = 4  # times the width of the resampler
    block_step: int = LITE_BLOCK_STEP  # every so many blocks of the Wan model have a layer

    def __post_init__(self) -> None:
        """Raises InputError for a resampler whose width does not divide into heads."""
        if self.resampler_d % HEAD_D:
            width_d = self.resampler_d
            raise InputError(
                "resampler_d", found=width_d, wanted=f"a multiple of {HEAD_D}", fix="1280 is the published one."
            )


def lite_adapter(size: LiteSize, *, width_d: int, blocks: int, generator: torch.Generator) -> AdapterNetwork:
    """A new adapter for a Wan model, in fp32: as long as it is not trained it changes nothing."""
    ip = LynxIpParams(width_d, size.token_d, tuple(range(0, blocks, size.block_step)), registers=0)
    resampler = ResamplerParams(
        width_d=size.resampler_d,
        depth=size.resampler_depth,
        inner_d=size.resampler_d,
        feed_forward_d=size.feed_forward * size.resampler_d,
        tokens=size.tokens,
        embedding_d=FACE_D,
        token_d=size.token_d,
    )
    network = AdapterNetwork(AdapterParams(ip=ip, resampler=resampler), operations=nn)
    initialise(network, generator)
    return network


def initialise(network: AdapterNetwork, generator: torch.Generator) -> None:
    """Normal weights that keep the size of what goes through them, and values of tokens that are zero."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or "to_v_ip" in name:
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1:  # norms begin with ones
            reads_unit_vectors = name.endswith(("proj_in.weight", "latents"))
            std = 1.0 if reads_unit_vectors else parameter.shape[-1] ** -0.5
            nn.init.normal_(parameter, std=std, generator=generator)


def lite_file(weights: StateDict, *, space_sha256: str, dtype: torch.dtype) -> tuple[StateDict, dict[str, str]]:
    """Both parts of an adapter as one file, tensors and metadata, from its weights and the hash of its recogniser."""
    tensors: StateDict = {}
    for name, weight in weights.items():
        part, _, leaf = name.partition(".")
        if part == IP.part:
            _, block, leaf = leaf.split(".", 2)
            leaf = BY_BLOCK.format(number=block, leaf=leaf)
        tensors[leaf] = weight.detach().to("cpu", dtype).contiguous()
    return tensors, {VERSION_KEY: VERSION, SPACE_KEY: space_sha256}
