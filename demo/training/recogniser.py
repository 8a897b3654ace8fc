"""The cast's recogniser: an IR-SE network of the pack's own kind, small enough to ship."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from devtools.kept_fit import write_tensors
from wan_core.identity.ir_network import IrBackbone, IrParams, IrUnitParams, build_ir_backbone
from wan_core.identity.record import IDENTITY_D
from wan_core.training import FitPlan

from .arcface import TrainingLayers, teach, validate
from .face_data import PictureSeries, draw
from .job import Job

FILE = "cast_recogniser.safetensors"
STEM = 8
WIDTHS = (8, 16, 24, 24, 40, 40, 32)  # of each unit; where it changes, and in the first unit, the picture is halved
SQUEEZE = 4  # channels for one inside squeeze-and-excitation

FILMS = PictureSeries("recogniser-films", "train", range(3000), takes=3, seed=1_000_000)
PORTRAITS = PictureSeries(
    "recogniser-portraits", "train", range(1500), takes=1, seed=0, frames=1, size_px=192, are_portraits=True
)
VALIDATION = PictureSeries("validation-films", "validation", range(150), takes=4, seed=2_000_000)
FILMS_A_BATCH, PORTRAITS_A_BATCH = 56, 8
PLAN = FitPlan(
    steps=1200,
    learning_rate=3e-3,
    warm_up_steps=100,
    final_share=0.01,
    weight_decay=0.05,
    clip_norm=5.0,
    ema_decay=0.998,
)


def train(job: Job) -> None:
    """Trains the recogniser, says how good it is, and writes it."""
    films, portraits = draw(FILMS, job.folder), draw(PORTRAITS, job.folder)
    torch.manual_seed(job.seed)
    network = with_fixed_slopes(IrBackbone(params(), operations=TrainingLayers))
    teach(job, network, embed, PLAN, ((films, FILMS_A_BATCH), (portraits, PORTRAITS_A_BATCH)))
    write_tensors(job.out / FILE, weights(network))
    validate(job.name, load(job.out / FILE), embed, draw(VALIDATION, job.folder), torch.device("cpu"))


def load(path: Path) -> IrBackbone:
    """A trained recogniser, for RGB crops through ``embed``."""
    network, _ = build_ir_backbone(safetensors.torch.load_file(path), operations=nn)
    return network


def embed(network: nn.Module, crops: Tensor) -> Tensor:
    """The unit embeddings n 512 of aligned crops n 3 112 112, RGB from 0 to 1; gradients reach the crops."""
    return functional.normalize(network(crops.flip(1) * 2 - 1).float(), dim=-1)


def params() -> IrParams:
    """The sizes of the network."""
    units = [
        IrUnitParams(width_in, width, stride=2 if index == 0 or width != width_in else 1, squeeze=width // SQUEEZE)
        for index, (width_in, width) in enumerate(zip((STEM, *WIDTHS), WIDTHS, strict=False))
    ]
    return IrParams(STEM, tuple(units), IDENTITY_D, is_tface=False)


def with_fixed_slopes(network: nn.Module) -> nn.Module:
    """The same network whose negative slopes stay: the gradient of PReLU is slower than all convolutions."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.PReLU):
                setattr(parent, name, nn.LeakyReLU(float(layer.weight.detach()[0])))
    return network


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights under the names of a published file, fp16, with the slopes that stayed as they were."""
    whole = IrBackbone(params(), operations=nn)
    whole.load_state_dict(network.state_dict(), strict=False)
    return {key: value.half() for key, value in whole.state_dict().items() if value.is_floating_point()}
